"""Empties the change buffer onto the target, one generation of a table at a time (R3, R4). The flusher's thread.

A generation: hold the table's gate exclusively, take keys, make every event seen so far visible (R1), read and write
the keys in parallel batches, and forget them only when all batches have committed. The batches' retries happen inside
``copy_keys``; if one fails for good the generation is returned whole and the run stops. Tables whose chunks are done
are flushed together: with hundreds of them, each with a few changes, one after the other would never catch up.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.gate import TableGate
from ferry_core.consistency.pending import Generation
from ferry_core.tables.table import KeyLiterals, Table

BATCH_KEYS = 2000
"""Keys a statement reads and writes: 1000 to 3000 measured best, 20,000 fall back to a scan."""
GENERATION_KEYS = 40_000
"""Keys that are taken at once at most, so that chunks of the table do not wait for seconds."""
TABLES_TOGETHER = 64
COPYING_INTERVAL = 2.0
"""Seconds between generations of a table that is still being copied: each one makes its chunks wait."""
URGENT_FULLNESS = 0.5
CALM_GENERATIONS = 8
"""How many generations of a table have their batches one after another once some of them deadlocked each other.

Under a UNIQUE index they lock gaps of it. Measured with 80,000 keys on MySQL: values in random order 8,000 keys/s in
parallel with 50 deadlocks, 12,500 in turn with none; in key order 15,000 to 29,000 in parallel, 12,500 to 15,500 in
turn.
"""
IDLE_SECONDS = 0.25


@dataclass(frozen=True)
class FlushResult:
    """One generation, for metrics."""

    table: Table
    keys: int
    seconds: float


class Flusher:
    """``copy_keys(table, keys)`` copies one batch until it has committed, or raises; called from ``executor``.

    It returns whether it met a lock conflict on its way.
    """

    def __init__(
        self,
        buffer: ChangeBuffer,
        gates: Mapping[Table, TableGate],
        executor: Executor,
        copy_keys: Callable[[Table, tuple[KeyLiterals, ...]], bool],
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
        self._in_turn: dict[Table, int] = {}  # generations for which a table's batches still go one by one

    def run(self) -> None:
        """Until cancelled. Raises what a batch raised for good."""
        while not self._cancelled():
            tables = self._due()
            if not tables:
                # What waits already waits for its table's interval only.
                self._buffer.wait_for_work(IDLE_SECONDS, more=bool(self._buffer.waiting()))
            else:
                self.flush(*tables)

    def _due(self) -> list[Table]:
        """The table that waits for longest, unless its chunks deserve a turn first; most keys first in a full buffer.

        Not always most keys: a table with few changes would wait for as long as a busy one has more. With a table that
        has no chunks left come all others of that kind, those that wait for longest first.
        """
        waiting = [table for table, _ in self._buffer.waiting()]
        if self._buffer.fullness > URGENT_FULLNESS:
            return waiting[:1]
        now = time.monotonic()
        waiting.sort(key=lambda table: self._last.get(table, 0.0))
        for table in waiting:
            if not self._copying(table):
                return [other for other in waiting if not self._copying(other)][:TABLES_TOGETHER]
            if now - self._last.get(table, 0.0) > COPYING_INTERVAL:
                return [table]
        return []

    def flush(self, *tables: Table) -> None:
        """One generation of each of these tables."""
        started = time.monotonic()
        with ExitStack() as gates:
            generations = self._take(gates, tables)
            try:
                done = all(self._make_visible(generation) for generation in generations) and self._write(generations)
            except BaseException:
                self._return(generations)
                raise
            if not done:
                self._return(generations)
                return
            for generation in generations:
                self._buffer.committed(generation)
        for generation in generations:
            self._last[generation.table] = time.monotonic()
            self._flushed(FlushResult(generation.table, len(generation.keys), time.monotonic() - started))

    def _take(self, gates: ExitStack, tables: Sequence[Table]) -> list[Generation]:
        """Keys of as many of the tables as may be taken at once; their gates are held until ``gates`` ends."""
        generations: list[Generation] = []
        left = GENERATION_KEYS
        for table in tables:
            if left <= 0 or not gates.enter_context(self._gates[table].flush(self._cancelled)):
                break
            generation = self._buffer.take(table, left)
            if generation is not None:
                generations.append(generation)
                left -= len(generation.keys)
        return generations

    def _return(self, generations: Sequence[Generation]) -> None:
        for generation in generations:
            self._buffer.returned(generation)

    def _write(self, generations: Sequence[Generation]) -> bool:
        """All batches; every one has ended, one way or the other, when this returns or raises."""
        work = [(generation.table, lane) for generation in generations for lane in self._lanes(generation)]
        futures: list[tuple[Table, Future[bool]]] = [
            (table, self._executor.submit(self._copy_lane, table, lane)) for table, lane in work
        ]
        wait([future for _, future in futures])
        for table, future in futures:
            if future.result():
                self._in_turn[table] = CALM_GENERATIONS
        return True

    def _lanes(self, generation: Generation) -> list[list[tuple[KeyLiterals, ...]]]:
        """The generation's batches: those of one lane are copied one after another, lanes beside each other."""
        literals = [generation.decode(key) for key in generation.keys]
        batches = [tuple(literals[start : start + BATCH_KEYS]) for start in range(0, len(literals), BATCH_KEYS)]
        calm = self._in_turn.get(generation.table, 0)
        if not calm:
            return [[batch] for batch in batches]
        self._in_turn[generation.table] = calm - 1
        return [batches]

    def _copy_lane(self, table: Table, batches: Sequence[tuple[KeyLiterals, ...]]) -> bool:
        conflicts = [self._copy_keys(table, batch) for batch in batches]
        return any(conflicts)
