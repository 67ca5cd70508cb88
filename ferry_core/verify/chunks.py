"""Hands the chunks of all tables to the workers of a pass. Called by ``final_pass``.

Bounds are found on the source, one table's by one worker at a time, while the others compare what was found before.
The last chunk of a table has no upper bound: rows on the target behind the source's last key belong to it.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ferry_core.tables.table import KeyLiterals, KeyRange, Table

CHUNK_BYTES = 32 << 20
SLOW_SECONDS = 2.0
FAST_SECONDS = 0.5

FindBound = Callable[[Table, KeyLiterals | None, int], KeyLiterals | None]


@dataclass(eq=False)
class Cursor:
    """How far one table's chunks have been handed out."""

    table: Table
    rows: int  # the size of the next chunk
    most_rows: int
    lo: KeyLiterals | None = None

    def took(self, seconds: float) -> None:
        """Adapt to how long a chunk took: a statement of minutes could not be cancelled or throttled."""
        if seconds > SLOW_SECONDS:
            self.rows = max(1, self.rows // 2)
        elif seconds < FAST_SECONDS:
            self.rows = min(self.most_rows, self.rows * 2)


class ChunkQueue:
    """Tables in turn, until each has handed out its last chunk."""

    def __init__(self, tables: Iterable[Table], rows_per_chunk: int) -> None:
        self._ready = deque(self._cursor(table, rows_per_chunk) for table in tables)
        self._walking = 0
        self._dropped: set[Table] = set()
        self._changed = threading.Condition()

    @staticmethod
    def _cursor(table: Table, rows_per_chunk: int) -> Cursor:
        fitting = CHUNK_BYTES // max(1, table.average_row_bytes)
        rows = max(1, min(rows_per_chunk, fitting))
        return Cursor(table, rows, rows)

    def next(self, find_bound: FindBound) -> tuple[Cursor, KeyRange] | None:
        """The next chunk, its upper bound found by ``find_bound`` in this thread; None when all are handed out."""
        with self._changed:
            while not self._ready and self._walking:
                self._changed.wait()
            if not self._ready:
                return None
            cursor = self._ready.popleft()
            self._walking += 1
        finished = False
        try:
            hi = find_bound(cursor.table, cursor.lo, cursor.rows)
            chunk = KeyRange(cursor.lo, hi)
            cursor.lo = hi
            finished = hi is None
        finally:
            with self._changed:
                self._walking -= 1
                if not finished and cursor.table not in self._dropped:
                    self._ready.append(cursor)
                self._changed.notify_all()
        return cursor, chunk

    def drop(self, table: Table) -> None:
        """Hand out no more chunks of this table."""
        with self._changed:
            self._dropped.add(table)
            self._ready = deque(cursor for cursor in self._ready if cursor.table is not table)
            self._changed.notify_all()
