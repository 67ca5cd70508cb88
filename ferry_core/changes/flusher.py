"""Empties the change buffer onto the target, one generation of a table at a time (R3, R4). The flusher's thread.

A generation: hold the table's gate exclusively, take keys, make every event seen so far visible (R1), read and write
the keys in parallel batches, and forget them only when all batches have committed. The batches' retries happen inside
``copy_keys``; if one fails for good the generation is returned whole and the run stops. Tables whose chunks are done
are flushed together: with hundreds of them, each with a few changes, one after the other would never catch up.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.pending import Generation
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.tables.table import KeyLiterals

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

    move: TableMove
    keys: int
    seconds: float


Taken = tuple[TableMove, Generation]


class Flusher:
    """``copy_keys(move, keys)`` copies one batch until it has committed, or raises; called from ``executor``.

    It returns whether it met a lock conflict on its way.
    """

    def __init__(
        self,
        buffer: ChangeBuffer,
        executor: Executor,
        copy_keys: Callable[[TableMove, tuple[KeyLiterals, ...]], bool],
        make_visible: Callable[[Generation], bool],
        cancelled: Callable[[], bool],
        flushed: Callable[[FlushResult], None],
    ) -> None:
        """``make_visible`` is R1's wait (False when cancelled)."""
        self._buffer = buffer
        self._executor = executor
        self._copy_keys = copy_keys
        self._make_visible = make_visible
        self._cancelled = cancelled
        self._flushed = flushed

    def run(self) -> None:
        """Until cancelled. Raises what a batch raised for good."""
        while not self._cancelled():
            moves = self._due()
            if not moves:
                # What waits already waits for its table's interval only.
                self._buffer.wait_for_work(IDLE_SECONDS, more=bool(self._buffer.waiting()))
            else:
                self.flush(*moves)

    def _due(self) -> list[TableMove]:
        """The table that waits for longest, unless its chunks deserve a turn first; most keys first in a full buffer.

        Not always most keys: a table with few changes would wait for as long as a busy one has more. With a table that
        has no chunks left come all others of that kind, those that wait for longest first.
        """
        waiting = [move for move, _ in self._buffer.waiting()]
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
        """One generation of each of these."""
        started = time.monotonic()
        with ExitStack() as gates:
            generations = self._take(gates, moves)
            try:
                done = all(self._make_visible(generation) for _, generation in generations) and self._write(generations)
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
            self._flushed(FlushResult(move, len(generation.keys), time.monotonic() - started))

    def _take(self, gates: ExitStack, moves: Sequence[TableMove]) -> list[Taken]:
        """Keys of as many of the moves as may be taken at once; their gates are held until ``gates`` ends."""
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
        """Whether its gate is waited for no longer: one that starts over holds it for as long as its rows take."""
        return self._cancelled() or move.state is MoveState.RESTARTING

    def _return(self, generations: Sequence[Taken]) -> None:
        for move, generation in generations:
            self._buffer.returned(move, generation)

    def _write(self, generations: Sequence[Taken]) -> bool:
        """All batches; every one has ended, one way or the other, when this returns or raises."""
        work = [(move, lane) for move, generation in generations for lane in self._lanes(move, generation)]
        futures: list[tuple[TableMove, Future[bool]]] = [
            (move, self._executor.submit(self._copy_lane, move, lane)) for move, lane in work
        ]
        wait([future for _, future in futures])
        for move, future in futures:
            if future.result():
                move.calm = CALM_GENERATIONS
        return True

    def _lanes(self, move: TableMove, generation: Generation) -> list[list[tuple[KeyLiterals, ...]]]:
        """The generation's batches: those of one lane are copied one after another, lanes beside each other."""
        literals = [generation.decode(key) for key in generation.keys]
        batches = [tuple(literals[start : start + BATCH_KEYS]) for start in range(0, len(literals), BATCH_KEYS)]
        if not move.calm:
            return [[batch] for batch in batches]
        move.calm -= 1
        return [batches]

    def _copy_lane(self, move: TableMove, batches: Sequence[tuple[KeyLiterals, ...]]) -> bool:
        conflicts = [self._copy_keys(move, batch) for batch in batches]
        return any(conflicts)


def _copying(move: TableMove) -> bool:
    """Whether it has chunks that a generation keeps waiting."""
    return move.state is MoveState.COPYING
