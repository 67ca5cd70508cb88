"""Every alert fires when it should, is silent when it should be, and has a runbook; evaluated by promtool."""

import re
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from hack.chart import ROOT
from tests.support.prometheus import RULES, program

GROUPS = yaml.safe_load(RULES.read_text())["groups"]
ALERTS = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RECORDED = {rule["record"]: rule for group in GROUPS for rule in group["rules"] if "record" in rule}
_WHERE = 'namespace="shop", ferry="orders"'

Series = dict[str, str]
"""Values by series, in promtool's notation: ``0+10x5`` is 0, 10, ... 50, one a minute."""


class Case(NamedTuple):
    """``at`` is when the alert has to fire with the first series and be silent with the second."""

    at: str
    fires: Series
    silent: Series


def of(metric: str, labels: str = "") -> str:
    """A series of the Ferry shop/orders."""
    return f"{metric}{{{_WHERE}{', ' if labels else ''}{labels}}}"


def phase(name: str) -> Series:
    return {of("ferry_status_phase", f'phase="{name}"'): "1x2000"}


def condition(kind: str, status: str) -> Series:
    return {of("ferry_status_condition", f'type="{kind}", status="{status}"'): "1x2000"}


def throttled(value: str) -> Series:
    return {of("ferry_throttled", 'reason="rows-per-second"'): value}


NO_ROWS = {of("ferry_copy_rows_total", 'table="shop.t"'): "5x2000"}
ROWS = {of("ferry_copy_rows_total", 'table="shop.t"'): "0+10x2000"}
RETAINED = {of("ferry_source_binlog_retained_seconds"): "86400x2000"}
LAG = of("ferry_stream_lag_seconds")
DIFFERING = of("ferry_verify_mismatched_rows_total", 'table="shop.t"')
REPAIRED = of("ferry_verify_repaired_rows_total", 'table="shop.t"')
LAST_EVENT = of("ferry_stream_last_event_timestamp_seconds")
CASES = {
    "FerryFailed": Case("1m", phase("Failed"), phase("Streaming")),
    "FerryNeedsHuman": Case("10m", condition("Stalled", "True"), condition("Stalled", "False")),
    "FerryCopyStalled": Case(
        "20m", NO_ROWS | phase("Copying") | throttled("0x2000"), NO_ROWS | phase("Copying") | throttled("1x2000")
    ),
    "FerryThrottledLong": Case("65m", throttled("1x2000"), throttled("1x30 0x2000")),
    "FerryStreamLagHigh": Case("15m", {LAG: "301x2000"}, {LAG: "299x2000"}),
    "FerryBinlogPurgeImminent": Case("10m", RETAINED | {LAG: "83000x2000"}, RETAINED | {LAG: "10x2000"}),
    "FerryRowsDiffer": Case(
        "3m",
        {DIFFERING: "3x2000", REPAIRED: "2x2000"},
        {DIFFERING: "3x2000", REPAIRED: "3x2000"} | condition("Verified", "True"),
    ),
    "FerryCutoverSlow": Case(
        "1m", {of("ferry_cutover_write_block_seconds"): "10.5x10"}, {of("ferry_cutover_write_block_seconds"): "0.2x10"}
    ),
    "FerryWaitingForApproval": Case(
        "25h",
        condition("ReadyForCutover", "True") | phase("ReadyForCutover"),
        condition("ReadyForCutover", "True") | phase("Completed"),
    ),
    "FerrySourceLocked": Case("12m", phase("CuttingOver"), phase("ReadyForCutover")),
    "FerryCheckpointStale": Case(
        "20m",
        {of("ferry_checkpoint_last_success_timestamp_seconds"): "60x2000"},
        {of("ferry_checkpoint_last_success_timestamp_seconds"): "0+60x2000"},
    ),
    "FerryCopierRestarting": Case(
        "35m",
        {of("ferry_copier_restarts_total"): "0+0x5 1+0.2x2000"},
        {of("ferry_copier_restarts_total"): "0x10 1x2000"},
    ),
    "FerryOperatorDown": Case("10m", {"up": "1x2000"}, {'ferry_operator_build_info{version="1"}': "1x2000"}),
    "FerryReconcileErrors": Case(
        "40m",
        {'ferry_operator_reconcile_errors_total{reason="Unreachable"}': "0+1x2000"},
        {'ferry_operator_reconcile_errors_total{reason="Unreachable"}': "0 3x2000"},
    ),
    "FerryGenerationNotObserved": Case(
        "15m",
        {of("ferry_metadata_generation"): "3x2000", of("ferry_status_observed_generation"): "2x2000"},
        {of("ferry_metadata_generation"): "3x2000", of("ferry_status_observed_generation"): "3x2000"},
    ),
}
OTHERS = {
    "the copy moves": ("FerryCopyStalled", ROWS | phase("Copying")),
    "all rows are copied": ("FerryCopyStalled", NO_ROWS | phase("Streaming")),
    "the source is silent, and keeps its binlogs": ("FerryBinlogPurgeImminent", RETAINED | {LAST_EVENT: "0+60x2000"}),
}
"""More that must stay silent, after two hours."""


def promtool(*arguments: str | Path) -> str:
    ended = subprocess.run([program("promtool"), *arguments], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def evaluated(tmp_path: Path, series: Series, at: str, expression: str, expected: list[dict[str, Any]]) -> None:
    """What ``expression`` gives after ``at``, with the rules in force."""
    case = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": at, "exp_samples": expected}],
    }
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [case]}))
    promtool("test", "rules", file)


def firing(tmp_path: Path, alert: str, series: Series, at: str, *, expected: bool) -> None:
    expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    evaluated(tmp_path, series, at, expression, [{"labels": "{}", "value": 1}] if expected else [])


def test_the_rules_are_valid() -> None:
    assert f"{len(ALERTS) + len(RECORDED)} rules found" in promtool("check", "rules", RULES)


def test_every_alert_has_a_case() -> None:
    assert set(CASES) == set(ALERTS)


@pytest.mark.parametrize("alert", CASES)
def test_it_fires(alert: str, tmp_path: Path) -> None:
    firing(tmp_path, alert, CASES[alert].fires, CASES[alert].at, expected=True)


@pytest.mark.parametrize("alert", CASES)
def test_it_is_silent(alert: str, tmp_path: Path) -> None:
    firing(tmp_path, alert, CASES[alert].silent, CASES[alert].at, expected=False)


@pytest.mark.parametrize("case", OTHERS)
def test_it_is_silent_also_when(case: str, tmp_path: Path) -> None:
    alert, series = OTHERS[case]
    firing(tmp_path, alert, series, "2h", expected=False)


def test_a_silent_source_is_alerted_by_its_last_event(tmp_path: Path) -> None:
    """There is no lag to compare while the source cannot be reached."""
    firing(tmp_path, "FerryBinlogPurgeImminent", RETAINED | {LAST_EVENT: "0x2000"}, "24h", expected=True)


def test_the_remaining_time_of_a_copy(tmp_path: Path) -> None:
    """1,000 rows expected, 10 a minute: after 10 minutes 900 are left, which takes 90 minutes."""
    series = ROWS | {of("ferry_copy_rows_estimated", 'table="shop.t"'): "1000x2000"}
    labels = '{ferry="orders", namespace="shop"}'
    evaluated(tmp_path, series, "10m", "round(ferry:copy_remaining_seconds)", [{"labels": labels, "value": 5400}])


@pytest.mark.parametrize("alert", ALERTS)
def test_people_are_told_what_to_do(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{alert.lower()}"
    text = (ROOT / "docs" / "alerts.md").read_text()
    section = re.search(rf"^## {alert}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/alerts.md has no section {alert}"
    for part in ("**Meaning**", "**Impact**", "**Diagnosis**", "**Fix**"):
        assert part in section[1], f"{alert}: {part}"


def test_every_metric_that_a_rule_reads_is_documented() -> None:
    documented = set(re.findall(r"^\| `(ferry_\w+)", (ROOT / "docs" / "metrics.md").read_text(), re.MULTILINE))
    rules = [*ALERTS.values(), *RECORDED.values()]
    read = {name for rule in rules for name in re.findall(r"\bferry_\w+", rule["expr"])}
    assert read <= documented, read - documented
