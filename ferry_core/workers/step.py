"""What one copying thread does: one copy step, repeated until it has committed.

Used by the chunk workers and by the flusher's batches. A step's window (R3) is open from before its source read until
it has committed or is proven never to: so a lost target connection is killed and proven ended before the retry.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential_jitter

from ferry_core.errors import (
    ConnectionLost,
    FerryError,
    Interrupted,
    LockConflict,
    RetriableError,
    ServerRestarted,
    Terminated,
    TooLarge,
)
from ferry_core.reasons import Reason
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import Selector, Table
from ferry_core.workers.patience import RETRY_SECONDS
from ferry_core.workers.sessions import SessionPair

log = logging.getLogger(__name__)

Result = TypeVar("Result")

MAX_INTERRUPTIONS = 50
"""A pause interrupts a step once; one that is killed this often meets somebody else's killer."""


class CopyStep:
    """Does one step until it is done. Shared by all workers; holds no session of its own."""

    def __init__(
        self,
        wait_while_paused: Callable[[], object],
        ending: threading.Event,
        failed: Callable[[FerryError], None],
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """``failed`` is told every retried error, for metrics and the status message."""
        self._wait_while_paused = wait_while_paused
        self._ending = ending
        self._failed = failed
        self._retry_seconds = retry_seconds

    def copy(
        self, pair: SessionPair, table: Table, selector: Selector, troubled: Callable[[], object] = bool
    ) -> CopyResult:
        """Copy one selection until it has committed; the errors are those of ``retrying``.

        ``troubled`` is called before each repetition that something else than a pause or a stop has caused.
        """

        def body() -> CopyResult:
            pair.busy = True
            try:
                return pair.copier(table).copy(table, selector)
            finally:
                pair.busy = False

        return self.retrying(pair, body, troubled)

    def retrying(self, pair: SessionPair, body: Callable[[], Result], troubled: Callable[[], object] = bool) -> Result:
        """``body``, again after passing errors, on fresh sessions after lost ones, never during a pause.

        Raises TooLarge (ask for less), Terminated, Fenced, a TerminalError, or the last RetriableError when time is up.
        """

        def once() -> Result:
            if self._ending.is_set():
                raise Terminated(Reason.STOPPING, "the run is stopping")
            return body()

        def recover(error: FerryError) -> None:
            troubled()
            self._recover(pair, error)

        for _ in range(MAX_INTERRUPTIONS):
            # Outside of the retries: a pause may last for days, and its end finds connections dead of old age.
            self._wait_while_paused()
            try:
                return self._policy(recover)(once)
            except Interrupted as error:
                self._failed(error)
                interrupted = error
        raise interrupted

    def _policy(self, recover: Callable[[FerryError], None]) -> Retrying:
        first: float | None = None

        def too_late(_: RetryCallState) -> bool:
            """Counted from the first failure: a try may have hung for longer than that before it failed."""
            nonlocal first
            now = time.monotonic()
            first = now if first is None else first
            return now - first >= self._retry_seconds

        def before_sleep(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            assert isinstance(error, FerryError)
            self._failed(error)
            log.log(logging.DEBUG if isinstance(error, LockConflict) else logging.WARNING, "retrying: %s", error)
            recover(error)

        return Retrying(
            retry=retry_if_exception(_worth_retrying),
            wait=wait_exponential_jitter(multiplier=0.05, max=5.0, jitter=0.1),
            stop=too_late,
            sleep=self._sleep,
            before_sleep=before_sleep,
            reraise=True,
        )

    def _recover(self, pair: SessionPair, error: FerryError) -> None:
        """Keep the window open until the lost connection is proven ended, however long the server is away."""
        if isinstance(error, LockConflict):
            pair.conflicted = True
        if not isinstance(error, ConnectionLost):
            return

        def once() -> None:
            if self._ending.is_set():
                raise Terminated(Reason.STOPPING, "the run is stopping")
            pair.recover()

        self._policy(lambda _: None)(once)

    def _sleep(self, seconds: float) -> None:
        self._ending.wait(seconds)


def _worth_retrying(error: BaseException) -> bool:
    return isinstance(error, RetriableError) and not isinstance(error, TooLarge | Interrupted | ServerRestarted)
