"""DataIterator: hands out the chunks of all tables to copy workers, the least-progressed table first.

A chunk is a key range of one table. Per table there is a *frontier* (everything up to it was handed out), the
*unfinished* ranges (handed out, not yet finished) and *walked* (nothing lies behind the frontier): plain data that a
checkpoint stores and a resume gives back. Called by the workers and by the coordinator, from any thread.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from ferry_core.errors import DataError
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import midpoint, next_bound
from ferry_core.rows.chunk_size import ChunkSizer, ChunkTarget
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import KeyLiterals, KeyRange, Table


class WalkState(TypedDict):
    """A table's progress as plain data. Bounds are lists of key literals, None is unbounded."""

    frontier: list[str] | None
    unfinished: list[list[list[str] | None]]
    walked: bool


@dataclass(frozen=True, eq=False)
class Chunk:
    """A range handed out. Compared by identity: the same range may be handed out again."""

    table: Table
    range: KeyRange
    rows: int  # as planned; the range may hold fewer
    single: bool = False  # held at most one row when it was to be halved


@dataclass
class _Walk:
    table: Table
    sizer: ChunkSizer
    frontier: KeyLiterals | None = None
    walked: bool = False
    busy: bool = False  # a worker is asking the source for this table's next bound
    rows_handed: int = 0
    redo: list[Chunk] = field(default_factory=list)
    split: list[Chunk] = field(default_factory=list)  # to be halved before they are handed out again
    out: list[Chunk] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return self.walked and not (self.redo or self.split or self.out)

    @property
    def waiting(self) -> bool:
        """Whether there is a chunk to hand out."""
        return not self.walked or bool(self.redo or self.split)

    @property
    def progress(self) -> float:
        return self.rows_handed / max(self.table.rows_estimated, self.rows_handed, 1)


class DataIterator:
    """Thread-safe. Asks the source for bounds outside its lock, one asker a table."""

    def __init__(
        self, tables: Sequence[Table], target: ChunkTarget, states: Mapping[str, WalkState] | None = None
    ) -> None:
        """``states`` by table id is what ``state`` gave in an earlier run; ranges unfinished then come first."""
        self._changed = threading.Condition()
        self._target = target
        self._walks = {table: self._walk(table, (states or {}).get(table.id)) for table in tables}

    def next_chunk(self, session: Session, allowed: Callable[[Table], bool] = lambda _: True) -> Chunk | None:
        """The next chunk of the least-progressed table that ``allowed`` lets through; None when there is none now.

        Waits while another worker is finding out whether an allowed table has one.
        """
        while True:
            with self._changed:
                ready = [walk for walk in self._walks.values() if walk.waiting and allowed(walk.table)]
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
                halved = walk.split[-1] if walk.split else None
            try:
                chunk = self._halve(session, walk, halved) if halved else self._advance(session, walk)
            finally:
                with self._changed:
                    walk.busy = False
                    self._changed.notify_all()
            if chunk is not None:
                return chunk

    def finished(self, chunk: Chunk, result: CopyResult) -> None:
        """The chunk's rows are committed on the target."""
        with self._changed:
            walk = self._walks[chunk.table]
            walk.out.remove(chunk)
            walk.sizer.learn(chunk.rows, result.bytes_sent, result.read_seconds + result.write_seconds)
            self._changed.notify_all()

    def returned(self, chunk: Chunk, *, too_large: bool = False) -> None:
        """The chunk failed: hand it out again, in two halves if it was too large."""
        with self._changed:
            walk = self._walks[chunk.table]
            walk.out.remove(chunk)
            walk.sizer.shrink()
            (walk.split if too_large else walk.redo).append(chunk)
            self._changed.notify_all()

    def restart(self, table: Table) -> None:
        """Forget all progress of a table none of whose chunks is out."""
        with self._changed:
            if self._walks[table].out or self._walks[table].busy:
                raise AssertionError(f"{table.id} is being copied")
            self._walks[table] = self._walk(table, None)
            self._changed.notify_all()

    def state(self, table: Table) -> WalkState:
        """The table's progress now; what is out or to be redone counts as unfinished."""
        with self._changed:
            walk = self._walks[table]
            ranges = [chunk.range for chunk in (*walk.out, *walk.redo, *walk.split)]
            return WalkState(
                frontier=_plain(walk.frontier),
                unfinished=[[_plain(each.lo), _plain(each.hi)] for each in ranges],
                walked=walk.walked,
            )

    def done(self, table: Table) -> bool:
        """Whether every row of the table was copied."""
        with self._changed:
            return self._walks[table].done

    def all_done(self) -> bool:
        """The same of all tables."""
        with self._changed:
            return all(walk.done for walk in self._walks.values())

    def _walk(self, table: Table, state: WalkState | None) -> _Walk:
        walk = _Walk(table, ChunkSizer(self._target, table.average_row_bytes))
        if state is not None:
            walk.frontier, walk.walked = _key(state["frontier"]), state["walked"]
            walk.redo = [Chunk(table, KeyRange(_key(lo), _key(hi)), walk.sizer.rows) for lo, hi in state["unfinished"]]
        return walk

    def _advance(self, session: Session, walk: _Walk) -> Chunk | None:
        with self._changed:
            lo, rows, walked = walk.frontier, walk.sizer.rows, walk.walked
        if walked:
            return None
        hi = next_bound(session, walk.table, lo, rows)
        with self._changed:
            walk.frontier, walk.walked = (hi if hi is not None else lo), hi is None
            walk.rows_handed += rows
            return _hand_out(walk, Chunk(walk.table, KeyRange(lo, hi), rows))

    def _halve(self, session: Session, walk: _Walk, chunk: Chunk) -> Chunk | None:
        middle = midpoint(session, walk.table, chunk.range)
        with self._changed:
            walk.split.remove(chunk)
            if middle is None:
                if chunk.single:
                    walk.redo.append(chunk)
                    raise _too_large(chunk)
                # Rows may have gone since: once more as it is.
                return _hand_out(walk, Chunk(walk.table, chunk.range, 1, single=True))
            rows = max(1, chunk.rows // 2)
            walk.redo.append(Chunk(walk.table, KeyRange(middle, chunk.range.hi), rows))
            return _hand_out(walk, Chunk(walk.table, KeyRange(chunk.range.lo, middle), rows))


def _too_large(chunk: Chunk) -> DataError:
    behind = f"behind key ({', '.join(chunk.range.lo)})" if chunk.range.lo else "at the start"
    return DataError("RowTooLarge", f"a row of {chunk.table.id} {behind} does not fit max_allowed_packet")


def _hand_out(walk: _Walk, chunk: Chunk) -> Chunk:
    walk.out.append(chunk)
    return chunk


def _plain(key: KeyLiterals | None) -> list[str] | None:
    return None if key is None else list(key)


def _key(plain: Sequence[str] | None) -> KeyLiterals | None:
    return None if plain is None else tuple(plain)
