"""docs/conditions.md says what every phase, condition, reason and exit code means, docs/metrics.md each metric."""

import re
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ferry_core.api.report import Phase, Stage
from ferry_core.errors import ExitCode, RetriableError
from ferry_core.mysql.faults import _ACCEPTED_BEFORE, _GROUPS
from ferry_core.reasons import Condition, Reason
from ferry_operator.kube import ApiRequest
from ferry_operator.metrics import Metrics
from tests.support.kubelet import SPEC

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONDITIONS = (DOCS / "conditions.md").read_text()


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of all tables whose first column is called ``first``, one list per row."""
    tables = re.findall(rf"^\| {first} \|.*\n\|[-| ]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [re.split(r" \| ", line.strip("| ")) for table in tables for line in table.splitlines()]


def words(cell: str) -> list[str]:
    return re.findall(r"\w+", cell.replace(" and others of the kubelet", ""))


def explained(page: str) -> Counter[str]:
    """For each reason, the number of rows that say what to do."""
    return Counter(reason for row in rows(page, "reason") for reason in words(row[0]))


NORMAL = {reason for row in rows(CONDITIONS, "condition") for reason in re.findall(r"`(\w+)`", row[1])}
"""Reasons that the table of conditions names: of many there is nothing to say but that."""
HERE = explained(CONDITIONS)
PAGES = {
    page: explained((DOCS / f"{page}.md").read_text())
    for page in ("conditions", "errors", "preflight", "control-server")
}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason) -> None:
    assert reason in NORMAL or any(page[reason] for page in PAGES.values())


def test_no_reason_is_explained_twice() -> None:
    assert [reason for page in PAGES.values() for reason, times in page.items() if times > 1] == []


def test_every_row_says_what_to_do() -> None:
    for row in [
        each for page in PAGES if page != "preflight" for each in rows((DOCS / f"{page}.md").read_text(), "reason")
    ]:
        assert len(row) == 3, row
        assert all(row), row


PACKAGES = ("cutover", "mysql", "schema", "verify", "run")
NEVER_AN_ATTEMPTS = {
    *("Done", "Paused", "StandingAside", "Stopped", "VerificationCancelled", "VerificationTooEarly"),
    "RowsTooLarge",  # causes a smaller step
    "LocalInfileDisabled",  # the step is done in another way
}


def of_attempts() -> set[str]:
    """The reasons that may end a cutover attempt, among them every retriable error."""
    core = ROOT / "ferry_core"
    tried_again: list[type[RetriableError]] = [RetriableError, *RetriableError.__subclasses__()]
    kinds = "|".join(kind.__name__ for kind in tried_again)
    code = "".join(path.read_text() for package in PACKAGES for path in (core / package).glob("*.py"))
    said = re.findall(rf"\b(?:AttemptFailed|AttemptOutcome|{kinds})\(\s*Reason\.(\w+)", code)
    by_number = {meaning.reason for meaning in _GROUPS if issubclass(meaning.kind, RetriableError)}
    return {Reason[name].value for name in said} | by_number | {meaning.reason for meaning in _ACCEPTED_BEFORE.values()}


def test_every_reason_of_a_failed_cutover_is_explained() -> None:
    found = of_attempts()
    assert {"SourceLockTimeout", "RowsDiffer", "CheckpointNotWritten", "ConnectionLost", "TargetTableBusy"} < found
    assert found - NEVER_AN_ATTEMPTS - set(HERE) == set()


@pytest.mark.parametrize("word", [*Condition, *Stage, *Phase])
def test_every_condition_and_phase_has_a_line(word: str) -> None:
    assert re.search(rf"^\| {word} \|", CONDITIONS, re.MULTILINE)


@pytest.mark.parametrize("code", ExitCode)
def test_every_exit_code_has_a_line(code: ExitCode) -> None:
    assert re.search(rf"^\| (\d+, )?{int(code)}(, \d+)? \|", CONDITIONS, re.MULTILINE)


def test_every_setting_of_the_operator_has_a_line() -> None:
    code = (ROOT / "operator/ferry_operator/settings.py").read_text()
    read = {f"FERRY_{name}" for name in re.findall(r"\b(?:read|number|one_of|template)\(\"([A-Z_]+)\"", code)}
    page = (DOCS / "operator.md").read_text()
    told = {name for row in rows(page, "variable") for name in re.findall(r"FERRY_\w+", row[0])}
    assert told == read


def test_every_metric_of_the_operator_has_a_line() -> None:
    meta = {"namespace": "shop", "name": "orders", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    status = {"conditions": [{"type": "Stalled", "status": "False"}], "completionTime": "2026-01-02T00:00:00Z"}
    metrics = Metrics(lambda: [{"metadata": meta, "spec": SPEC, "status": status}])
    metrics.reconciled(0.01)
    metrics.failed("Forbidden")
    metrics.count_request(ApiRequest("GET", "ferries", 200))
    # Each process says of a counter when it began, by a series of its own.
    families = text_string_to_metric_families(metrics.snapshot()().decode())
    known = {}
    for family in (each for each in families if not each.name.endswith("_created")):
        labels = {label for sample in family.samples for label in sample.labels} - {"namespace", "ferry", "le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        known[name] = (",".join(sorted(labels)), family.type)
    said = (DOCS / "metrics.md").read_text().partition("## The operator's")[2]
    lines = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", said, re.MULTILINE)
    assert {name: (labels, kind) for name, labels, kind in lines} == known
