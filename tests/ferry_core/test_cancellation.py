"""A Cancellation ends a wait, says why, and may have a deadline."""

import time

import pytest

from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConnectionLost, Interrupted, RetriableError, Terminated
from ferry_core.reasons import Reason
from ferry_core.retries import Retries

LATE = RetriableError(Reason.VERIFICATION_DEADLINE, "too late")


def test_the_first_reason_counts() -> None:
    cancelled = Cancellation()
    cancelled.check()
    cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "left"))
    cancelled.cancel(LATE)
    with pytest.raises(Interrupted, match="left"):
        cancelled.check()


def test_without_a_reason_the_run_is_stopping() -> None:
    cancelled = Cancellation()
    cancelled.cancel()
    with pytest.raises(Terminated):
        cancelled.check()


def test_a_deadline_ends_waits_and_steps() -> None:
    began = time.monotonic()
    cancelled = Cancellation(began + 0.2, LATE)
    assert not cancelled.is_set()
    assert cancelled.wait(60)
    assert time.monotonic() - began < 30
    with pytest.raises(RetriableError, match="too late"):
        Retries(60, cancelled)(lambda: None)


def test_a_step_is_not_tried_again_once_it_is_cancelled() -> None:
    cancelled, tries = Cancellation(), 0

    def step() -> None:
        nonlocal tries
        tries += 1
        cancelled.cancel()
        raise ConnectionLost(Reason.CONNECTION_LOST, "gone")

    with pytest.raises(Terminated):
        Retries(60, cancelled)(step)
    assert tries == 1
