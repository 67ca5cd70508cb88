"""One copy step: what is retried, for how long, and the effect of a pause. Sessions are fakes here."""

import time
from unittest.mock import Mock

import pytest

from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConnectionLost, Interrupted, LockConflict, Terminated
from ferry_core.reasons import Reason
from ferry_core.rows.copier import CopyResult
from ferry_core.workers.sessions import CopySessions
from ferry_core.workers.step import CopyStep

RETRY_SECONDS = 0.3


@pytest.fixture
def ending() -> Cancellation:
    return Cancellation()


@pytest.fixture
def pair() -> Mock:
    return Mock(spec=CopySessions, **{"step.side_effect": lambda body: body(), "clock.side_effect": time.monotonic})


def test_a_pause_does_not_use_up_the_time_for_retries(ending: Cancellation, pair: Mock) -> None:
    """After a long pause the step first finds a connection that the server has closed meanwhile."""
    waited: list[float] = []

    def paused_once() -> None:
        if not waited:
            waited.append(2 * RETRY_SECONDS)
            time.sleep(2 * RETRY_SECONDS)

    outcomes = iter([ConnectionLost(Reason.CONNECTION_LOST, "idle for too long"), None])

    def body() -> str:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return "copied"

    step = CopyStep(paused_once, ending, Mock(), RETRY_SECONDS)
    assert step.retrying(pair, body) == "copied"
    pair.recover.assert_called_once_with()


def test_an_interrupted_step_is_redone_after_the_pause(ending: Cancellation, pair: Mock) -> None:
    resumed = Mock()
    outcomes = iter([Interrupted(Reason.PAUSED, "killed by the pause"), None])

    def body() -> str:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return "copied"

    assert CopyStep(resumed, ending, Mock(), RETRY_SECONDS).retrying(pair, body) == "copied"
    assert resumed.call_count == 2


def test_an_endless_conflict_is_given_up_after_a_while(ending: Cancellation, pair: Mock) -> None:
    failed = Mock()
    body = Mock(side_effect=LockConflict(Reason.LOCK_CONFLICT, "deadlock"))
    with pytest.raises(LockConflict):
        CopyStep(Mock(), ending, failed, RETRY_SECONDS).retrying(pair, body)
    failed.assert_called()
    pair.recover.assert_not_called()


def test_a_stopping_run_does_not_retry(ending: Cancellation, pair: Mock) -> None:
    ending.cancel()
    body = Mock()
    with pytest.raises(Terminated):
        CopyStep(Mock(), ending, Mock()).retrying(pair, body)
    body.assert_not_called()


def test_a_try_that_took_long_is_repeated(ending: Cancellation, pair: Mock) -> None:
    """A server that is about to die, or a cut network, may delay a statement for longer than we retry."""
    outcomes = iter([ConnectionLost(Reason.CONNECTION_LOST, "died at last"), None])

    def body() -> str:
        outcome = next(outcomes)
        if outcome is not None:
            time.sleep(2 * RETRY_SECONDS)
            raise outcome
        return "copied"

    assert CopyStep(Mock(), ending, Mock(), RETRY_SECONDS).retrying(pair, body) == "copied"


def test_a_failed_chunk_is_reported_before_each_repetition_but_not_for_a_pause(
    ending: Cancellation, pair: Mock
) -> None:
    outcomes = iter(
        [Interrupted(Reason.PAUSED, "killed by the pause"), LockConflict(Reason.LOCK_CONFLICT, "deadlock"), None]
    )

    copied = CopyResult(1, 10, 1, 0, 0, 0.1, 0.1)

    def copy(_table: object, _selector: object) -> CopyResult:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return copied

    pair.copier.return_value.copy = copy
    troubled = Mock()
    assert CopyStep(Mock(), ending, Mock(), RETRY_SECONDS).copy(pair, Mock(), Mock(), troubled) is copied
    troubled.assert_called_once_with()
