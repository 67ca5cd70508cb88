"""Collects the run's state from the parts that own it and saves it, at most once a second. Coordinator's thread."""

import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Protocol

from ferry_core.api.report import Stage
from ferry_core.binlog.last_read import LastRead, further
from ferry_core.binlog.sink import StreamMark
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.checkpoint.marks import TargetMarks
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import PrimaryState, RunState, TableState
from ferry_core.checkpoint.store import CheckpointStore
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility, furthest_place
from ferry_core.errors import FerryError, KeyUnusable, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import parse_position
from ferry_core.mysql.session import Session
from ferry_core.rows.chunk_size import Pace
from ferry_core.rows.chunks import Frontier
from ferry_core.run.setup import RunContext
from ferry_core.schema.significant import digest
from ferry_core.tables.nullable import stored
from ferry_core.tables.table import Table
from ferry_core.verify.difference import RowsKept
from ferry_core.workers.chunk_source import ChunkSource

log = logging.getLogger(__name__)

INTERVAL_SECONDS = 1.0


def set_position(state: RunState, visibility: Visibility, source: Session) -> None:
    """Set where the stream begins, if the state has no position.

    An empty position is one too: before any transaction.
    """
    if state.position is None:
        position = visibility.start(source).position
        state.position = str(position)
        state.last_read = str(furthest_place(source, by_file=isinstance(position, FilePosition)))


def marks_of(context: RunContext, fence: Fence) -> TargetMarks | None:
    """Marks for a state that is not stored with the rows."""
    if not isinstance(context.store, SqliteStore):
        return None
    before, state_of = (context.marks, context.state.run) if context.state and context.begun else ({}, None)
    return TargetMarks(context.connections.target, fence, context.uid, uuid.uuid4().hex, before, state_of)


def stored_mark(state: RunState, flavor: Flavor, read: LastRead | None = None) -> StreamMark:
    """The mark to resume from. ``read`` is how far this process has already read, beyond the checkpoint."""
    assert state.position is not None
    last_read = None if state.last_read is None else LastRead.parse(state.last_read)
    if read is not None:
        last_read = further(last_read, read)
    return StreamMark(0, parse_position(flavor, state.position), last_read=last_read)


@dataclass(frozen=True)
class Stored:
    """Where the state is stored, and under which epoch. ``marks`` are for a store that is not on the target."""

    store: CheckpointStore
    epoch: int
    marks: TargetMarks | None = None


class Heard(Protocol):
    """What checkpoints read from the report, and report to it."""

    @property
    def json_changed(self) -> int:
        """Rows copied whose JSON changed when it was parsed again."""

    def checkpointed(self, ok: bool) -> None: ...

    def failed(self, error: FerryError) -> None: ...


class Checkpoints:
    """The coordinator may change ``state``; ``save`` adds what the threads know, always in the coordinator's thread."""

    def __init__(
        self,
        stored: Stored,
        state: RunState,
        chunks: ChunkSource,
        buffer: ChangeBuffer,
        report: Heard,
        sound: Callable[[], object] = bool,
        primary: Callable[[], PrimaryState | None] = lambda: None,
    ) -> None:
        """``sound`` raises if the state in memory may be wrong. ``primary`` was last seen so."""
        self.state = state
        self._store = stored.store
        self._epoch = stored.epoch
        self._marks = stored.marks
        self._chunks = chunks
        self._moves = chunks.moves
        self._buffer = buffer
        self._report = report
        self._marked: RunState | None = None
        self._sound = sound
        self._primary = primary
        self._last = 0.0
        self._without_key: set[str] = set()
        self._copied_again: set[str] = set()

    def learns(self, error: BaseException) -> bool:
        """What the error that ends a run changes in its state. Returns whether it does."""
        if isinstance(error, KeyUnusable):  # a table without a key, of which nothing is copied
            self._without_key.add(error.table)
        elif isinstance(error, RowsKept):  # reported now: the next start may copy the source's rows over them
            log.error("%s", error.message)
            self._report.failed(error)
            for move in self._moves:
                if move.table in error.reported and not move.unproven.whole:  # not if it was rebuilt meanwhile
                    move.unproven.rebuilt = move.unproven.restarted = False
        else:
            return False
        return True

    def copy_again(self, tables: Collection[str]) -> None:
        """From the next checkpoint on there is no record of these tables, and nothing of them is copied."""
        self._copied_again.update(tables)
        self.state.foreign_keys_added = False

    def save(self, started: Iterable[TableMove] = ()) -> None:
        """Save now. ``started`` moves get their record of a start (R2). Raises RetriableError or Fenced."""
        self._sound()
        for move in started:
            move.started, move.definition = True, digest(move.table)
        # Order: chunk marks may be older than the rows, and the position older than both, but never the other way
        # round.
        self.state.epoch = self._epoch
        mark = self._buffer.checkpoint_mark()
        self.state.position = str(mark.position)
        last_read = self._buffer.processed.last_read  # read last: rows on the target may come from events up to there
        self.state.last_read = str(last_read) if last_read is not None else None
        # After the position: it is behind a statement at which the stream let go of a table only if that shows here.
        self.state.tables = {move.id: self._state_of(move, mark) for move in self._moves}
        if any(move.let_go for move in self._moves):
            self.state.foreign_keys_added = False
        self.state.indexes_deferred = [move.id for move in self._moves if move.deferred]
        self.state.primary = self._primary()
        self.state.json_changed = self._report.json_changed  # counted before a chunk counts as done, so never too low
        self.state.stored_at = time.time()
        try:
            self._mark()
            self._store.save(self.state, self._epoch)
        except RetriableError:
            self._report.checkpointed(False)
            raise
        self._report.checkpointed(True)
        self._last = time.monotonic()

    def _state_of(self, move: TableMove, mark: StreamMark) -> TableState:
        known = self.state.tables.get(move.id)
        joins = known is not None and known.joins
        if move.id in self._copied_again or move.let_go:
            return TableState(rebuilt=move.unproven.rebuilt, restarted=move.unproven.restarted, joins=joins)
        key = "" if move.id in self._without_key else stored(move.table)
        now = _stored(move, self._progress(move), mark, key)
        now.joins = joins and not now.copied
        return now

    def _progress(self, move: TableMove) -> Frontier:
        """Of a table that is copied whole and has changed since: nothing is there. Asked after the position."""
        chunks = self._chunks.state(move)
        if move.id in self._without_key:
            return Frontier(None, [], walked=False, rows_copied=0, bytes_copied=0)
        if move.table.whole and self._buffer.pending_keys(move):
            return replace(chunks, walked=False, unfinished=[])
        return chunks

    def _mark(self) -> None:
        """Write the mark of the next state to the target, after the rows that it describes.

        After a cutover nothing is written there.
        """
        if self._marks is None or self.state.stage == Stage.COMPLETED.value:
            return
        self.state.run, self.state.number = self._marks.run, self.state.number + 1
        try:
            self._marks.write(self.state.number)
        except RetriableError:
            if self._marked is not None:  # requests by people are stored even if the target is unreachable
                requests = {name: getattr(self.state, name) for name in ("paused", "paused_over", "series")}
                self._store.save(self._marked.model_copy(update=requests), self._epoch)
            raise
        self._marked = self.state.model_copy(update={"tables": dict(self.state.tables)})

    def save_if_due(self) -> None:
        """Save if the last checkpoint is old enough. A store that is unreachable for a while does not stop the run."""
        if time.monotonic() - self._last >= INTERVAL_SECONDS:
            self.save_now_if_possible()

    def save_now_if_possible(self) -> bool:
        """Save without waiting for the interval; a failure is logged."""
        try:
            self.save()
        except RetriableError as error:
            self._last = time.monotonic()
            log.warning("checkpoint not written, continuing: %s", error)
            return False
        return True


def moves_of(
    state: RunState, tables: Iterable[Table], pace: Pace, flavor: Flavor, begins_at: StreamMark | None = None
) -> MoveSet:
    """The moves to resume with.

    ``begins_at``: position from which events count for moves that start over; None: the stream's start.
    """
    moves = MoveSet.of(tables, pace, state.tables)
    for move in moves:
        move.deferred = move.id in state.indexes_deferred
        known = state.tables.get(move.id)
        if known is None or not known.started:
            move.counts_from = begins_at
            continue
        move.started, move.definition = True, known.definition
        move.chunks.resumed = True
        move.unproven.rebuilt, move.unproven.restarted = known.rebuilt, known.restarted
        move.counts_from = counted_from(known, flavor)
    return moves


def counted_from(known: TableState, flavor: Flavor) -> StreamMark | None:
    """The mark after which the table's events count; None: all of the run's stream."""
    if known.counts_from is None:
        return None
    file, offset = known.counts_from_place or ("", 0)
    place = (len(file), file, offset) if file else None
    return StreamMark(0, parse_position(flavor, known.counts_from), place)


def _stored(move: TableMove, chunks: Frontier, mark: StreamMark, nullable_key: str) -> TableState:
    later = move.counts_from if move.counts_from is not None and not mark.contains(move.counts_from) else None
    return TableState(
        started=move.started,
        definition=move.definition,
        copied_whole=move.table.copied_whole,
        nullable_key=nullable_key,
        rebuilt=move.unproven.rebuilt,
        restarted=move.unproven.restarted,
        counts_from=str(later.position) if later else None,
        counts_from_place=later.place[1:] if later and later.place else None,
        **asdict(chunks),
    )
