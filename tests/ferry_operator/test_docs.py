"""docs/operator.md says what every phase, condition, reason and exit code means, docs/metrics.md each metric."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ferry_core.api.exit_codes import ExitCode
from ferry_core.api.reasons import Condition, Reason
from ferry_core.api.report import Phase, Stage
from ferry_operator.kube import Asked
from ferry_operator.metrics import Metrics
from tests.support.kubelet import SPEC

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


def test_every_metric_of_the_operator_has_a_line() -> None:
    meta = {"namespace": "shop", "name": "orders", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    status = {"conditions": [{"type": "Stalled", "status": "False"}], "completionTime": "2026-01-02T00:00:00Z"}
    metrics = Metrics(lambda: [{"metadata": meta, "spec": SPEC, "status": status}])
    metrics.reconciled(0.01)
    metrics.failed("Forbidden")
    metrics.asked(Asked("GET", "ferries", 200))
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
