"""Progress of the chunks of one table: a walk along its key, chunks handed out, chunks on the target.

The state consists of a *frontier* (everything up to it was handed out), the *unfinished* ranges (handed out, not yet on
the target) and *walked* (nothing is left beyond the frontier): plain data that a checkpoint stores and a resume
restores. One per move. Not thread-safe by itself: ``workers.chunk_source`` guards it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.rows.chunk_size import ChunkSizer, ChunkTarget
from ferry_core.rows.copier import CopyResult
from ferry_core.rows.walk import KeyWalk
from ferry_core.tables.table import EVERY_ROW, KeyLiterals, KeyRange, Selector, Table

log = logging.getLogger(__name__)

PlainBound = list[str] | None
"""Key literals; None is unbounded."""


class StoredFrontier(Protocol):
    """The result of ``state`` of an earlier run, as stored in its checkpoint."""

    @property
    def frontier(self) -> PlainBound: ...
    @property
    def unfinished(self) -> Sequence[tuple[PlainBound, PlainBound]]: ...
    @property
    def walked(self) -> bool: ...
    @property
    def rows_copied(self) -> int: ...
    @property
    def bytes_copied(self) -> int: ...


class Copied(NamedTuple):
    """What is on the target; replaced as a whole, so that the report reads it without a lock."""

    rows: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class Frontier:
    """A table's progress as plain data."""

    frontier: PlainBound
    unfinished: list[tuple[PlainBound, PlainBound]]
    walked: bool
    rows_copied: int
    bytes_copied: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """A range that was handed out. Compared by identity, because the same range may be handed out again."""

    of: "TableChunks"
    range: KeyRange
    rows: int  # planned number; the range may hold fewer
    single: bool = False  # held at most one row when it was to be split

    @property
    def table(self) -> Table:
        return self.of.table

    @property
    def selector(self) -> Selector:
        """What is copied. Of a table without a key: rows of an earlier run's copy may have to be replaced."""
        return EVERY_ROW if self.table.whole and self.of.resumed else self.range


class TableChunks:
    """``state`` comes from an earlier run: its unfinished ranges are handed out first."""

    def __init__(self, table: Table, target: ChunkTarget, state: StoredFrontier | None = None) -> None:
        self.table = table
        self.resumed = False
        """Whether an earlier run has begun to copy the table."""
        self.walk = KeyWalk()
        self.redo: list[Chunk] = []
        self._sizer = ChunkSizer(target, table.average_row_bytes)
        self._rows_handed = 0
        self.copied = Copied()
        self._out: list[Chunk] = []
        if state is not None:
            self.walk = KeyWalk(_key(state.frontier), state.walked)
            self.copied = Copied(state.rows_copied, state.bytes_copied)
            self._rows_handed = state.rows_copied
            rows = self._sizer.rows
            self.redo = [Chunk(self, KeyRange(_key(lo), _key(hi)), rows) for lo, hi in state.unfinished]

    # -- what there is to hand out --------------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether every row of the table was copied."""
        return self.walk.ended and not self.redo and not self._out

    @property
    def begun(self) -> bool:
        """Whether anything was handed out."""
        return self.walk.ended or self.walk.at is not None

    @property
    def left(self) -> bool:
        """Whether there may be a chunk to hand out."""
        return bool(self.redo) or not self.walk.ended

    @property
    def progress(self) -> float:
        return self._rows_handed / max(self.table.rows_walked, self._rows_handed, 1)

    @property
    def step(self) -> tuple[KeyLiterals | None, int]:
        """Where the next chunk begins, and how many rows it should have."""
        return self.walk.at, self._sizer.rows

    def again(self) -> Chunk:
        """Hand out a chunk of ``redo``."""
        return self._handed(self.redo.pop())

    def further(self, rows: int, hi: KeyLiterals | None) -> Chunk:
        """Hand out the next chunk, whose end is now known. None: it is the last one."""
        self._rows_handed += rows
        return self._handed(Chunk(self, self.walk.step(hi), rows))

    def _handed(self, chunk: Chunk) -> Chunk:
        self._out.append(chunk)
        return chunk

    # -- what became of it ----------------------------------------------------------------------------------------

    def is_out(self, chunk: Chunk) -> bool:
        return chunk in self._out

    def finished(self, chunk: Chunk, result: CopyResult) -> None:
        """The chunk's rows are committed on the target."""
        self._out.remove(chunk)
        self.copied = Copied(self.copied.rows + result.rows_sent, self.copied.bytes + result.bytes_sent)
        self._sizer.learn(chunk.rows, result.bytes_sent, result.read_seconds + result.write_seconds)

    def returned(self, chunk: Chunk) -> None:
        """The chunk was not copied: it will be handed out again."""
        self._out.remove(chunk)
        self.redo.append(chunk)

    def troubled(self) -> None:
        """A chunk met a deadlock, a lock wait or a lost connection: make the next chunks smaller at once."""
        self._sizer.shrink()

    def split(self, chunk: Chunk, middle: KeyLiterals | None) -> None:
        """The chunk was too large: hand it out again in two halves. Raises DataError if a single row is too large."""
        if middle is None and chunk.single:
            raise _too_large(chunk)
        self._out.remove(chunk)
        self._sizer.shrink()
        if middle is None:
            # Rows may have been deleted since: try the same range once more.
            self.redo.append(Chunk(self, chunk.range, 1, single=True))
        else:
            rows = max(1, chunk.rows // 2)
            self.redo.append(Chunk(self, KeyRange(middle, chunk.range.hi), rows))
            self.redo.append(Chunk(self, KeyRange(chunk.range.lo, middle), rows))

    def state(self) -> Frontier:
        """The current progress. Chunks handed out or to be redone count as unfinished."""
        ranges = [chunk.range for chunk in (*self._out, *self.redo)]
        return Frontier(
            frontier=_plain(self.walk.at),
            unfinished=[(_plain(each.lo), _plain(each.hi)) for each in ranges],
            walked=self.walk.ended,
            rows_copied=self.copied.rows,
            bytes_copied=self.copied.bytes,
        )


def _too_large(chunk: Chunk) -> DataError:
    log.debug("the row of %s that does not fit comes behind the key %s", chunk.table.id, chunk.range.lo)
    return DataError(
        Reason.ROW_TOO_LARGE,
        f"a row of {chunk.table.id} does not fit max_allowed_packet (the key before it is in the log at level debug)",
    )


def _plain(key: KeyLiterals | None) -> PlainBound:
    return None if key is None else list(key)


def _key(plain: Sequence[str] | None) -> KeyLiterals | None:
    return None if plain is None else tuple(plain)
