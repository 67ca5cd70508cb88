"""Every reason that preflight can give is in docs/preflight.md and is provoked by a test."""

import re
from pathlib import Path

import pytest

from ferry_core.reasons import Reason

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [
    *sorted((ROOT / "ferry_core/preflight").glob("*.py")),
    ROOT / "ferry_core/tables/discovery.py",
    ROOT / "ferry_core/mysql/catalogue.py",
]
TESTS = [
    *Path(__file__).parent.glob("test_*.py"),
    *(ROOT / "tests/e2e/bad_input").glob("test_*.py"),
    ROOT / "tests/ferry_core/mysql/test_catalogue.py",
    ROOT / "tests/e2e/test_objects.py",
]
USED = {
    Reason[name] for path in SOURCES for name in re.findall(r"\bReason\.([A-Z_]+)\b", path.read_text())
} - {Reason.PASSED, Reason.SCHEMA_CHANGED}  # fmt: skip
"""A run reports SchemaChanged for a table that disappeared after the copy began; docs/operator.md explains that one."""


def test_reasons_were_found() -> None:
    assert len(USED) > 30


@pytest.mark.parametrize("reason", sorted(USED))
def test_every_reason_is_documented(reason: Reason) -> None:
    rows = [line for line in (ROOT / "docs/preflight.md").read_text().splitlines() if line.startswith(f"| {reason} |")]
    assert len(rows) == 1
    assert all(cell.strip() for cell in rows[0].strip("|").split("|"))


@pytest.mark.parametrize("reason", sorted(USED))
def test_every_reason_is_provoked_by_a_test(reason: Reason) -> None:
    tests = "".join(path.read_text() for path in TESTS)
    assert f'"{reason}"' in tests


def test_no_unknown_reason_is_documented() -> None:
    told = set(re.findall(r"^\| ([A-Z]\w+) \|", (ROOT / "docs/preflight.md").read_text(), re.MULTILINE))
    assert told == {reason.value for reason in USED}
