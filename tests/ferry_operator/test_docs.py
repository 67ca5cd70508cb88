"""docs/operator.md says what every phase, condition, reason and exit code means."""

import re
from pathlib import Path

import pytest

from ferry_core.api.exit_codes import ExitCode
from ferry_core.api.reasons import Condition, Reason
from ferry_core.api.report import Phase, Stage

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OPERATOR = (DOCS / "operator.md").read_text()
WORDS = set(re.findall(r"`(\w+)`", OPERATOR)) | set(re.findall(r"\w+", (DOCS / "preflight.md").read_text()))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert reason.value in WORDS


def test_every_reason_of_a_failed_cutover_is_explained() -> None:
    """They are said where they arise, and are no members of Reason."""
    code = "".join(path.read_text() for path in (ROOT / "ferry_core" / "cutover").glob("*.py"))
    reasons = set(re.findall(r"""(?:Error|Failed|Conflict|Attempt)\(\s*"([A-Z][A-Za-z]+)\"""", code))
    assert {"SourceLockTimeout", "RowsDiffer"} < reasons
    assert (reasons | {"LockConflict"}) - WORDS == set()


@pytest.mark.parametrize("word", [*Condition, *Stage, *Phase])
def test_every_condition_and_phase_has_a_line(word: str) -> None:
    assert re.search(rf"^\| {word} \|", OPERATOR, re.MULTILINE)


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_line(code: ExitCode) -> None:
    assert re.search(rf"^\| (\d+, )?{int(code)}(, \d+)? \|", OPERATOR, re.MULTILINE)
