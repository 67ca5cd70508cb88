"""What a run reports: texts and figures that people act on."""

import hashlib
import logging

import pytest

from ferry_core.api.choices import CutoverMode
from ferry_core.api.directive import Directive
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry
from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.cutover.gates import MissingGate
from ferry_core.cutover.outcome import AttemptOutcome
from ferry_core.errors import Interrupted, LockConflict, ServerRole
from ferry_core.intent.intent import Intent
from ferry_core.preflight import CheckResult
from ferry_core.preflight.result import Status
from ferry_core.reasons import Condition, Reason
from ferry_core.report.metrics import exposition, registry_of
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.report.wording import at_most_4_kib, hand_over, roughly
from ferry_core.throttle import Throttle, ThrottleState
from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer
from tests.support.manifests import ferry_data
from tests.support.tables import move_of

LAGS = MissingGate(Reason.LAG_ABOVE_THRESHOLD, "lag 9 s")
PAUSED = MissingGate(Reason.PAUSED_BY_USER, "paused")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "0 min"), (3599, "59 min"), (3600, "1 h 0 min"), (86_399, "23 h 59 min"), (443_000, "5 d 3 h")],
)
def test_a_time_span_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


def test_a_long_gtid_set_is_replaced_by_its_digest() -> None:
    fits, longer = "x" * 4096, "x" * 4097
    assert at_most_4_kib(fits) == fits
    assert at_most_4_kib(longer) == f"sha256:{hashlib.sha256(longer.encode()).hexdigest()}"


@pytest.fixture
def intent() -> Intent:
    return Intent(Directive(generation=1))


@pytest.fixture
def reporter(intent: Intent, monkeypatch: pytest.MonkeyPatch) -> StatusReporter:
    monkeypatch.setattr(StatusReporter, "lag", lambda _: 3600.0)
    throttle = Throttle(paused_by=lambda: intent.now.paused_by)
    return StatusReporter(Ferry.model_validate(ferry_data()), throttle, intent)


@pytest.mark.parametrize(
    ("retained", "said"),
    [
        (90_000, "paused by spec.paused; source keeps binlogs for another 1 d 0 h"),
        (3000, "paused by spec.paused; the source may purge binlogs that are still needed"),
        (None, "paused by spec.paused"),
    ],
)
def test_a_pause_reports_how_long_it_may_last_and_restores_the_message(
    reporter: StatusReporter, intent: Intent, retained: float | None, said: str
) -> None:
    reporter.enter(Stage.COPYING)
    reporter.source_retains(retained)
    reporter.message("copying rows")
    intent.change(lambda wanted: wanted.changed(paused=True))
    reporter.tick()
    assert reporter.report().message.startswith(said)
    reporter.message("streaming")
    assert reporter.report().message.startswith(said)
    intent.change(lambda wanted: wanted.changed(paused=False))
    reporter.tick()
    assert reporter.report().message == "streaming"


def test_a_throttle_of_all_rows_reports_how_long_it_may_last(
    reporter: StatusReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds changed keys back as a pause does, and nobody may be looking."""
    reporter.enter(Stage.COPYING)
    reporter.message("copying rows")
    for retained, said in (
        (90_000, "throttled by replica-lag 7s > 5s; source keeps binlogs for another 1 d 0 h"),
        (3000, "throttled by replica-lag 7s > 5s; the source may purge binlogs that are still needed: raise the limit"),
    ):
        reporter.source_retains(retained)
        throttled = ThrottleState(active=True, reason="replica-lag 7s > 5s", signals=("replica-lag",))
        monkeypatch.setattr(Throttle, "state", lambda _, state=throttled: state)
        reporter.tick()
        assert reporter.report().message.startswith(said)
    slow = ThrottleState(active=True, reason="rows-per-second 10 >= 10", signals=("rows-per-second",))
    monkeypatch.setattr(Throttle, "state", lambda _: slow)
    reporter.tick()
    assert reporter.report().message == "copying rows"


def checked(reporter: StatusReporter, *warnings: tuple[Reason, str]) -> str:
    passed = CheckResult("tables", "source", Status.PASSED, Reason.PASSED, "")
    warned = [CheckResult(reason, "source", Status.WARNING, reason, message) for reason, message in warnings]
    known = CheckResult("triggers", "target", Status.ACKNOWLEDGED, Reason.TARGET_TRIGGERS, "there are triggers")
    reporter.checked([passed, *warned, known])
    said = reporter.report().condition(Condition.VALIDATED)
    assert said is not None
    assert (said.status, said.reason) == ("True", "Passed")
    return said.message


@pytest.mark.parametrize(("watch_for", "said"), [("60s", "stay locked until"), ("0s", "are unlocked at once")])
def test_a_cutover_says_how_long_tables_stay_locked(watch_for: str, said: str) -> None:
    manifest = ferry_data(cutover={"sourceLock": "LockTables", "watchFor": watch_for})
    assert f"The selected tables of the source {said}" in hand_over(Ferry.model_validate(manifest).spec)


def test_warnings_of_the_preflight_are_in_the_condition(reporter: StatusReporter) -> None:
    """Users who have only kubectl see nothing else."""
    assert checked(reporter) == ""
    short, events = (Reason.BINLOG_RETENTION_SHORT, "binlogs go after 1 h"), (Reason.EVENTS_ENABLED, "2 events write")
    said = "preflight passed with 2 warnings: BinlogRetentionShort: binlogs go after 1 h; EventsEnabled: 2 events write"
    assert checked(reporter, short, events) == said


def test_many_long_warnings_are_all_named_where_an_event_has_room(reporter: StatusReporter) -> None:
    said = checked(reporter, *((reason, "word " * 900) for reason in list(Reason)[:9]))
    assert len(said) < 1024
    assert all(f"{reason}: word" in said for reason in list(Reason)[:9])
    assert "whole in the copier's log" in said


def test_an_exhausted_series_reports_why_its_last_attempt_failed(reporter: StatusReporter) -> None:
    reporter.attempt_ended(
        AttemptOutcome(Reason.DEADLINE_EXCEEDED, "changes of shop.orders were not there after 10 s", 10_004)
    )
    reporter.attempts_exhausted(5, CutoverMode.MANUAL)
    message = reporter.report().message
    assert message.startswith(
        "5 attempts failed, the last one: DeadlineExceeded: changes of shop.orders were not there"
    )
    assert "approve again for a new series" in message
    told = next(one for one in reporter.report().conditions if one.type == Condition.CUT_OVER)
    assert (told.reason, told.message) == (Reason.ATTEMPTS_EXHAUSTED, message)


def test_after_a_restart_the_reason_is_still_reported(reporter: StatusReporter) -> None:
    series = SeriesState(attempts=5, last_result="DeadlineExceeded")
    reporter.begin([], 2, RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="", series=series))
    reporter.attempts_exhausted(5, CutoverMode.MANUAL)
    assert reporter.report().message.startswith("5 attempts failed, the last one: DeadlineExceeded; approve again")


def reason(reporter: StatusReporter, kind: Condition) -> tuple[str, str]:
    said = reporter.report().condition(kind)
    assert said is not None
    return said.status, said.reason


def test_the_advice_is_possible_in_mode_automatic(reporter: StatusReporter) -> None:
    """The API server refuses ``approved`` in this mode."""
    reporter.attempts_exhausted(5, CutoverMode.AUTOMATIC)
    message = reporter.report().message
    assert "raise spec.cutover.maxAttempts" in message
    assert "spec.cutover.mode Manual, then, in another patch, spec.cutover.approved" in message


def test_a_change_is_logged_once(reporter: StatusReporter, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for lag in ("9 s", "8 s"):
        reporter.enter(Stage.STREAMING)
        reporter.gates([MissingGate(Reason.LAG_ABOVE_THRESHOLD, f"lag {lag}")], wanted=False)
    reporter.enter(Stage.READY_FOR_CUTOVER)
    for _ in range(2):
        reporter.gates([], wanted=True, exhausted=True)
        reporter.attempts_exhausted(5, CutoverMode.MANUAL)
    assert [" ".join(line.split()[:3]) for line in caplog.messages] == [
        "stage Streaming",
        "LagAboveThreshold: lag 9",
        "stage ReadyForCutover",
        "GatesPassed: every gate",
        "LagBelowThreshold: changes reach",
        "AttemptsExhausted: a person",
    ]


def test_a_person_is_needed_until_there_are_attempts_again(reporter: StatusReporter) -> None:
    said = []
    reporter.gates([], wanted=True, exhausted=True)
    reporter.attempts_exhausted(5, CutoverMode.AUTOMATIC)
    said.append(reason(reporter, Condition.STALLED))
    reporter.gates([LAGS], wanted=True, exhausted=True)
    said.append(reason(reporter, Condition.STALLED))
    reporter.gates([], wanted=True)
    said.append(reason(reporter, Condition.STALLED))
    assert said == [("True", "AttemptsExhausted")] * 2 + [("False", "NotStalled")]


def test_rows_that_differ_are_in_condition_status_and_metrics(reporter: StatusReporter) -> None:
    move = move_of()
    reporter.progress.begin([move])
    reporter.gates([], wanted=False)
    differing = [Difference(move.table, (str(number),), DifferenceKind.CHANGED) for number in range(3)]
    failed = RowsDiffer(differing)
    reporter.failed(failed)
    reporter.failed(failed)
    assert reason(reporter, Condition.VERIFIED) == ("False", "RowsDiffer")
    assert reporter.report().verification.rows_differing == 3
    assert (
        'ferry_verify_mismatched_rows_total{table="shop.t"} 3.0' in exposition(registry_of(reporter.progress)).decode()
    )


def test_a_failed_attempt_is_reported_until_the_next_one(reporter: StatusReporter) -> None:
    reporter.attempt_ended(AttemptOutcome(Reason.ROWS_DIFFER, "1 row of shop.orders differs", 40))
    for missing, wanted in (([LAGS], True), ([], False)):
        reporter.gates(missing, wanted=wanted)
        assert "the last attempt failed: RowsDiffer: 1 row of shop.orders differs" in reporter.report().message
    reporter.attempt_begins(2, 1.0)
    reporter.gates([LAGS], wanted=True)
    assert "RowsDiffer" not in reporter.report().message


def test_a_cutover_that_is_approved_does_not_wait_for_approval(reporter: StatusReporter) -> None:
    """It was paused, or lagged; it must not say that nobody has approved it."""
    lag, pause = [LAGS, PAUSED], [PAUSED]
    said = []
    for missing, wanted in ((lag, False), ([], False), (lag, False), (lag, True), (pause, True), (pause, False)):
        reporter.gates(missing, wanted=wanted)
        said.append(reason(reporter, Condition.CUT_OVER)[1])
    assert said == ["InProgress", *["AwaitingApproval"] * 2, "LagAboveThreshold", "PausedByUser", "AwaitingApproval"]


def test_the_outcome_of_an_attempt_stays_until_the_next_one(reporter: StatusReporter) -> None:
    reporter.gates([], wanted=False)
    reporter.attempt_begins(1, 1.0)
    reporter.attempt_ended(AttemptOutcome(Reason.DEADLINE_EXCEEDED, "too slow", 10_000))
    reporter.gates([PAUSED], wanted=True)
    assert reason(reporter, Condition.CUT_OVER) == ("False", "DeadlineExceeded")


def test_a_lag_during_an_attempt_is_not_reported_as_caught_up(
    reporter: StatusReporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lag: list[float | None] = [0.2]
    monkeypatch.setattr(StatusReporter, "lag", lambda _: lag[0])
    reporter.gates([], wanted=True)
    reporter.enter(Stage.CUTTING_OVER)
    reporter.attempt_begins(1, 1.0)
    said = []
    for lag[0] in (0.9, 1.1, 0.9, None):
        reporter.tick()
        said.append(reason(reporter, Condition.CAUGHT_UP))
    late = ("False", "LagAboveThreshold")
    assert said == [("True", "LagBelowThreshold"), late, late, ("Unknown", "LagUnknown")]
    reporter.attempt_ended(AttemptOutcome(Reason.DONE, "", 40))
    assert reason(reporter, Condition.CAUGHT_UP) == ("True", "LagBelowThreshold")


def test_a_retry_counts_for_the_server_of_its_error(reporter: StatusReporter) -> None:
    """Determined by the error's field: a message may begin with anything."""
    reporter.retried(LockConflict(Reason.LOCK_CONFLICT, "source rows wait", server=ServerRole.TARGET))
    reporter.retried(Interrupted(Reason.PAUSED, "source and target rest"))
    counted = exposition(registry_of(reporter.progress)).decode()
    assert 'ferry_mysql_errors_total{class="LockConflict",server="target"} 1.0' in counted
    assert 'ferry_mysql_errors_total{class="Paused",server="both"} 1.0' in counted
