"""How many rows the next chunk of a table should have, to take the wanted time and bytes. No I/O.

Used by ``iterator``, one ``ChunkSizer`` per table. Sizes at most double from chunk to chunk, and shrink at once.
"""

from dataclasses import dataclass
from typing import Protocol, Self

SMALLEST = 1
LEAST_BY_TIME = 100
"""Minimum rows, because each chunk has a fixed cost.

With 10 ms on a busy machine chunks shrank to 5 rows: 31,891 rows took 61 s.
"""
LARGEST = 500_000
MOST_BYTES = 16 << 20
"""Half of the bytes that a copier takes at once, so that slightly larger rows do not force a split."""
FIRST = 2_000
"""Maximum rows of a table's first chunk, when only an estimate of its rows is known."""


class Pace(Protocol):
    """The part of the spec that sets the size of chunks."""

    @property
    def chunk_target_duration(self) -> float: ...
    @property
    def chunk_target_bytes(self) -> int: ...


@dataclass
class ChunkTarget:
    """Limits for one chunk. They may change while chunks are made."""

    seconds: float
    bytes: int
    rows: int = LARGEST  # less when a rows-per-second limit would make large chunks arrive in bursts

    @classmethod
    def of(cls, pace: Pace) -> Self:
        return cls(pace.chunk_target_duration, pace.chunk_target_bytes)


class ChunkSizer:
    """Not thread-safe: it belongs to the walk of one table."""

    def __init__(self, target: ChunkTarget, average_row_bytes: int) -> None:
        """``average_row_bytes`` is the server's estimate; 0 if it has none."""
        self._target = target
        self._rows = max(SMALLEST, min(FIRST, self._bytes // max(average_row_bytes, 64)))

    @property
    def rows(self) -> int:
        """Number of rows for the next chunk."""
        return min(self._rows, self._target.rows)

    @property
    def _bytes(self) -> int:
        return min(self._target.bytes, MOST_BYTES)

    def learn(self, rows_walked: int, rows_bytes: int, seconds: float) -> None:
        """Record a chunk: rows walked in the table, bytes sent, and the time."""
        if rows_walked < self._rows // 4:
            return  # the last rows of a table, or half a chunk: too small to learn from
        by_time = max(LEAST_BY_TIME, rows_walked * self._target.seconds / max(seconds, 1e-4))
        by_bytes = rows_walked * self._bytes / max(rows_bytes, 1)
        wanted = min(by_time, by_bytes, self._rows * 2)
        self._rows = int(max(SMALLEST, min(wanted, LARGEST)))

    def shrink(self) -> None:
        """A chunk was refused or failed: halve the size from now on."""
        self._rows = max(SMALLEST, self._rows // 2)
