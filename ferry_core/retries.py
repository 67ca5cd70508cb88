"""The one retry policy for steps that move or compare rows. Used by ``workers`` and ``verify``."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from ferry_core.cancellation import Cancellation
from ferry_core.errors import (
    FerryError,
    Interrupted,
    KeyUnusable,
    LockConflict,
    RetriableError,
    ServerRestarted,
    ServerRole,
    TooLarge,
)

log = logging.getLogger(__name__)

T = TypeVar("T")


def _nobody(_error: FerryError) -> None:
    """Default callback: does nothing."""


@dataclass(frozen=True)
class Retries:
    """Retry for ``seconds`` of ``clock`` after the first failure, with growing waits, until ``cancelled``.

    Time in which a transaction of an application on the source holds what is read does not count.
    """

    seconds: float
    cancelled: Cancellation

    def __call__(
        self,
        body: Callable[[], T],
        failed: Callable[[FerryError], object] = _nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> T:
        """Run ``body`` and repeat it after retriable errors. ``failed`` is called with each error before the wait."""
        first: float | None = None

        def once() -> T:
            self.cancelled.check()
            return body()

        def too_late(state: RetryCallState) -> bool:
            """Counted from the first failure, because a try may hang for longer than that before it fails."""
            nonlocal first
            if state.outcome is not None and waits_for_source(state.outcome.exception()):
                first = None
                return False
            now = clock()
            first = now if first is None else first
            return now - first >= self.seconds

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            assert isinstance(error, FerryError)
            log.log(logging.DEBUG if isinstance(error, LockConflict) else logging.WARNING, "retrying: %s", error)
            failed(error)

        def pause(seconds: float) -> None:
            self.cancelled.wait(seconds)

        policy = Retrying(
            retry=retry_if_exception(_may_pass),
            wait=wait_exponential_jitter(multiplier=0.05, max=5.0, jitter=0.1),
            stop=too_late,
            sleep=pause,
            before_sleep=before_sleep,
            reraise=True,
        )
        return policy(once)


def waits_for_source(error: BaseException | None) -> bool:
    """Whether somebody else's lock on the source ended the statement. An idle transaction may hold it for hours."""
    return isinstance(error, LockConflict) and error.server is ServerRole.SOURCE


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, RetriableError) and not isinstance(
        error, TooLarge | Interrupted | KeyUnusable | ServerRestarted
    )
