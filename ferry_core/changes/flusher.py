"""Empties the change buffer onto the target, one generation of one table at a time (R3, R4). The flusher's thread.

A generation: hold the table's gate exclusively, take keys, make every event seen so far visible (R1), read and write
the keys in parallel batches, and forget them only when all batches have committed. The batches' retries happen inside
``copy_keys``; if one fails for good the generation is returned whole and the run stops.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.gate import TableGate
from ferry_core.consistency.pending import Generation
from ferry_core.tables.table import KeyLiterals, Table

BATCH_KEYS = 2000
"""Keys a statement reads and writes: 1000 to 3000 measured best, 20,000 fall back to a scan."""
GENERATION_KEYS = 40_000
"""Keys a generation takes at most, so that chunks of the table do not wait for seconds."""
COPYING_INTERVAL = 2.0
"""Seconds between generations of a table that is still being copied: each one makes its chunks wait."""
URGENT_FULLNESS = 0.5
IDLE_SECONDS = 0.25


@dataclass(frozen=True)
class FlushResult:
    """One generation, for metrics."""

    table: Table
    keys: int
    seconds: float


class Flusher:
    """``copy_keys(table, keys)`` copies one batch until it has committed, or raises; called from ``executor``."""

    def __init__(
        self,
        buffer: ChangeBuffer,
        gates: Mapping[Table, TableGate],
        executor: Executor,
        copy_keys: Callable[[Table, tuple[KeyLiterals, ...]], object],
        make_visible: Callable[[Generation], bool],
        copying: Callable[[Table], bool],
        cancelled: Callable[[], bool],
        flushed: Callable[[FlushResult], None],
    ) -> None:
        """``make_visible`` is R1's wait (False when cancelled); ``copying`` tells whether a table has unread chunks."""
        self._buffer = buffer
        self._gates = gates
        self._executor = executor
        self._copy_keys = copy_keys
        self._make_visible = make_visible
        self._copying = copying
        self._cancelled = cancelled
        self._flushed = flushed
        self._last: dict[Table, float] = {}

    def run(self) -> None:
        """Until cancelled. Raises what a batch raised for good."""
        while not self._cancelled():
            table = self._due()
            if table is None:
                # What waits already waits for its table's interval only.
                self._buffer.wait_for_work(IDLE_SECONDS, more=bool(self._buffer.waiting()))
            else:
                self.flush(table)

    def _due(self) -> Table | None:
        """The table that waits for longest, unless its chunks deserve a turn first; most keys first in a full buffer.

        Not always most keys: a table with few changes would wait for as long as a busy one has more.
        """
        waiting = [table for table, _ in self._buffer.waiting()]
        if self._buffer.fullness > URGENT_FULLNESS:
            return next(iter(waiting), None)
        now = time.monotonic()
        for table in sorted(waiting, key=lambda table: self._last.get(table, 0.0)):
            if now - self._last.get(table, 0.0) > COPYING_INTERVAL or not self._copying(table):
                return table
        return None

    def flush(self, table: Table) -> None:
        """One generation of one table."""
        started = time.monotonic()
        with self._gates[table].flush(self._cancelled) as entered:
            generation = self._buffer.take(table, GENERATION_KEYS) if entered else None
            if generation is None:
                return
            try:
                done = self._make_visible(generation) and self._write(generation)
            except BaseException:
                self._buffer.returned(generation)
                raise
            if not done:
                self._buffer.returned(generation)
                return
            self._buffer.committed(generation)
        self._last[table] = time.monotonic()
        self._flushed(FlushResult(table, len(generation.keys), time.monotonic() - started))

    def _write(self, generation: Generation) -> bool:
        """All batches of a generation; every one has ended, one way or the other, when this returns or raises."""
        literals = [generation.decode(key) for key in generation.keys]
        batches = [tuple(literals[start : start + BATCH_KEYS]) for start in range(0, len(literals), BATCH_KEYS)]
        futures: list[Future[object]] = [self._executor.submit(self._copy_keys, generation.table, b) for b in batches]
        wait(futures)
        for future in futures:
            future.result()
        return True
