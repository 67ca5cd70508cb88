"""Cutover attempts of a run without a server: their series, the time between two, what is stored before and after."""

import pytest

from ferry_core.api.report import Stage
from ferry_core.errors import ConnectionLost, DataError, ExitCode
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Condition, Reason
from ferry_core.run.attempts import BETWEEN_ATTEMPTS_SECONDS
from tests.ferry_core.run.conftest import LATE, MakeRun


def test_attempts_wait_for_each_other_and_end_with_the_series(make_run: MakeRun) -> None:
    run = make_run(maxAttempts=2)
    run.attempts = [LATE, LATE]
    reasons: list[tuple[str, str]] = []

    def exhausted() -> None:
        reasons.append(run.condition(Condition.STALLED))
        run.intent.change(DesiredState.approved)

    def after_the_second() -> None:
        if run.state.series.attempts == 2:
            run.during[Stage.READY_FOR_CUTOVER] = exhausted
        else:
            run.during[Stage.STREAMING] = after_the_second

    run.during[Stage.STREAMING] = after_the_second
    run.during[Stage.CUTTING_OVER] = lambda: run.during.update({Stage.STREAMING: after_the_second})
    assert run.run() is ExitCode.DONE
    first, second, third = run.attempts_at
    assert second - first >= BETWEEN_ATTEMPTS_SECONDS
    assert third > second
    assert reasons == [("True", "AttemptsExhausted")]
    assert run.state.series.attempts == 1, "another approval begins another series"


def test_an_attempt_is_stored_before_it_begins_and_after_it_failed(make_run: MakeRun) -> None:
    run = make_run()
    run.attempts = [LATE]
    assert run.run() is ExitCode.DONE
    saved = run.checkpoints.saved
    assert saved.index(("CuttingOver", 1)) < saved.index(("Streaming", 1)) < saved.index(("CuttingOver", 2))
    assert saved[-1] == ("Completed", 2)


def test_an_attempt_that_a_new_table_ends_has_a_result(make_run: MakeRun) -> None:
    run = make_run()
    new = DataError(Reason.NEW_TABLE, "created since the start: shop.fresh")
    new.appeared = frozenset({"shop.fresh"})
    results: list[tuple[str | None, int | None]] = []

    def look() -> None:
        results.append((run.state.series.last_result, run.state.series.blocked_milliseconds))

    def appear() -> None:
        run.planned.append(new)
        run.during[Stage.STREAMING] = look

    run.during[Stage.CUTTING_OVER] = appear
    assert run.run() is ExitCode.DONE
    assert results == [("NewTable", 42)]
    assert run.startup.starts == 2


@pytest.mark.parametrize(
    ("field", "reason"), [("stores", "CheckpointNotWritten"), ("definitions_read", "DefinitionsUnread")]
)
def test_an_attempt_that_cannot_be_prepared_fails_with_writes_allowed(
    make_run: MakeRun, field: str, reason: str
) -> None:
    run = make_run()
    setattr(run, field, False)
    results: list[str | None] = []

    def again() -> None:
        results.append(run.reporter.report().cutover.last_result)
        if results[-1] is None:
            run.during[Stage.STREAMING] = again
        else:
            setattr(run, field, True)

    run.during[Stage.STREAMING] = again
    assert run.run() is ExitCode.DONE
    assert results[-1] == reason
    assert len(run.attempts_at) == 1, "the first one stopped no writes"


def test_an_attempt_uses_the_newest_deadline(make_run: MakeRun) -> None:
    run = make_run()
    deadline = run.intent.now.directive.cutover.model_validate({"mode": "Automatic", "deadline": "3s"})
    run.during[Stage.STREAMING] = run.wish(lambda wanted: wanted.changed(cutover=deadline))
    assert run.run() is ExitCode.DONE
    assert "attempt 1 within 3s" in run.operations.calls


def test_a_failed_save_after_the_cutover_undoes_nothing(make_run: MakeRun) -> None:
    run = make_run()

    def fail() -> None:
        run.failing["save"] = ConnectionLost(Reason.CONNECTION_LOST, "target: gone")

    run.during[Stage.CUTTING_OVER] = fail
    assert run.run() is ExitCode.DONE
    assert run.stages[-1] is Stage.COMPLETED
