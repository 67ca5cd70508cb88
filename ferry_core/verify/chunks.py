"""Hands out the chunks of all tables to the workers of a pass. Used by ``final_pass``.

Bounds are found on the source, by one worker per table at a time, while the others compare earlier chunks. The last
chunk of a table has no upper bound, so it includes target rows after the source's last key.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ferry_core.moves.move import TableMove
from ferry_core.rows.walk import KeyWalk
from ferry_core.tables.table import KeyLiterals, KeyRange, Table

CHUNK_BYTES = 32 << 20
SLOW_SECONDS = 2.0
FAST_SECONDS = 0.5

FindBound = Callable[[Table, KeyLiterals | None, int], KeyLiterals | None]


@dataclass(eq=False)
class Cursor:
    """How far the chunks of one table have been handed out."""

    move: TableMove
    rows: int  # the size of the next chunk
    most_rows: int
    walk: KeyWalk = field(default_factory=KeyWalk)

    def took(self, seconds: float) -> None:
        """Adapt to the time of a chunk: a statement of minutes could be neither cancelled nor throttled."""
        if seconds > SLOW_SECONDS:
            self.rows = max(1, self.rows // 2)
        elif seconds < FAST_SECONDS:
            self.rows = min(self.most_rows, self.rows * 2)


class ChunkQueue:
    """Serves the tables in turn until each has handed out its last chunk."""

    def __init__(self, moves: Iterable[TableMove], rows_per_chunk: int) -> None:
        self._ready = deque(self._cursor(move, rows_per_chunk) for move in moves)
        self._walking = 0
        self._dropped: set[TableMove] = set()
        self._changed = threading.Condition()

    @staticmethod
    def _cursor(move: TableMove, rows_per_chunk: int) -> Cursor:
        fitting = CHUNK_BYTES // max(1, move.table.average_row_bytes)
        rows = max(1, min(rows_per_chunk, fitting))
        return Cursor(move, rows, rows)

    def next(self, find_bound: FindBound) -> tuple[Cursor, KeyRange] | None:
        """The next chunk. ``find_bound`` finds its upper bound in this thread. None when all are handed out."""
        with self._changed:
            while not self._ready and self._walking:
                self._changed.wait()
            if not self._ready:
                return None
            cursor = self._ready.popleft()
            self._walking += 1
        try:
            chunk = cursor.walk.step(find_bound(cursor.move.table, cursor.walk.at, cursor.rows))
        finally:
            with self._changed:
                self._walking -= 1
                if not cursor.walk.ended and cursor.move not in self._dropped:
                    self._ready.append(cursor)
                self._changed.notify_all()
        return cursor, chunk

    def drop(self, move: TableMove) -> None:
        """Hand out no more chunks of this table."""
        with self._changed:
            self._dropped.add(move)
            self._ready = deque(cursor for cursor in self._ready if cursor.move is not move)
            self._changed.notify_all()
