"""Every reason that preflight can give is in docs/preflight.md and is provoked by a test.

docs/limitations.md names everything that is refused.
"""

import re
from pathlib import Path

import pytest

from ferry_core.reasons import Reason

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [
    *sorted((ROOT / "ferry_core/preflight").glob("*.py")),
    ROOT / "ferry_core/tables/discovery.py",
    ROOT / "ferry_core/mysql/upstream.py",
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
"""Of a table that disappeared after the copy began, a run reports SchemaChanged: docs/conditions.md explains it."""


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


# -- docs/limitations.md --------------------------------------------------------------------------------------------

LIMITS = (ROOT / "docs/limitations.md").read_text()
NO_LIMITS = {
    # of the manifest
    *("NothingSelected", "PatternAmbiguous", "PatternMatchesNothing", "RowFilterInvalid", "RuleKeyInvalid"),
    *("RuleIndexInvalid", "TenantColumnMissing", "TenantValueInvalid", "TenantWithoutRows", "FilterReadsEveryRow"),
    *("TargetNameInvalid", "TargetTableMissing", "TargetObjectDiffers"),
    # of accounts and what they see
    *("DefinerMissing", "DefinitionsNotTried", "HiddenTables", "MissingPrivilege", "OpenXaUnseen"),
    *("CatalogueIncomplete", "NotAsked", "RowsNotSampled"),
    # settings that can be changed
    *("BinlogDisabled", "BinlogFormatNotRow", "BinlogRetentionShort", "BinlogRowImage", "GtidModeOff"),
    *("GtidStrictModeOff", "LocalInfileDisabled", "NameCaseDiffers", "NotAReplica", "PrimaryKeyRequired", "ReplicaLag"),
    *("ServerIdClash", "ServerIdZero", "SmallPacket", "SourceLosesCommits", "SourceReadOnly"),
    *("TargetChangesDefinitions", "TargetLosesCommits", "TargetReadOnly", "TargetTriggers"),
    *("UnknownCollation", "EventsEnabled", "SequencesNotLocked", "FilteredTablesNotLocked"),
    *("WebhookTimeoutTooLong", "WebhooksNotCalled", "NewTablesNotCreated"),
    # a difference between two servers' definitions and values, which the message names
    *("DefinitionDiffers", "DefinitionRefused", "GeneratedBySession", "GeneratedFromTimestamp"),
    # states that pass, or that somebody has chosen
    *("Aborted", "AlreadyCutOver", "CatalogueBusy", "ForgottenRows", "PreparedTransactions", "PrivilegedWriters"),
    *("StateMissing", "StateUnusable", "TargetOwnedByAnotherFerry", "WindowMissed"),
}  # fmt: skip
"""Findings that say what to correct, not what cannot be done. A new reason belongs here or on the page."""


def listed(heading: str) -> set[str]:
    """The first column of the tables of one section, without backticks."""
    section = LIMITS.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`|]+)`", section, re.MULTILINE))


@pytest.mark.parametrize("reason", sorted(USED))
def test_every_reason_of_preflight_is_a_limitation_or_can_be_corrected(reason: Reason) -> None:
    on_the_page = set(re.findall(r"`(\w+)`", LIMITS))
    assert (reason.value in on_the_page) != (reason.value in NO_LIMITS)


def test_the_page_of_limitations_names_no_unknown_reason() -> None:
    sections = ("Servers", "Tables", "What ends a run for good")
    assert set().union(*map(listed, sections)) - set(Reason) == set()
