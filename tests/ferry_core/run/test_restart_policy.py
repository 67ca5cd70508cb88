"""After which errors, and for how long, a run starts again from its checkpoint."""

import threading

import pytest

from ferry_core.api.directive import Directive
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.errors import ConnectionLost, DataError, FerryError, LockConflict, RetriableError, ServerRestarted
from ferry_core.intent.desired_state import DesiredState
from ferry_core.intent.intent import Intent
from ferry_core.reasons import Reason
from ferry_core.run import restart_policy
from ferry_core.run.restart_policy import MOST_ALTERATIONS, MOST_COPIES, MOST_RESTARTS, WITHIN_SECONDS, RestartPolicy

LOST = ConnectionLost(Reason.CONNECTION_LOST, "source: gone")
RESTARTED = ServerRestarted(Reason.SERVER_RESTARTED, "source was restarted")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr("ferry_core.run.restart_policy.time.monotonic", lambda: now[0])
    return now


def goes_on(decision: RestartPolicy, error: FerryError, *, under_way: bool = False, let_in: bool = True) -> bool:
    return decision.allow(error, under_way=under_way, let_in=let_in)


@pytest.mark.parametrize("under_way", [True, False])
def test_a_limited_number_of_restarts_is_tolerated(clock: list[float], under_way: bool) -> None:
    decision = RestartPolicy(120)
    assert all(goes_on(decision, RESTARTED, under_way=under_way) for _ in range(MOST_RESTARTS))
    assert not goes_on(decision, RESTARTED, under_way=under_way)
    clock[0] += WITHIN_SECONDS + 1
    assert goes_on(decision, RESTARTED, under_way=under_way)


@pytest.mark.parametrize("error", [LOST, LockConflict(Reason.LOCK_CONFLICT, "target: busy")])
def test_before_the_first_chunk_a_retriable_error_gets_the_time_of_a_step(
    clock: list[float], error: FerryError
) -> None:
    decision = RestartPolicy(120)
    assert goes_on(decision, error)
    clock[0] += 119
    assert goes_on(decision, error)
    clock[0] += 1
    assert not goes_on(decision, error)


def test_the_retry_time_starts_again_once_the_run_was_under_way(clock: list[float]) -> None:
    decision = RestartPolicy(120)
    assert goes_on(decision, LOST)
    clock[0] += 1000
    assert goes_on(decision, RESTARTED, under_way=True)
    assert goes_on(decision, LOST)


def test_a_server_that_never_accepted_us_gets_less_time(clock: list[float]) -> None:
    decision = RestartPolicy(120)
    assert goes_on(decision, LOST, let_in=False)
    clock[0] += restart_policy.FIRST_CONTACT_SECONDS
    assert not goes_on(decision, LOST, let_in=False)


@pytest.mark.parametrize(
    "error", [DataError(Reason.ROWS_DIFFER, "one row"), RetriableError(Reason.XA_UNDECIDED, "prepared for 10 min")]
)
def test_permanent_or_late_errors_are_not_retried(error: FerryError) -> None:
    assert not goes_on(RestartPolicy(120), error)


def test_once_under_way_a_step_is_not_retried_again() -> None:
    assert not goes_on(RestartPolicy(120), LOST, under_way=True)


def test_the_wait_ends_with_a_stop() -> None:
    intent, decision = Intent(Directive(generation=0)), RestartPolicy(120)
    decision._pause = 600.0
    waiting = threading.Thread(target=decision.wait, args=[intent])
    waiting.start()
    while waiting.is_alive():
        intent.change(DesiredState.stopped)
        waiting.join(0.01)
    decision.wait(intent)


def test_altered_tables_are_validated_again_a_few_times_if_the_start_was_undone() -> None:
    decision, altered = RestartPolicy(120), DataError(Reason.SCHEMA_CHANGED, "t is another")

    def allowed(policy: RestartPolicy, *, undone: bool) -> bool:
        return policy.allow(altered, under_way=False, let_in=True, start_undone=undone)

    assert all(allowed(decision, undone=True) for _ in range(MOST_ALTERATIONS))
    assert not allowed(decision, undone=True)
    assert not allowed(RestartPolicy(120), undone=False)


def test_a_table_that_never_becomes_complete_is_not_copied_again_for_ever() -> None:
    decision = RestartPolicy(120)
    for number in range(MOST_COPIES):
        error = DataError(Reason.SCHEMA_CHANGED, "altered")
        assert decision.allow(error, under_way=True, let_in=True, changed={"shop.t"})
        assert ("copied again" in error.message) is (number > 0)
    assert decision.allow(DataError(Reason.SCHEMA_CHANGED, "altered"), under_way=True, let_in=True, changed={"shop.u"})
    last = DataError(Reason.SCHEMA_CHANGED, "altered")
    assert not decision.allow(last, under_way=True, let_in=True, changed={"shop.t", "shop.u"})
    assert f"shop.t was copied again {MOST_COPIES} times and never became complete" in last.message


def test_a_table_that_becomes_complete_in_between_is_copied_again_however_often_it_changes() -> None:
    decision = RestartPolicy(120)
    state = RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="")
    state.tables = {"shop.t": TableState(started=True, walked=True)}
    for _ in range(2 * MOST_COPIES):
        error = DataError(Reason.SCHEMA_CHANGED, "altered")
        assert decision.allow(error, under_way=True, let_in=True, changed={"shop.t"})
        decision.copied(state)
