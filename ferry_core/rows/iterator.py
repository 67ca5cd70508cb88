"""ChunkSource, the DataIterator: hands out chunks of all tables to copy workers, the least-progressed table first.

A chunk is a key range of one table. Per table there is a *frontier* (everything up to it was handed out), the
*unfinished* ranges (handed out, not yet on the target) and *walked* (nothing lies behind the frontier): plain data that
a checkpoint stores and a resume gives back. Called by the workers and by the coordinator, from any thread.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ferry_core.errors import DataError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.rows.bounds import midpoint, next_bound
from ferry_core.rows.chunk_size import LARGEST, ChunkSizer, ChunkTarget
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import KeyLiterals, KeyRange, Table

__all__ = ["Chunk", "ChunkSource", "Frontier", "next_bound"]

PlainBound = list[str] | None
"""Key literals; None is unbounded."""


class Pace(Protocol):
    """The part of the spec that says how large a chunk should be."""

    @property
    def chunk_target_duration(self) -> float: ...
    @property
    def chunk_target_bytes(self) -> int: ...


class StoredFrontier(Protocol):
    """What an earlier run's ``state`` gave, as its checkpoint kept it."""

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
    """A range handed out. Compared by identity: the same range may be handed out again."""

    table: Table
    range: KeyRange
    rows: int  # as planned; the range may hold fewer
    single: bool = False  # held at most one row when it was to be split


@dataclass
class _Walk:
    table: Table
    sizer: ChunkSizer
    frontier: KeyLiterals | None = None
    walked: bool = False
    busy: bool = False  # a worker is asking the source for this table's next bound
    rows_handed: int = 0
    rows_copied: int = 0
    bytes_copied: int = 0
    redo: list[Chunk] = field(default_factory=list)
    out: list[Chunk] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.walked and not self.redo and not self.out

    @property
    def progress(self) -> float:
        return self.rows_handed / max(self.table.rows_estimated, self.rows_handed, 1)


class ChunkSource:
    """Thread-safe. Asks the source for bounds outside its lock, one asker a table."""

    def __init__(self, tables: Sequence[Table], pace: Pace, states: Mapping[str, StoredFrontier] | None = None) -> None:
        """``states``: by table id. Ranges unfinished in them are handed out first."""
        self.tables = tuple(tables)
        self._changed = threading.Condition()
        self._target = ChunkTarget(pace.chunk_target_duration, pace.chunk_target_bytes)
        self._walks = {table: self._walk(table, (states or {}).get(table.id)) for table in tables}

    def pace(self, pace: Pace, rows: int | None) -> None:
        """Follow another target from the next chunk on; ``rows``: no chunk larger than this."""
        self._target.seconds, self._target.bytes = pace.chunk_target_duration, pace.chunk_target_bytes
        self._target.rows = LARGEST if rows is None else rows

    def next_chunk(self, session: Session, allowed: Callable[[Table], bool] = lambda _: True) -> Chunk | None:
        """The next chunk of the least-progressed table that ``allowed`` lets through; None when there is none now.

        Waits while other workers are finding out whether allowed tables have one.
        """
        while True:
            with self._changed:
                ready = [
                    walk for walk in self._walks.values() if (walk.redo or not walk.walked) and allowed(walk.table)
                ]
                if not ready:
                    return None
                free = [walk for walk in ready if walk.redo or not walk.busy]
                if not free:
                    self._changed.wait(timeout=1)
                    continue
                walk = min(free, key=lambda walk: walk.progress)
                if walk.redo:
                    return _hand_out(walk, walk.redo.pop())
                walk.busy = True
                lo, rows = walk.frontier, walk.sizer.rows
            try:
                hi = next_bound(session, walk.table, lo, rows)
            except BaseException:
                self._free(walk)
                raise
            with self._changed:
                walk.frontier, walk.walked = (hi if hi is not None else lo), hi is None
                walk.rows_handed += rows
                walk.busy = False
                self._changed.notify_all()
                return _hand_out(walk, Chunk(walk.table, KeyRange(lo, hi), rows))

    def finished(self, chunk: Chunk, result: CopyResult) -> None:
        """The chunk's rows are committed on the target."""
        with self._changed:
            walk = self._walks[chunk.table]
            walk.out.remove(chunk)
            walk.rows_copied += result.rows_sent
            walk.bytes_copied += result.bytes_sent
            walk.sizer.learn(chunk.rows, result.bytes_sent, result.read_seconds + result.write_seconds)
            self._changed.notify_all()

    def returned(self, chunk: Chunk) -> None:
        """The chunk was not copied: hand it out again. One that is not out (finished, split) is left alone."""
        with self._changed:
            walk = self._walks[chunk.table]
            if chunk not in walk.out:
                return
            walk.out.remove(chunk)
            walk.redo.append(chunk)
            self._changed.notify_all()

    def troubled(self, chunk: Chunk) -> None:
        """The chunk met a deadlock, a lock wait, a lost connection: the table's next ones are smaller at once."""
        with self._changed:
            self._walks[chunk.table].sizer.shrink()

    def split(self, chunk: Chunk, session: Session) -> None:
        """The chunk was too large: hand it out again in two halves. DataError when one row alone is too large."""
        middle = midpoint(session, chunk.table, chunk.range)
        with self._changed:
            walk = self._walks[chunk.table]
            if middle is None and chunk.single:
                raise _too_large(chunk)
            walk.out.remove(chunk)
            walk.sizer.shrink()
            if middle is None:
                # Rows may have gone since: once more as it is.
                walk.redo.append(Chunk(chunk.table, chunk.range, 1, single=True))
            else:
                rows = max(1, chunk.rows // 2)
                walk.redo.append(Chunk(chunk.table, KeyRange(middle, chunk.range.hi), rows))
                walk.redo.append(Chunk(chunk.table, KeyRange(chunk.range.lo, middle), rows))
            self._changed.notify_all()

    def state(self, table: Table) -> Frontier:
        """The table's progress now; what is out or to be redone counts as unfinished."""
        with self._changed:
            walk = self._walks[table]
            ranges = [chunk.range for chunk in (*walk.out, *walk.redo)]
            return Frontier(
                frontier=_plain(walk.frontier),
                unfinished=[(_plain(each.lo), _plain(each.hi)) for each in ranges],
                walked=walk.walked,
                rows_copied=walk.rows_copied,
                bytes_copied=walk.bytes_copied,
            )

    def done(self, table: Table) -> bool:
        """Whether every row of the table was copied."""
        with self._changed:
            return self._walks[table].done

    @property
    def all_done(self) -> bool:
        """The same of all tables."""
        with self._changed:
            return all(walk.done for walk in self._walks.values())

    def _walk(self, table: Table, state: StoredFrontier | None) -> _Walk:
        walk = _Walk(table, ChunkSizer(self._target, table.average_row_bytes))
        if state is not None:
            walk.frontier, walk.walked = _key(state.frontier), state.walked
            walk.rows_copied, walk.bytes_copied = state.rows_copied, state.bytes_copied
            walk.rows_handed = state.rows_copied
            walk.redo = [Chunk(table, KeyRange(_key(lo), _key(hi)), walk.sizer.rows) for lo, hi in state.unfinished]
        return walk

    def _free(self, walk: _Walk) -> None:
        with self._changed:
            walk.busy = False
            self._changed.notify_all()


def _too_large(chunk: Chunk) -> DataError:
    behind = f"behind key ({', '.join(chunk.range.lo)})" if chunk.range.lo else "at the start"
    return DataError(Reason.ROW_TOO_LARGE, f"a row of {chunk.table.id} {behind} does not fit max_allowed_packet")


def _hand_out(walk: _Walk, chunk: Chunk) -> Chunk:
    walk.out.append(chunk)
    return chunk


def _plain(key: KeyLiterals | None) -> PlainBound:
    return None if key is None else list(key)


def _key(plain: Sequence[str] | None) -> KeyLiterals | None:
    return None if plain is None else tuple(plain)
