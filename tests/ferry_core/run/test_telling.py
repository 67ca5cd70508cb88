"""What a run says of itself: words and figures that people act on."""

import hashlib
import logging

import pytest

from ferry_core.api.choices import CutoverMode
from ferry_core.api.reasons import Condition, Reason
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry
from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.cutover.outcome import Attempt
from ferry_core.preflight import CheckResult
from ferry_core.preflight.result import Status
from ferry_core.report.metrics import exposition, registry_of
from ferry_core.run.telling import Telling
from ferry_core.run.wording import at_most_4_kib, roughly
from ferry_core.throttle import Throttle
from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer
from tests.support.manifests import ferry_data
from tests.support.tables import simple_table


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "0 min"), (3599, "59 min"), (3600, "1 h 0 min"), (86_399, "23 h 59 min"), (443_000, "5 d 3 h")],
)
def test_a_time_span_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


def test_a_long_gtid_set_is_told_by_its_digest() -> None:
    fits, longer = "x" * 4096, "x" * 4097
    assert at_most_4_kib(fits) == fits
    assert at_most_4_kib(longer) == f"sha256:{hashlib.sha256(longer.encode()).hexdigest()}"


@pytest.fixture
def throttle() -> Throttle:
    return Throttle()


@pytest.fixture
def telling(throttle: Throttle, monkeypatch: pytest.MonkeyPatch) -> Telling:
    monkeypatch.setattr(Telling, "lag", lambda _: 3600.0)
    return Telling(Ferry.model_validate(ferry_data()), throttle)


@pytest.mark.parametrize(
    ("retained", "said"),
    [
        (90_000, "paused by spec.paused; source keeps binlogs for another 1 d 0 h"),
        (3000, "paused by spec.paused; the source may purge binlogs that are still needed"),
        (None, "paused by spec.paused"),
    ],
)
def test_a_pause_says_how_long_it_may_last_and_gives_the_word_back(
    telling: Telling, throttle: Throttle, retained: float | None, said: str
) -> None:
    telling.stage(Stage.COPYING)
    telling.source_retains(retained)
    telling.message("copying rows")
    throttle.pause.set(True, "spec.paused")
    telling.tick()
    assert telling.report().message.startswith(said)
    telling.message("streaming")
    assert telling.report().message.startswith(said)
    throttle.pause.set(False, "")
    telling.tick()
    assert telling.report().message == "streaming"


def checked(telling: Telling, *warnings: tuple[str, str]) -> str:
    passed = CheckResult("tables", "source", Status.PASSED, "Passed", "")
    warned = [CheckResult(reason, "source", Status.WARNING, reason, message) for reason, message in warnings]
    known = CheckResult("triggers", "target", Status.ACKNOWLEDGED, "TargetTriggers", "there are triggers")
    telling.checked([passed, *warned, known])
    said = telling.report().condition(Condition.VALIDATED)
    assert said is not None
    assert (said.status, said.reason) == ("True", "Passed")
    return said.message


def test_warnings_of_the_preflight_are_in_the_condition(telling: Telling) -> None:
    """All that who has kubectl alone gets to see."""
    assert checked(telling) == ""
    short, events = ("BinlogRetentionShort", "binlogs go after 1 h"), ("EventsEnabled", "2 events write")
    said = "passed, with warnings: BinlogRetentionShort: binlogs go after 1 h; EventsEnabled: 2 events write"
    assert checked(telling, short, events) == said


def test_many_long_warnings_are_all_named_where_an_event_has_room(telling: Telling) -> None:
    said = checked(telling, *((f"Reason{number}", "word " * 900) for number in range(9)))
    assert len(said) < 1024
    assert all(f"Reason{number}: word" in said for number in range(9))
    assert "whole in the copier's log" in said


def test_an_exhausted_series_says_what_its_last_attempt_failed_by(telling: Telling) -> None:
    telling.attempt_ended(Attempt("DeadlineExceeded", "changes of shop.orders were not there after 10 s", 10_004))
    telling.attempts_exhausted(5, CutoverMode.MANUAL)
    message = telling.report().message
    assert message.startswith(
        "5 attempts failed, the last one by DeadlineExceeded: changes of shop.orders were not there"
    )
    assert "approve again for a new series" in message
    told = next(one for one in telling.report().conditions if one.type == Condition.CUT_OVER)
    assert (told.reason, told.message) == (Reason.ATTEMPTS_EXHAUSTED, message)


def test_a_restart_knows_the_reason_at_least(telling: Telling) -> None:
    series = SeriesState(attempts=5, last_result="DeadlineExceeded")
    telling.begin([], 2, RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="", series=series))
    telling.attempts_exhausted(5, CutoverMode.MANUAL)
    assert telling.report().message.startswith("5 attempts failed, the last one by DeadlineExceeded; approve again")


def reason(telling: Telling, kind: Condition) -> tuple[str, str]:
    said = telling.report().condition(kind)
    assert said is not None
    return said.status, said.reason


def test_what_is_advised_is_possible_in_mode_automatic(telling: Telling) -> None:
    """The API server refuses ``approved`` beside it."""
    telling.attempts_exhausted(5, CutoverMode.AUTOMATIC)
    message = telling.report().message
    assert "raise spec.cutover.maxAttempts" in message
    assert "spec.cutover.mode Manual, then, in another patch, spec.cutover.approved" in message


def test_what_changes_is_logged_once(telling: Telling, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for lag in ("9 s", "8 s"):
        telling.stage(Stage.STREAMING)
        telling.gates([f"LagAboveThreshold: lag {lag}"], wanted=False)
    telling.stage(Stage.READY_FOR_CUTOVER)
    for _ in range(2):
        telling.gates([], wanted=True, exhausted=True)
        telling.attempts_exhausted(5, CutoverMode.MANUAL)
    assert [" ".join(line.split()[:3]) for line in caplog.messages] == [
        "stage Streaming",
        "CaughtUp is False:",
        "stage ReadyForCutover",
        "ReadyForCutover is True:",
        "CaughtUp is True:",
        "Stalled is True:",
    ]


def test_a_person_is_needed_until_there_are_attempts_again(telling: Telling) -> None:
    said = []
    telling.gates([], wanted=True, exhausted=True)
    telling.attempts_exhausted(5, CutoverMode.AUTOMATIC)
    said.append(reason(telling, Condition.STALLED))
    telling.gates(["LagAboveThreshold: lag 9 s"], wanted=True, exhausted=True)
    said.append(reason(telling, Condition.STALLED))
    telling.gates([], wanted=True)
    said.append(reason(telling, Condition.STALLED))
    assert said == [("True", "AttemptsExhausted")] * 2 + [("False", "NotStalled")]


def test_rows_that_differ_are_told_of_in_condition_status_and_metrics(telling: Telling) -> None:
    table = simple_table()
    telling.progress.begin([table])
    telling.gates([], wanted=False)
    differing = [Difference(table, (str(number),), DifferenceKind.CHANGED) for number in range(3)]
    telling.failed(RowsDiffer(differing))
    assert reason(telling, Condition.VERIFIED) == ("False", "RowsDiffer")
    assert telling.report().verification.rows_differing == 3
    assert (
        'ferry_verify_mismatched_rows_total{table="shop.t"} 3.0' in exposition(registry_of(telling.progress)).decode()
    )


def test_a_failed_attempt_is_told_of_until_the_next_one(telling: Telling) -> None:
    telling.attempt_ended(Attempt("RowsDiffer", "1 row of shop.orders differs", 40))
    for missing, wanted in ((["LagAboveThreshold: lag 9 s"], True), ([], False)):
        telling.gates(missing, wanted=wanted)
        assert "the last attempt failed by RowsDiffer: 1 row of shop.orders differs" in telling.report().message
    telling.attempt_begins(2, 1.0)
    telling.gates(["LagAboveThreshold: lag 9 s"], wanted=True)
    assert "RowsDiffer" not in telling.report().message


def test_a_cutover_that_is_approved_does_not_wait_for_approval(telling: Telling) -> None:
    """It was paused, or lagged, and said until its end that nobody had approved it."""
    lag, pause = ["LagAboveThreshold: lag 9 s", "PausedByUser: paused"], ["PausedByUser: paused"]
    said = []
    for missing, wanted in ((lag, False), ([], False), (lag, False), (lag, True), (pause, True), (pause, False)):
        telling.gates(missing, wanted=wanted)
        said.append(reason(telling, Condition.CUT_OVER)[1])
    assert said == ["InProgress", *["AwaitingApproval"] * 2, "LagAboveThreshold", "PausedByUser", "AwaitingApproval"]


def test_how_an_attempt_ended_stands_until_the_next_one(telling: Telling) -> None:
    telling.gates([], wanted=False)
    telling.attempt_begins(1, 1.0)
    telling.attempt_ended(Attempt("DeadlineExceeded", "too slow", 10_000))
    telling.gates(["PausedByUser: paused"], wanted=True)
    assert reason(telling, Condition.CUT_OVER) == ("False", "DeadlineExceeded")


def test_who_lags_during_an_attempt_is_not_said_to_have_caught_up(
    telling: Telling, monkeypatch: pytest.MonkeyPatch
) -> None:
    lag: list[float | None] = [0.2]
    monkeypatch.setattr(Telling, "lag", lambda _: lag[0])
    telling.gates([], wanted=True)
    telling.stage(Stage.CUTTING_OVER)
    telling.attempt_begins(1, 1.0)
    said = []
    for lag[0] in (0.9, 1.1, 0.9, None):
        telling.tick()
        said.append(reason(telling, Condition.CAUGHT_UP))
    late = ("False", "LagAboveThreshold")
    assert said == [("True", "LagBelowThreshold"), late, late, ("Unknown", "LagUnknown")]
    telling.attempt_ended(Attempt("Done", "", 40))
    assert reason(telling, Condition.CAUGHT_UP) == ("True", "LagBelowThreshold")
