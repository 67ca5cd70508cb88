"""A walk along one table's key, range by range: for the chunks that are copied, and for those that are compared.

Not thread-safe by itself: ``workers.chunk_source`` and ``verify.chunks`` guard theirs, and ask for the next bound
outside of their locks, one asker a walk (``busy``).
"""

from dataclasses import dataclass

from ferry_core.tables.table import KeyLiterals, KeyRange


@dataclass(eq=False)
class KeyWalk:
    """``at``: the end of the last range; ``ended``: nothing lies behind it."""

    at: KeyLiterals | None = None
    ended: bool = False
    busy: bool = False

    def step(self, hi: KeyLiterals | None) -> KeyRange:
        """The next range, up to ``hi``. None ends the walk: the last range has no upper bound."""
        lo = self.at
        self.at, self.ended, self.busy = (hi if hi is not None else lo), hi is None, False
        return KeyRange(lo, hi)
