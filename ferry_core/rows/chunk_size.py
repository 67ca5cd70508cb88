"""How many rows the next chunk of a table should have: so many that it takes the wanted time and bytes. Pure.

Called by ``iterator``, one ``ChunkSizer`` a table. Sizes grow at most twofold a chunk and shrink at once.
"""

from dataclasses import dataclass
from typing import Protocol, Self

SMALLEST = 1
LEAST_BY_TIME = 100
"""A chunk has statements of its own. With 10 ms on a busy machine chunks came to 5 rows: 31,891 rows took 61 s."""
LARGEST = 500_000
MOST_BYTES = 16 << 20
"""Half of what a copier takes at once, so that rows that grow a little need no split."""
FIRST = 2_000
"""Rows of a table's first chunk at most: nothing is known of its rows but an estimate."""


class Pace(Protocol):
    """The part of the spec that says how large a chunk should be."""

    @property
    def chunk_target_duration(self) -> float: ...
    @property
    def chunk_target_bytes(self) -> int: ...


@dataclass
class ChunkTarget:
    """What a chunk should take at most; may be changed while chunks are made."""

    seconds: float
    bytes: int
    rows: int = LARGEST  # less while a cap of rows a second would make a large chunk come in gusts

    @classmethod
    def of(cls, pace: Pace) -> Self:
        return cls(pace.chunk_target_duration, pace.chunk_target_bytes)


class ChunkSizer:
    """Not thread-safe: its table's walk owns it."""

    def __init__(self, target: ChunkTarget, average_row_bytes: int) -> None:
        """``average_row_bytes`` is the server's estimate; 0 when it has none."""
        self._target = target
        self._rows = max(SMALLEST, min(FIRST, self._bytes // max(average_row_bytes, 64)))

    @property
    def rows(self) -> int:
        """Rows of the next chunk."""
        return min(self._rows, self._target.rows)

    @property
    def _bytes(self) -> int:
        return min(self._target.bytes, MOST_BYTES)

    def learn(self, rows_walked: int, rows_bytes: int, seconds: float) -> None:
        """A chunk over ``rows_walked`` rows of the table sent so many bytes in that time."""
        if rows_walked < self._rows // 4:
            return  # the last rows of a table, or half a chunk: too small to tell
        by_time = max(LEAST_BY_TIME, rows_walked * self._target.seconds / max(seconds, 1e-4))
        by_bytes = rows_walked * self._bytes / max(rows_bytes, 1)
        wanted = min(by_time, by_bytes, self._rows * 2)
        self._rows = int(max(SMALLEST, min(wanted, LARGEST)))

    def shrink(self) -> None:
        """A chunk was refused or failed: half as many from now on."""
        self._rows = max(SMALLEST, self._rows // 2)
