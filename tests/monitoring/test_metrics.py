"""What copiers and the operator serve: promtool finds nothing to object to, and docs/metrics.md has a line for each."""

import re
import subprocess
from collections.abc import Callable

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ferry_core.report.metrics import exposition, registry_of
from ferry_core.report.progress import Progress
from ferry_core.rows.copier import CopyResult
from ferry_core.throttle import Observed, ThrottleState
from ferry_operator.kube import ApiRequest
from ferry_operator.metrics import Metrics
from hack.chart import ROOT
from tests.support.kubelet import SPEC
from tests.support.prometheus import program
from tests.support.tables import finish_chunk, moves_of, simple_table

OBSERVED = {"replica-lag": {"r1:3306": 7.0}, "threads-running": {"source": 3.0}, "commit-latency": {"": 0.2}}


def copiers() -> bytes:
    """Of a run in which everything has happened."""
    progress = Progress()
    (orders,) = moves = moves_of([simple_table("orders", rows=100)])
    progress.begin(moves)
    chunk = CopyResult(60, 600, 60, 0, 0, 0.03, 0.2, commit_seconds=0.1)
    finish_chunk(orders, chunk)
    progress.chunk(orders, chunk)
    progress.flushed(0.7, 0.1)
    progress.stream(
        position="b.1",
        gtid_set=None,
        lag_seconds=1.5,
        last_event_at=1_700_000_000.0,
        events={"write_rows": 3},
        total_bytes=999,
        reconnects={"lost": 1},
    )
    progress.set_binlog_retained(3600.0)
    progress.throttled(ThrottleState(), {}, Observed(OBSERVED, 0.5))
    progress.checkpointed(ok=True)
    progress.retried("source", "ConnectionLost")
    progress.attempt_ended("Done", 250)
    return exposition(registry_of(progress))


def operators() -> bytes:
    meta = {"namespace": "shop", "name": "orders", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z"}
    status = {"conditions": [{"type": "Stalled", "status": "False"}], "completionTime": "2026-01-02T00:00:00Z"}
    metrics = Metrics(lambda: [{"metadata": meta, "spec": SPEC, "status": status}])
    metrics.reconciled(0.01)
    metrics.failed("Forbidden")
    metrics.count_request(ApiRequest("GET", "ferries", 200))
    return metrics.snapshot()()


@pytest.mark.parametrize("served", [copiers, operators])
def test_promtool_accepts_every_metric(served: Callable[[], bytes]) -> None:
    line = [str(program("promtool")), "check", "metrics"]
    checked = subprocess.run(line, input=served(), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_metric_of_copiers_has_a_line_with_its_labels_and_type() -> None:
    known = {}
    for family in text_string_to_metric_families(copiers().decode()):
        assert family.samples, f"{family.name}: this test does not make it"
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = family.name + ("_total" if family.type == "counter" else "")
        known[name] = (labels, family.type)
    page = (ROOT / "docs" / "metrics.md").read_text().partition("## The operator's")[0]
    lines = re.findall(r"^\| `(\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", page, re.MULTILINE)
    assert {name: ({*labels.split(",")} - {""}, kind) for name, labels, kind in lines} == known
