"""A whole run without a server: phases and their exits; pause, stop, abort and errors in each; attempts."""

import pytest

from ferry_core.api.report import Stage
from ferry_core.errors import (
    AmbiguousError,
    ConnectionLost,
    DataError,
    ExitCode,
    Fenced,
    FerryError,
    ServerRestarted,
    Terminated,
)
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Condition, Reason
from ferry_core.run.attempts import SHORTEST_SECONDS
from ferry_core.run.coordinator import TICK_SECONDS
from tests.ferry_core.run.conftest import BEFORE_THE_ATTEMPT, DONE, LATE, MOVING, NULL, WAY, MakeRun, run_until


def test_from_validation_to_the_end_of_the_watch(make_run: MakeRun) -> None:
    run = make_run(watchFor="30s")
    assert run.run() is ExitCode.DONE
    assert run.stages == WAY
    assert [call for call in run.operations.calls if call != "copy"] == [
        *("empty", "pace 4", "stream", "make readable", "foreign keys", "new tables", "objects"),
        *(
            "verify",
            "new tables",
            "new tables",
            "definitions",
            "new tables known",
            "objects",
            "attempt 1 within 10s",
            "finish objects",
        ),
        *("stop writing", "new tables", "keep lock 30", "stop keeping lock", "watched end", "stop keeping lock"),
    ]
    assert run.operations.closed
    assert run.checkpoints.saved[-1] == ("Completed", 1)
    assert run.state.write_block_milliseconds == DONE.blocked_milliseconds
    assert run.seconds_in[Stage.STREAMING] >= SHORTEST_SECONDS - TICK_SECONDS
    assert 30 <= run.seconds_in[Stage.COMPLETED] < 31
    assert run.condition(Condition.SUCCEEDED) == ("True", "Completed")


def test_a_run_stays_in_copying_until_its_deferred_indexes_are_there(make_run: MakeRun) -> None:
    run = make_run()
    run.builds = 50
    assert run.run() is ExitCode.DONE
    assert run.seconds_in[Stage.COPYING] >= 49 * TICK_SECONDS
    assert run.stages == WAY


def test_statements_that_waited_for_the_lock_are_reported_when_it_ends(make_run: MakeRun) -> None:
    """What they write after that is not on the target."""
    for watch_for in ("0s", "30s"):
        run = make_run(watchFor=watch_for)
        run.waiting_writers = ["connection 5 (app@web1): INSERT INTO t"]
        assert run.run() is ExitCode.DATA
        assert run.condition(Condition.STALLED) == ("True", "SourceWrittenAfterCutover")


def test_null_in_a_key_after_the_cutover_is_a_write(make_run: MakeRun) -> None:
    run = make_run(watchFor="30s")
    run.during[Stage.COMPLETED] = lambda: run.planned.append(NULL)
    assert run.run() is ExitCode.DATA
    assert run.condition(Condition.STALLED) == ("True", "SourceWrittenAfterCutover")
    assert not run.without_key


def test_a_copied_run_resumes_with_the_stream(make_run: MakeRun) -> None:
    run = make_run()
    run.reached, run.chunks = Stage.STREAMING, 0
    assert run.run() is ExitCode.DONE
    assert run.stages == [Stage.VALIDATING, *WAY[2:]]
    assert not {"make readable", "copy", "foreign keys"} & set(run.operations.calls)


def test_a_run_after_the_cutover_does_nothing(make_run: MakeRun) -> None:
    run = make_run()
    run.cut_over_before = True
    assert run.run() is ExitCode.DONE
    assert run.stages == [Stage.VALIDATING]


def test_writes_on_the_source_after_the_cutover_are_an_error(make_run: MakeRun) -> None:
    run = make_run()

    def write() -> None:
        run.operations.changes += 2

    run.during[Stage.COMPLETED] = write
    assert run.run() is ExitCode.DATA
    assert run.condition(Condition.STALLED) == ("True", "SourceWrittenAfterCutover")


def test_the_watch_goes_on_until_the_stream_has_read_its_window(make_run: MakeRun) -> None:
    run = make_run(watchFor="1s")
    run.behind = 600
    after_the_window = run.clock[0] + 40

    def write() -> None:
        run.during[Stage.COMPLETED] = write
        if run.clock[0] > after_the_window:
            run.operations.changes = 7

    run.during[Stage.COMPLETED] = write
    assert run.run() is ExitCode.DATA
    assert run.seconds_in[Stage.COMPLETED] > 60


@pytest.mark.parametrize("stopped", [True, False])
def test_a_watch_that_ends_before_its_window_is_read_says_so(make_run: MakeRun, stopped: bool) -> None:
    run = make_run(watchFor="1s")
    run.behind, run.silent = 600, not stopped
    if stopped:
        run.during[Stage.COMPLETED] = run.wish(DesiredState.stopped)
    assert run.run() is ExitCode.DONE
    assert "not read to the end" in run.reporter.report().message
    assert run.seconds_in[Stage.COMPLETED] < 3


def test_an_abort_after_the_record_of_the_cutover_is_not_recorded(make_run: MakeRun) -> None:
    """The lease says Completed by then: Aborted instead would let another run copy over live rows."""
    run = make_run()

    def abort() -> None:
        run.intent.change(DesiredState.with_abort)
        raise ConnectionLost(Reason.CONNECTION_LOST, "target: gone")

    run.during[Stage.CUTTING_OVER] = lambda: setattr(run.operations, "finish_objects", lambda _: abort())
    with pytest.raises(ConnectionLost):
        run.run()
    assert "record aborted" not in run.operations.calls


def test_the_run_waits_for_approval_and_every_gate(make_run: MakeRun) -> None:
    run = make_run(mode="Manual")
    said: list[str] = []

    def lag_then_approve() -> None:
        run.during[Stage.STREAMING] = catch_up
        run.lag = 9.0

    def catch_up() -> None:
        said.append(run.condition(Condition.READY_FOR_CUTOVER)[1])
        run.lag = 0.1
        run.during[Stage.READY_FOR_CUTOVER] = approve

    def approve() -> None:
        said.append(run.condition(Condition.CUT_OVER)[1])
        run.intent.change(DesiredState.approved)

    run.during[Stage.READY_FOR_CUTOVER] = lag_then_approve
    assert run.run() is ExitCode.DONE
    assert said == ["LagAboveThreshold", "AwaitingApproval"]
    assert run.stages == [*WAY[:4], Stage.STREAMING, *WAY[3:]]


@pytest.mark.parametrize("stage", [Stage.STREAMING, Stage.READY_FOR_CUTOVER])
def test_a_table_that_joins_is_copied_before_an_attempt(make_run: MakeRun, stage: Stage) -> None:
    """Even if verify.mode is None: nothing else would wait for its rows."""
    run = run_until(make_run, stage)
    left_at_the_attempt: list[int] = []

    def join() -> None:
        run.chunks = 100
        run.during[Stage.STREAMING] = copying
        run.during[Stage.READY_FOR_CUTOVER] = run.wish(DesiredState.approved)
        run.during[Stage.CUTTING_OVER] = lambda: left_at_the_attempt.append(run.chunks)

    def copying() -> None:
        assert run.condition(Condition.READY_FOR_CUTOVER) == ("False", "Copying")

    run.during[stage] = join
    assert run.run() is ExitCode.DONE
    assert [left <= 0 for left in left_at_the_attempt] == [True]


# -- pause, stop and abort in each phase ---------------------------------------------------------------------------


@pytest.mark.parametrize("stage", BEFORE_THE_ATTEMPT)
def test_a_pause_begins_and_ends(make_run: MakeRun, stage: Stage) -> None:
    run = make_run(mode="Manual" if stage is Stage.READY_FOR_CUTOVER else "Automatic")
    run.during[stage] = run.pause()
    if stage is Stage.READY_FOR_CUTOVER:
        run.during[Stage.STREAMING] = lambda: run.during.update({Stage.READY_FOR_CUTOVER: paused_and_approved})

    def paused_and_approved() -> None:
        run.pause()()
        run.intent.change(DesiredState.approved)

    assert run.run() is ExitCode.DONE
    held = stage if stage is Stage.COPYING else Stage.STREAMING
    assert run.paused_in - {stage} <= {held}
    assert "interrupt" in run.operations.calls
    assert run.attempts_at == [pytest.approx(run.attempts_at[0])], "one attempt, after the pause"


def test_a_pause_in_an_attempt_takes_effect_after_it(make_run: MakeRun) -> None:
    run = make_run()
    run.attempts = [LATE]
    run.during[Stage.CUTTING_OVER] = run.pause()
    assert run.run() is ExitCode.DONE
    assert run.paused_in == {Stage.STREAMING}
    assert len(run.attempts_at) == 2


def test_a_pause_after_an_attempt_that_a_restart_ended_takes_effect(make_run: MakeRun) -> None:
    run = make_run()
    run.during[Stage.CUTTING_OVER] = lambda: run.planned.append(ServerRestarted(Reason.SERVER_RESTARTED, "source"))
    run.during[Stage.STREAMING] = lambda: run.during.update({Stage.STREAMING: run.pause()})
    assert run.run() is ExitCode.DONE
    assert Stage.STREAMING in run.paused_in


def test_a_pause_verb_is_stored_at_once(make_run: MakeRun) -> None:
    run = make_run()
    run.during[Stage.COPYING] = run.pause()
    assert run.run() is ExitCode.DONE
    assert run.state.paused is False
    assert len(run.checkpoints.saved) >= 3


@pytest.mark.parametrize("stage", MOVING)
def test_a_stop_saves_the_state_and_ends_the_run(make_run: MakeRun, stage: Stage) -> None:
    run = run_until(make_run, stage)
    run.during[stage] = run.wish(DesiredState.stopped)
    with pytest.raises(Terminated) as caught:
        run.run()
    assert caught.value.reason is Reason.STOPPED
    assert run.operations.calls[-1] == "stop"
    assert run.operations.closed
    assert run.checkpoints.saved[-1][0] == ("Copying" if stage is Stage.COPYING else "Streaming")
    assert run.reporter.stage is (stage if stage is not Stage.CUTTING_OVER else Stage.STREAMING)


def test_a_stop_ends_the_watch_without_an_error(make_run: MakeRun) -> None:
    run = make_run(watchFor="1h")
    run.during[Stage.COMPLETED] = run.wish(DesiredState.stopped)
    assert run.run() is ExitCode.DONE
    assert run.seconds_in[Stage.COMPLETED] < 1


@pytest.mark.parametrize("stage", MOVING)
def test_an_abort_is_recorded_in_the_lease(make_run: MakeRun, stage: Stage) -> None:
    run = run_until(make_run, stage)
    run.during[stage] = run.wish(DesiredState.with_abort)
    with pytest.raises(Terminated) as caught:
        run.run()
    assert caught.value.reason is Reason.ABORTED
    assert run.operations.calls[-2:] == ["stop", "record aborted"]
    assert run.operations.closed


def test_an_abort_is_reported_even_if_a_server_is_lost(make_run: MakeRun) -> None:
    run = make_run()

    def abort() -> None:
        run.intent.change(DesiredState.with_abort)
        run.planned.append(ConnectionLost(Reason.CONNECTION_LOST, "source: gone"))

    run.during[Stage.STREAMING] = abort
    with pytest.raises(Terminated, match="Aborted"):
        run.run()


# -- errors in each phase ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", WAY[1:5])
@pytest.mark.parametrize(
    "error",
    [
        DataError(Reason.SCHEMA_CHANGED, "altered"),
        Fenced(Reason.NEWER_RUN, "newer"),
        AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, "unknown"),
        ConnectionLost(Reason.CONNECTION_LOST, "for too long"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_ends_the_run_where_it_is(make_run: MakeRun, stage: Stage, error: FerryError) -> None:
    run = run_until(make_run, stage)
    run.during[stage] = lambda: run.planned.append(error)
    with pytest.raises(type(error)):
        run.run()
    stores = isinstance(error, ConnectionLost)
    assert run.operations.calls[-1] == "stop"
    assert (run.checkpoints.saved[-1:] == [(run.state.stage, run.state.series.attempts)]) or not stores
    undone = stage is Stage.CUTTING_OVER and not isinstance(error, AmbiguousError)
    assert run.reporter.stage is (Stage.STREAMING if undone else stage)
    assert run.startup.starts == 1


def test_an_unwatchable_source_is_not_a_failure(make_run: MakeRun) -> None:
    run = make_run(watchFor="1h")
    run.during[Stage.COMPLETED] = lambda: run.planned.append(ConnectionLost(Reason.CONNECTION_LOST, "source: gone"))
    assert run.run() is ExitCode.DONE
    run = make_run(watchFor="1h")
    run.during[Stage.COMPLETED] = lambda: run.planned.append(DataError(Reason.SCHEMA_CHANGED, "altered"))
    assert run.run() is ExitCode.DATA


def test_more_workers_start_during_the_copy(make_run: MakeRun) -> None:
    run = make_run()
    more = run.intent.now.directive.copy_.model_copy(update={"workers": 9})
    run.during[Stage.COPYING] = run.wish(lambda wanted: wanted.changed(copy_=more))
    assert run.run() is ExitCode.DONE
    assert [call for call in run.operations.calls if call.startswith("pace")] == ["pace 4", "pace 9"]


def test_waiting_writers_are_named_also_if_the_run_fails_after_the_record(make_run: MakeRun) -> None:
    run = make_run()
    run.waiting_writers = ["connection 5 (app@web1): INSERT INTO t"]

    def lose(_: object) -> int:
        raise ConnectionLost(Reason.CONNECTION_LOST, "target: gone")

    run.during[Stage.CUTTING_OVER] = lambda: setattr(run.operations, "finish_objects", lose)
    with pytest.raises(ConnectionLost):
        run.run()
    assert run.reporter.written_after == 1


@pytest.mark.parametrize("answers", [True, False])
def test_waiting_writers_are_named_also_if_it_is_unknown_whether_the_cutover_was_recorded(
    make_run: MakeRun, answers: bool
) -> None:
    run = make_run()

    def ask() -> list[str]:
        if answers:
            return ["connection 5 (app@web1): INSERT INTO t"]
        raise ConnectionLost(Reason.CONNECTION_LOST, "source: too many connections")

    def fail() -> None:
        run.operations.stop_keeping_lock = ask  # type: ignore[method-assign]
        run.planned.append(AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, "its answer is not known"))

    run.during[Stage.CUTTING_OVER] = fail
    with pytest.raises(AmbiguousError) as caught:
        run.run()
    assert caught.value.message.startswith("its answer is not known. W")
    assert ("connection 5 (app@web1)" if answers else "too many connections") in caught.value.message


def test_a_lock_that_is_lost_during_the_watch_is_told_at_once(make_run: MakeRun) -> None:
    run = make_run(watchFor="30s")
    run.failing["stop keeping lock"] = ConnectionLost(Reason.CONNECTION_LOST, "it was lost before")
    run.during[Stage.COMPLETED] = lambda: setattr(run.operations, "lock_lost", True)
    assert run.run() is ExitCode.DONE
    calls = run.operations.calls
    assert calls[calls.index("keep lock 30") + 1 :][:3] == ["stop keeping lock"] * 2 + ["watched end"]
    assert "was lost before" in run.reporter.report().message
    assert not run.state.watched


def test_a_watch_that_does_not_learn_who_waited_says_so(make_run: MakeRun) -> None:
    """The next start then says that nobody has watched the source."""
    run = make_run(watchFor="1s")
    unanswered = iter([True])

    def ask() -> list[str]:
        if next(unanswered, False):
            raise ConnectionLost(Reason.CONNECTION_LOST, "source: too many connections")
        return []

    run.during[Stage.COMPLETED] = lambda: setattr(run.operations, "stop_keeping_lock", ask)
    assert run.run() is ExitCode.DONE
    assert "too many connections" in run.reporter.report().message
    assert not run.state.watched
