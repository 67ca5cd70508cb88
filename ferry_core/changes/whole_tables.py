"""When tables that are copied whole are copied again. Each time all of their rows are. Called by ``workers.engine``.

A change costs a copy of the whole table. So a table that has been quiet for as long as its copy takes is copied at
once, and one that is written to all the time is copied a tenth of the time only. A table that is still changed at the
cutover is copied again under its lock. The gate ``too_slow`` therefore estimates how long that would take.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import TableMove
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.whole import estimated_seconds, no_longer_whole

QUIET_SECONDS = 1.0
PAUSE_TIMES = 10
"""A table that keeps changing waits this many times as long as its copy took."""
QUICK_SECONDS = 1.0
"""Tables whose copies take less are copied again together."""
RECENTLY_SECONDS = 60.0
"""A table that changed within that time is expected to be changed again when the lock comes."""


class _When(Enum):
    USUALLY = auto()
    NOT_NOW = auto()
    AT_ONCE = auto()


class DuringAttempt:
    """What one cutover attempt asks for. Its abandoned threads have no effect once it is over."""

    def __init__(self, wake: Callable[[], None]) -> None:
        """No copy begins now: it would still run under the lock, and have to be repeated there."""
        self._wake = wake
        self.when = _When.NOT_NOW

    def copy_at_once(self) -> None:
        """Writes are stopped and every change was read: copy all changed tables now."""
        if self.when is _When.NOT_NOW:
            self.when = _When.AT_ONCE
            self._wake()

    def over(self) -> None:
        self.when = _When.USUALLY


class WholeTables:
    """``due`` is called by the flusher's thread, the others by the coordinator's."""

    def __init__(self, buffer: ChangeBuffer) -> None:
        self._buffer = buffer
        self._attempt = DuringAttempt(buffer.wake)
        self._attempt.over()

    def attempt(self) -> DuringAttempt:
        """A cutover attempt begins; it lasts until its ``over``."""
        self._attempt = DuringAttempt(self._buffer.wake)
        return self._attempt

    def due(self, waiting: Iterable[TableMove]) -> list[TableMove]:
        """The tables to copy now, together; a slow one alone. Not before their first copy, which expects no rows."""
        changed = [move for move in waiting if move.table.whole and move.copied]
        if self._attempt.when is _When.AT_ONCE:
            return changed
        if self._attempt.when is _When.NOT_NOW:
            return []
        now = time.monotonic()
        ready = sorted((move for move in changed if _ready(move, now)), key=lambda move: move.flushed_at)
        return [move for move in ready if _copy_seconds(move) < QUICK_SECONDS] or ready[:1]

    def seconds_under_lock(self, moves: Iterable[TableMove]) -> list[tuple[TableMove, float]]:
        """Tables that will probably be copied under the lock, and how long each will take; the slowest first."""
        now = time.monotonic()
        found = []
        for move in moves:
            if not move.table.whole:
                continue
            under_way = bool(move.pending.in_flight)  # has to end before the copy that counts can begin
            if under_way or self._buffer.pending_keys(move) or now - move.pending.changed_at < RECENTLY_SECONDS:
                found.append((move, _copy_seconds(move) * (1 + under_way) + move.compare_seconds))
        return sorted(found, key=lambda each: -each[1])


def _ready(move: TableMove, now: float) -> bool:
    seconds = _copy_seconds(move)
    quiet = now - move.pending.changed_at >= max(QUIET_SECONDS, seconds)
    return quiet or now - move.flushed_at >= max(QUIET_SECONDS, PAUSE_TIMES * seconds)


def _copy_seconds(move: TableMove) -> float:
    """No copy has been timed since this start: an earlier run's may have taken hours."""
    return move.copy_seconds or estimated_seconds(move.table)


def too_slow(found: Sequence[tuple[TableMove, float]], deadline: float) -> str:
    """Why a cutover would exceed its deadline; empty if it would not. ``found`` comes from ``seconds_under_lock``."""
    total = sum(seconds for _, seconds in found)
    if total <= deadline:
        return ""
    slowest, _ = found[0]
    names, needs = (
        (f"table {slowest.id}", "needs")
        if len(found) == 1
        else (f"table {slowest.id} and {len(found) - 1} other tables that are copied whole", "need")
    )
    return (
        f"{names} {needs} about {total:.0f} s under the lock; cutover.deadline is {deadline:g} s: raise it, stop the "
        f"writers of {slowest.id} {RECENTLY_SECONDS:.0f} s before the cutover, or start over after this: "
        f"{no_longer_whole(slowest.table)}"
    )


def timed(move: TableMove, result: CopyResult) -> None:
    """What a copy of a whole table took decides when it is copied again."""
    if move.table.whole:
        move.copy_seconds, move.flushed_at = result.read_seconds + result.write_seconds, time.monotonic()
