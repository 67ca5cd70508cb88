"""Writes the change buffer's keys to the target, one generation of a table at a time (R3, R4). Runs in the flusher's
thread.

One generation: enter the table's gate exclusively, take keys, wait until every event seen so far is visible (R1), read
and write the keys in parallel batches, and forget them only when all batches have committed. ``copy_keys`` retries a
batch by itself; if it fails for good, the whole generation is returned and the run stops. Tables without remaining
chunks are flushed together: hundreds of tables with a few changes each, flushed one after another, would never catch
up.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.pending import Generation
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.tables.table import KeyLiterals

if TYPE_CHECKING:
    from ferry_core.changes.derived_keys import DerivedKeys

BATCH_KEYS = 2000
"""Keys that one statement reads and writes: 1000 to 3000 measured best; 20,000 cause a table scan."""
GENERATION_KEYS = 40_000
"""Maximum number of keys taken at once, so that chunks of the table do not wait for seconds."""
TABLES_TOGETHER = 64
COPYING_INTERVAL = 2.0
"""Seconds between generations of a table that is still being copied, because each generation blocks its chunks."""
URGENT_FULLNESS = 0.5
CALM_GENERATIONS = 8
"""For how many generations a table's batches run one after another once some of them have deadlocked each other.

With a UNIQUE index they lock gaps of it. Measured with 80,000 keys on MySQL: values in random order 8,000 keys/s in
parallel with 50 deadlocks, 12,500 one after another with none; in key order 15,000 to 29,000 in parallel, 12,500 to
15,500 one after another.
"""
IDLE_SECONDS = 0.25


@dataclass(frozen=True)
class FlushResult:
    """One generation, for metrics."""

    move: TableMove
    keys: int
    seconds: float
    visible_seconds: float
    """Until the changes of its keys were visible to reads."""


Taken = tuple[TableMove, Generation]


class Flusher:
    """``copy_keys(move, keys)`` copies one batch and returns when it has committed, or raises. It runs in ``executor``.

    It returns whether it met a lock conflict.
    """

    def __init__(
        self,
        buffer: ChangeBuffer,
        executor: Executor,
        copy_keys: Callable[[TableMove, tuple[KeyLiterals, ...]], bool],
        make_visible: Callable[[Sequence["Taken"]], bool],
        cancelled: Callable[[], bool],
        flushed: Callable[[FlushResult], None],
    ) -> None:
        """``make_visible`` is the wait of R1 for all generations of a round (False when cancelled)."""
        self._buffer = buffer
        self._executor = executor
        self._copy_keys = copy_keys
        self._make_visible = make_visible
        self._cancelled = cancelled
        self._flushed = flushed
        self.due: Callable[[list[TableMove]], list[TableMove]] = self._by_keys
        """Which of the moves with waiting keys are flushed now, together."""
        self.hold: Callable[[], object] = bool
        """Returns when keys may be written: a throttle may hold them back."""
        self.derived: DerivedKeys | None = None
        """None: no row changes without an event of its own."""

    def run(self) -> None:
        """Run until cancelled. Raises what a batch raised for good."""
        while not self._cancelled():
            self.hold()
            waiting = [move for move, _ in self._buffer.waiting()]
            moves = self.due(waiting)
            if not moves:
                # Keys that wait already are delayed only by their table's interval.
                self._buffer.wait_for_work(IDLE_SECONDS, more=bool(waiting))
            else:
                self.flush(*moves)

    def _by_keys(self, waiting: list[TableMove]) -> list[TableMove]:
        """Moves of tables with a key to flush next: the one that has waited longest, unless its chunks should run
        first. In a full buffer: the one with most keys.

        Always choosing most keys would starve a table with few changes. If the chosen table has no chunks left, all
        other tables without chunks are flushed with it, in order of their waiting time.
        """
        waiting = [move for move in waiting if not (move.table.whole or move.held)]
        if self._buffer.fullness > URGENT_FULLNESS:
            return waiting[:1]
        now = time.monotonic()
        waiting.sort(key=lambda move: move.flushed_at)
        for move in waiting:
            if not _copying(move):
                return [other for other in waiting if not _copying(other)][:TABLES_TOGETHER]
            if now - move.flushed_at > COPYING_INTERVAL:
                return [move]
        return []

    def flush(self, *moves: TableMove) -> None:
        """Flush one generation of each of these moves."""
        started = time.monotonic()
        with ExitStack() as gates:
            generations = self._take(gates, moves)
            if not generations:
                return
            try:
                began = time.monotonic()
                done = self._make_visible(generations)
                visible = time.monotonic() - began
                done = done and self._write(generations)
            except BaseException:
                self._return(generations)
                raise
            if not done:
                self._return(generations)
                return
            for move, generation in generations:
                self._buffer.committed(move, generation)
        for move, generation in generations:
            move.flushed_at = time.monotonic()
            self._flushed(FlushResult(move, len(generation.keys), time.monotonic() - started, visible))

    def _take(self, gates: ExitStack, moves: Sequence[TableMove]) -> list[Taken]:
        """Take keys of as many of the moves as fit into one round. Their gates are held until ``gates`` closes."""
        taken: list[Taken] = []
        left = GENERATION_KEYS
        for move in moves:
            if left <= 0 or self._cancelled():
                break
            if not gates.enter_context(move.gate.flush(partial(self._given_up, move))):
                continue
            generation = self._buffer.take(move, left)
            if generation is not None:
                taken.append((move, generation))
                left -= len(generation.keys)
        return taken

    def _given_up(self, move: TableMove) -> bool:
        """Whether to stop waiting for its gate: a move that starts over holds the gate for as long as deleting its rows
        takes, one that gets an index perhaps for hours.
        """
        return self._cancelled() or move.held or move.state is MoveState.RESTARTING

    def _return(self, generations: Sequence[Taken]) -> None:
        for move, generation in generations:
            self._buffer.returned(move, generation)

    def _write(self, generations: Sequence[Taken]) -> bool:
        """First what references lead to: a key's new row may replace one of those rows."""
        for move, generation in generations:
            for page in self.derived.pages(move, generation) if self.derived is not None else ():
                self._write_keys([(move, page)])
        self._write_keys([(move, generation.literals()) for move, generation in generations])
        for move, generation in generations:
            if self.derived is not None:
                self.derived.refer(move, generation)
        return True

    def _write_keys(self, keys: Sequence[tuple[TableMove, list[KeyLiterals]]]) -> None:
        """Write all batches. When this returns or raises, every batch has ended."""
        work = [(move, lane) for move, literals in keys for lane in self._lanes(move, literals)]
        futures: list[tuple[TableMove, Future[bool]]] = [
            (move, self._executor.submit(self._copy_lane, move, lane)) for move, lane in work
        ]
        wait([future for _, future in futures])
        for move, future in futures:
            if future.result():
                move.calm = CALM_GENERATIONS

    def _lanes(self, move: TableMove, literals: list[KeyLiterals]) -> list[list[tuple[KeyLiterals, ...]]]:
        """Lanes of batches: the batches of one lane run one after another, lanes run in parallel.

        Keys may be equal in SQL only ('a' and 'A'). Without a UNIQUE index on the target two batches at once would both
        insert that row.
        """
        batches = [tuple(literals[start : start + BATCH_KEYS]) for start in range(0, len(literals), BATCH_KEYS)]
        if move.table.key.promised:
            return [batches]
        if not move.calm:
            return [[batch] for batch in batches]
        move.calm -= 1
        return [batches]

    def _copy_lane(self, move: TableMove, batches: Sequence[tuple[KeyLiterals, ...]]) -> bool:
        conflicts = [self._copy_keys(move, batch) for batch in batches]
        return any(conflicts)


def _copying(move: TableMove) -> bool:
    """Whether the table has chunks that a generation would block."""
    return move.state is MoveState.COPYING
