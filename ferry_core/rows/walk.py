"""A walk along one table's key, range by range, for chunks to copy and chunks to compare.

Not thread-safe by itself. ``workers.chunk_source`` and ``verify.chunks`` guard their walks, and find the next bound
outside of their locks, with one thread at a time per walk (``busy``).
"""

from dataclasses import dataclass

from ferry_core.tables.table import KeyLiterals, KeyRange


@dataclass(eq=False)
class KeyWalk:
    """``at``: the end of the last range. ``ended``: nothing is left."""

    at: KeyLiterals | None = None
    ended: bool = False
    busy: bool = False

    def step(self, hi: KeyLiterals | None) -> KeyRange:
        """The next range, up to ``hi``. None ends the walk: the last range has no upper bound."""
        lo = self.at
        self.at, self.ended, self.busy = (hi if hi is not None else lo), hi is None, False
        return KeyRange(lo, hi)
