"""What one copying thread does: one copy step, repeated until it has committed.

Used by the chunk workers and by the flusher's batches. A step's window (R3) is open from before its source read until
it has committed or is proven never to commit: so a lost target connection is killed and proven ended before the retry.
"""

from collections.abc import Callable
from typing import TypeVar

from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConnectionLost, FerryError, Interrupted, LockConflict
from ferry_core.retries import Retries, waits_for_source
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import Selector, Table
from ferry_core.workers.patience import RETRY_SECONDS
from ferry_core.workers.row_locks import RowLocks
from ferry_core.workers.sessions import CopySessions

Result = TypeVar("Result")

MAX_INTERRUPTIONS = 50
"""A pause interrupts a step once. A step that is interrupted this often is being killed by someone else."""


class CopyStep:
    """Runs one step until it has committed. Shared by all workers; owns no session."""

    def __init__(
        self,
        wait_while_paused: Callable[[], object],
        ending: Cancellation,
        failed: Callable[[FerryError], None],
        retry_seconds: float = RETRY_SECONDS,
        row_locks: RowLocks | None = None,
    ) -> None:
        """``failed`` is called with every retried error, for metrics. ``row_locks`` hears of waits for the source."""
        self._wait_while_paused = wait_while_paused
        self._failed = failed
        self._retries = Retries(retry_seconds, ending)
        self._row_locks = row_locks

    def copy(
        self, pair: CopySessions, table: Table, selector: Selector, troubled: Callable[[], object] = bool
    ) -> CopyResult:
        """Copy one selection until it has committed. The errors are those of ``retrying``.

        ``troubled`` is called before each repetition that was not caused by a pause or a stop.
        """

        def body() -> CopyResult:
            copier = pair.copier(table)
            pair.busy = True
            try:
                return copier.copy(table, selector)
            finally:
                pair.busy = False

        return self.retrying(pair, body, troubled)

    def retrying(self, pair: CopySessions, body: Callable[[], Result], troubled: Callable[[], object] = bool) -> Result:
        """Run ``body``; repeat it after retriable errors, with new sessions after lost ones, never during a pause.

        Raises TooLarge (ask for less), Terminated, Fenced, a TerminalError, or the last RetriableError when time is up.
        """

        def failed(error: FerryError) -> None:
            self._failed(error)
            troubled()
            if self._row_locks is not None:
                self._row_locks.met(error)
            self._recover(pair, error)

        for _ in range(MAX_INTERRUPTIONS):
            # Outside of the retries: a pause may last for days, and its end finds connections that have timed out.
            self._wait_while_paused()
            try:
                return self._retries(lambda: pair.step(body), failed, pair.clock)
            except Interrupted as error:
                self._failed(error)
                interrupted = error
            finally:
                if self._row_locks is not None:
                    self._row_locks.passed()
        raise interrupted

    def give_up(self, pair: CopySessions) -> None:
        """A step is not repeated although it has failed: prove that nothing of it can commit."""
        self._retries(pair.recover, self._failed)

    def _recover(self, pair: CopySessions, error: FerryError) -> None:
        """Keep the window open until the lost connection is proven ended, however long the server is unreachable."""
        if isinstance(error, LockConflict) and not waits_for_source(error):
            pair.conflicted = True
        if not isinstance(error, ConnectionLost):
            return

        self._retries(pair.recover, self._failed)
