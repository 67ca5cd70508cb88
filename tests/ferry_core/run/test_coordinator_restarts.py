"""What makes a run begin again from its checkpoint: a restarted server, a changed table, a key that is none."""

import pytest

from ferry_core.api.report import Stage
from ferry_core.errors import (
    ConnectionLost,
    DataError,
    ExitCode,
    FerryError,
    ServerRestarted,
)
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Reason
from ferry_core.run.restart_policy import MOST_RESTARTS
from tests.ferry_core.run.conftest import MOVING, NULL, MakeRun, run_until


@pytest.mark.parametrize("stage", [Stage.COPYING, Stage.STREAMING, Stage.CUTTING_OVER])
def test_a_changed_table_is_copied_again_from_every_phase(make_run: MakeRun, stage: Stage) -> None:
    run = make_run()
    run.startup.copies_again = True
    run.during[stage] = lambda: run.planned.append(changed("shop.t"))
    assert run.run() is ExitCode.DONE
    assert (run.startup.starts, run.copied_again) == (2, ["shop.t", "shop.child"])


def test_tables_are_copied_again_however_often_they_change(make_run: MakeRun) -> None:
    run = make_run()
    run.startup.copies_again = True
    left = iter(range(30))

    def change() -> None:
        if next(left, None) is not None:
            run.planned.append(changed("shop.t"))
            run.during[Stage.STREAMING] = change

    run.during[Stage.STREAMING] = change
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == 31


@pytest.mark.parametrize("stage", [Stage.COPYING, Stage.STREAMING])
def test_a_new_table_that_is_altered_before_it_is_copied_is_copied_again(make_run: MakeRun, stage: Stage) -> None:
    run = make_run()
    run.startup.joining = frozenset({"shop.fresh"})
    run.during[stage] = lambda: run.planned.append(changed("shop.fresh"))
    assert run.run() is ExitCode.DONE
    assert "shop.fresh" in run.copied_again
    run = make_run()
    run.startup.joining = frozenset({"shop.fresh"})
    run.during[stage] = lambda: run.planned.append(changed("shop.t"))
    with pytest.raises(DataError):
        run.run()


def test_a_new_table_that_is_altered_while_the_run_validates_begins_it_again(make_run: MakeRun) -> None:
    run = make_run()
    run.startup.joining = frozenset({"shop.fresh"})
    run.planned.append(changed("shop.fresh"))
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == 2


def test_an_error_that_names_no_changed_table_ends_the_run(make_run: MakeRun) -> None:
    run = make_run()
    run.startup.copies_again = True
    run.during[Stage.STREAMING] = lambda: run.planned.append(DataError(Reason.SCHEMA_CHANGED, "it is gone"))
    with pytest.raises(DataError):
        run.run()
    assert not run.copied_again


def test_an_error_that_a_changed_definition_explains_has_the_table_copied_again(make_run: MakeRun) -> None:
    run = make_run()
    run.startup.copies_again = True

    def fail() -> None:
        run.failing["definitions"] = changed("shop.t")
        run.planned.append(DataError(Reason.TABLE_NOT_AS_KNOWN, "Data too long for column"))

    run.during[Stage.COPYING] = fail
    assert run.run() is ExitCode.DONE
    assert run.copied_again == ["shop.t", "shop.child"]


@pytest.mark.parametrize("stage", [Stage.COPYING, Stage.STREAMING, Stage.READY_FOR_CUTOVER])
@pytest.mark.parametrize("alone", [True, False])
def test_a_changed_table_starts_over_alone_if_it_can(make_run: MakeRun, stage: Stage, alone: bool) -> None:
    run = run_until(make_run, stage)
    run.startup.copies_again, run.alone = True, alone

    def change() -> None:
        run.planned.append(changed("shop.t"))
        run.during[Stage.READY_FOR_CUTOVER] = run.wish(DesiredState.approved)

    run.during[stage] = change
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == (1 if alone else 2)
    assert run.copied_again == ([] if alone else ["shop.t", "shop.child"])
    assert run.operations.calls.count("start alone shop.t") == alone
    assert run.stages[run.stages.index(stage) :][1] is Stage.COPYING


def test_a_table_that_changes_while_it_starts_over_does_so_again(make_run: MakeRun) -> None:
    run = make_run()
    run.startup.copies_again, run.alone = True, True
    run.failing["start alone shop.t"] = changed("shop.u")
    run.during[Stage.COPYING] = lambda: run.planned.append(changed("shop.t"))
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == 1
    assert [call for call in run.operations.calls if "alone" in call] == ["start alone shop.t", "start alone shop.u"]


def test_a_table_changed_during_an_attempt_begins_the_run_again(make_run: MakeRun) -> None:
    """The attempt has to be undone, and nothing is known of what its steps still do."""
    run = run_until(make_run, Stage.CUTTING_OVER)
    run.startup.copies_again, run.alone = True, True
    run.during[Stage.CUTTING_OVER] = lambda: run.planned.append(changed("shop.t"))
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == 2


def changed(table: str) -> DataError:
    error = DataError(Reason.SCHEMA_CHANGED, f"{table} was altered")
    error.changed = frozenset({table})
    return error


@pytest.mark.parametrize("stage", [Stage.COPYING, Stage.STREAMING, Stage.CUTTING_OVER])
def test_a_key_with_null_is_given_up_and_the_run_starts_again(make_run: MakeRun, stage: Stage) -> None:
    run = make_run()
    run.during[stage] = lambda: run.planned.append(NULL)
    assert run.run() is ExitCode.DONE
    assert (run.startup.starts, run.without_key) == (2, ["shop.t"])


@pytest.mark.parametrize("stage", MOVING)
def test_a_restarted_server_starts_the_run_again(make_run: MakeRun, stage: Stage) -> None:
    run = run_until(make_run, stage)
    saved: list[int] = []

    def restart() -> None:
        run.planned.append(ServerRestarted(Reason.SERVER_RESTARTED, "source was restarted"))
        saved.append(len(run.checkpoints.saved))
        before.append((run.operations, run.checkpoints))
        if stage is Stage.READY_FOR_CUTOVER:
            run.during[stage] = run.wish(DesiredState.approved)

    before: list[tuple[object, object]] = []
    run.during[stage] = restart
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == 2
    assert run.stages.count(Stage.VALIDATING) == 1, "the stage that was reached is still reported"
    [(operations, checkpoints)] = before
    assert operations is not run.operations
    assert len(checkpoints.saved) == saved[0], "what memory held is not stored"  # type: ignore[attr-defined]
    assert run.state.series.attempts == (2 if stage is Stage.CUTTING_OVER else 1)


def test_repeated_server_restarts_end_the_run(make_run: MakeRun) -> None:
    run = make_run()

    def restart() -> None:
        run.planned.append(ServerRestarted(Reason.SERVER_RESTARTED, "source was restarted"))
        run.during[Stage.STREAMING] = restart

    run.during[Stage.STREAMING] = restart
    with pytest.raises(ServerRestarted):
        run.run()
    assert run.startup.starts == MOST_RESTARTS + 1


def test_before_the_first_chunk_an_unreachable_server_is_retried(make_run: MakeRun) -> None:
    run = make_run()
    run.failing["make readable"] = ConnectionLost(Reason.CONNECTION_LOST, "source: gone")
    run.planned = [ConnectionLost(Reason.CONNECTION_LOST, "target: refused")]
    assert run.run() is ExitCode.DONE
    assert run.startup.starts == 3


@pytest.mark.parametrize("undone", [True, False])
def test_a_definition_that_is_changed_before_the_first_chunk_is_validated_again(
    make_run: MakeRun, undone: bool
) -> None:
    run = make_run()
    run.startup.may_undo = undone
    run.failing["make readable"] = DataError(Reason.SCHEMA_CHANGED, "altered")
    if undone:
        assert run.run() is ExitCode.DONE
        assert run.stages[:4] == [Stage.VALIDATING, Stage.COPYING, Stage.VALIDATING, Stage.COPYING]
    else:
        with pytest.raises(DataError):
            run.run()


def test_a_stop_is_not_followed_by_another_start(make_run: MakeRun) -> None:
    run = make_run()

    def stop() -> None:
        run.intent.change(DesiredState.stopped)
        run.planned.append(ServerRestarted(Reason.SERVER_RESTARTED, "source was restarted"))

    run.during[Stage.STREAMING] = stop
    with pytest.raises(FerryError):
        run.run()
    assert run.startup.starts == 1
