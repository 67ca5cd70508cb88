"""A run waits for its window without a server: how it reports that, and what a missed window needs."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ferry_core.api.report import Stage
from ferry_core.errors import ExitCode, Terminated
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Condition
from tests.ferry_core.run.conftest import LATE, FakeRun, MakeRun


def at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def run_with(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """A run whose wall clock is its clock, which begins at 1000 s."""

    def made(**cutover: Any) -> FakeRun:
        run = make_run(**cutover)
        monkeypatch.setattr("ferry_core.run.readiness.time.time", lambda: run.clock[0])
        return run

    return made


def window(run: FakeRun, **cutover: Any) -> Any:
    """An action that changes spec.cutover, as a directive does."""
    directive = run.intent.now.directive
    wanted = directive.cutover.model_validate({"mode": "Automatic"} | cutover)
    return lambda: run.intent.change(
        lambda state: state.replaced(directive.model_copy(update={"generation": 2, "cutover": wanted}))
    )


@pytest.mark.parametrize(
    "cutover", [{"mode": "Scheduled"}, {"mode": "Automatic"}, {"mode": "Manual", "approved": True}]
)
def test_no_attempt_starts_before_the_window(run_with: MakeRun, cutover: dict[str, Any]) -> None:
    run = run_with(notBefore=at(1010), **cutover)
    said: list[tuple[str, str]] = []

    def look() -> None:
        said[:] = [run.condition(kind) for kind in (Condition.READY_FOR_CUTOVER, Condition.CUT_OVER, Condition.STALLED)]
        run.during[Stage.STREAMING] = look

    run.during[Stage.STREAMING] = look
    assert run.run() is ExitCode.DONE
    assert said == [("False", "OutsideWindow"), ("False", "OutsideWindow"), ("False", "NotStalled")]
    assert 1009.99 < run.attempts_at[0] < 1011


def test_a_missed_window_waits_for_a_person_without_any_attempt(run_with: MakeRun) -> None:
    run = run_with(notAfter=at(999))
    said: list[tuple[str, str]] = []

    def look() -> None:
        said[:] = [run.condition(kind) for kind in (Condition.READY_FOR_CUTOVER, Condition.CUT_OVER, Condition.STALLED)]
        run.during[Stage.STREAMING] = look if run.clock[0] < 1010 else window(run, notAfter=at(3000))

    run.during[Stage.STREAMING] = look
    assert run.run() is ExitCode.DONE
    assert said == [("False", "WindowMissed"), ("False", "WindowMissed"), ("True", "WindowMissed")]
    assert [when >= 1010 for when in run.attempts_at] == [True]
    assert run.condition(Condition.STALLED) == ("False", "NotStalled")


def test_a_missed_window_that_nobody_wants_to_use_needs_no_person(run_with: MakeRun) -> None:
    run = run_with(mode="Manual", notAfter=at(999))
    said: list[tuple[str, str]] = []

    def look() -> None:
        said.append(run.condition(Condition.STALLED))
        run.during[Stage.STREAMING] = look if run.clock[0] < 1010 else run.wish(DesiredState.stopped)

    run.during[Stage.STREAMING] = look
    with pytest.raises(Terminated, match="Stopped"):
        run.run()
    assert set(said[5:]) == {("False", "NotStalled")}
    assert run.attempts_at == []


def test_attempts_that_fail_end_with_the_window_and_another_window_begins_another_series(run_with: MakeRun) -> None:
    run = run_with(notAfter=at(1012), maxAttempts=9)
    run.attempts = [LATE] * 3

    def look() -> None:
        if run.clock[0] > 1025:
            window(run, notAfter=at(3000), maxAttempts=9)()
        else:
            run.during[Stage.STREAMING] = look

    run.during[Stage.STREAMING] = look
    run.during[Stage.CUTTING_OVER] = lambda: run.during.setdefault(Stage.STREAMING, look)
    assert run.run() is ExitCode.DONE
    before = [when for when in run.attempts_at if when < 1025]
    assert before
    assert max(before) <= 1012
    assert run.state.series.attempts == 4 - len(before)
