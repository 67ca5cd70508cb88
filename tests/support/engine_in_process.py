"""The engine in this process, without its coordinator: threads that a test starts and stops one by one.

For tests that force an interleaving. A ``Stall`` stops a copy step between its source read and its target write, and
the test decides everything that the coordinator would (when to flush, when to copy, from which state).
"""

import itertools
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ferry_core.api.directive import Directive
from ferry_core.api.selection import Tables
from ferry_core.api.spec import Copy
from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.streamer import BinlogStreamer, Upstream
from ferry_core.changes.buffer import CAPACITY_BYTES, ChangeBuffer
from ferry_core.changes.flusher import Flusher, FlushResult
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.table_start import make_readable
from ferry_core.consistency.visibility import Visibility, visibility_of
from ferry_core.intent.intent import Intent
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Purpose, Session
from ferry_core.rows.chunks import Frontier, StoredFrontier
from ferry_core.rows.copier import CopyResult, RowCopier
from ferry_core.schema.cascades import unlogged_cascades
from ferry_core.schema.create import create_missing
from ferry_core.schema.unfollowed import copied_as_needed
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyLiterals, KeyRange, KeySet, Selector, Table
from ferry_core.throttle import Throttle
from ferry_core.workers.chunk_source import ChunkSource
from ferry_core.workers.connections import Connections
from ferry_core.workers.engine import Engine, Shared
from ferry_core.workers.events import EngineEvents
from ferry_core.workers.flow import Flow
from ferry_core.workers.source_sessions import SourceSessions, reading
from tests.support.compare import assert_equal_tables
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS, Background, wait_until

if TYPE_CHECKING:
    import pytest

    from ferry_core.errors import FerryError

_SERVER_ID = 0x70000000


def chunks_of(*bounds: str) -> Frontier:
    """A table's state in which exactly the ranges between these bounds remain to be copied, the last one first."""
    edges = [None, *([bound] for bound in bounds), None]
    return Frontier(None, list(itertools.pairwise(edges)), True, 0, 0)


def keys_of(selector: Selector) -> list[str]:
    """First key columns of a key set; empty for a range."""
    return [key[0] for key in selector.keys] if isinstance(selector, KeySet) else []


class Stall:
    """Stops the first copy step that ``chosen`` selects, after its source read and before its target write."""

    def __init__(self, chosen: Callable[[Table, Selector], bool]) -> None:
        self._chosen = chosen
        self._reached = threading.Event()
        self._released = threading.Event()
        self._once = threading.Lock()
        self.steps: list[Selector] = []  # every step that got this far, in order

    def pass_through(self, table: Table, selector: Selector) -> None:
        self.steps.append(selector)
        if self._chosen(table, selector) and self._once.acquire(blocking=False):
            self._reached.set()
            assert self._released.wait(2 * PATIENCE_SECONDS), "a stalled step was never released"

    def wait(self) -> None:
        assert self._reached.wait(PATIENCE_SECONDS), "no step came to the stall"

    def release(self) -> None:
        self._released.set()


@contextmanager
def stalled(monkeypatch: "pytest.MonkeyPatch", chosen: Callable[[Table, Selector], bool]) -> Iterator[Stall]:
    """Stall one step; it is released at the latest when the block ends."""
    stall = Stall(chosen)
    write = RowCopier._write

    def stalling(copier: RowCopier, statements: Any, selector: Selector, batch: Any) -> Any:
        stall.pass_through(statements.table, selector)
        return write(copier, statements, selector, batch)

    with monkeypatch.context() as patched:
        patched.setattr(RowCopier, "_write", stalling)
        try:
            yield stall
        finally:
            stall.release()


def any_chunk(_: Table, selector: Selector) -> bool:
    return isinstance(selector, KeyRange)


@dataclass(frozen=True)
class StartState:
    """From where a run starts: what a checkpoint says, or the beginning."""

    states: Mapping[str, StoredFrontier] | None = None
    counts_from: Mapping[str, StreamMark] | None = None
    start: Position | None = None
    uid: str | None = None


@dataclass(frozen=True)
class Limits:
    """Of the threads that copy, and of the buffer."""

    workers: int = 1
    buffer_bytes: int = CAPACITY_BYTES


class EngineInProcess:
    """One run. ``checkpoint`` returns what its successor starts from."""

    def __init__(
        self,
        pair: Pair,
        schema: str,
        state: StartState | None = None,
        limits: Limits | None = None,
        *,
        target: Callable[[], Endpoint] | None = None,
        visibility: Visibility | None = None,
        **selection: Any,
    ) -> None:
        state, limits = state or StartState(), limits or Limits()
        self.pair, self.schema, self.uid = pair, schema, state.uid or f"test-{uuid.uuid4()}"
        self.errors: list[FerryError] = []
        self.flushes: list[FlushResult] = []
        self.rows_copied = 0
        direct = pair.target.endpoint("target")
        self.connections = Connections(pair.source.endpoint, target or (lambda: direct))
        self.fence, _ = Fence.take(lambda: Session(direct, Purpose.TARGET), self.uid, "t/t", "s")
        self.fence._connect = self.connections.target
        with self.connections.source_control() as source, self.connections.target_control() as control:
            found = discover(source, Tables.model_validate({"include": [f"{schema}.*"], **selection}))
            self.tables = copied_as_needed(source, found)
            create_missing(source, control, self.tables, self.fence)
            self.visibility = visibility or visibility_of(source)
            self.start = self.visibility.start(source) if state.start is None else StreamMark(0, state.start)
            cascades = unlogged_cascades(source, self.tables)
        self.intent = Intent(Directive(generation=0, copy_=Copy(workers=limits.workers)))
        self.throttle = Throttle()
        self.moves = MoveSet.of(self.tables, self.intent.now.directive.copy_, state.states, state.counts_from)
        self.moves.follow_cascades(cascades)
        self.buffer = ChangeBuffer(self.start, None, limits.buffer_bytes)
        self.chunks = ChunkSource(self.moves)
        self.streamer = BinlogStreamer(
            Upstream(
                self.connections.source_control,
                self.connections.source_endpoint,
                pair.flavor,
                _SERVER_ID + self.fence.epoch,
            ),
            self.moves,
            self.buffer,
            self.start,
        )
        events = EngineEvents(self._chunk, lambda _table, _result: None, self.flushes.append, self.errors.append)
        # Tests stall steps, which keep their sessions meanwhile.
        rows = SourceSessions(partial(reading, self.connections.source, self.visibility), lambda: 16)
        self.engine = Engine(
            Flow.of(self.connections, self.visibility, self.fence, rows),
            Shared(self.moves, self.buffer, self.chunks, self.streamer),
            self.throttle,
            lambda: self.throttle.workers(self.intent.now.workers),
            events,
        )

    def _chunk(self, _move: TableMove, result: CopyResult) -> None:
        self.rows_copied += result.rows_sent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.engine.stop()

    @property
    def table(self) -> Table:
        """The only table."""
        (only,) = self.tables
        return only

    @property
    def move(self) -> TableMove:
        """The only move."""
        (only,) = self.moves
        return only

    # -- threads --------------------------------------------------------------------------------------------------

    def stream(self) -> None:
        """Start only the streamer: keys are collected, and only ``flush`` flushes them."""
        self.engine.start("streamer", self.streamer.run)

    def flusher(self, copy_keys: Callable[[TableMove, tuple[KeyLiterals, ...]], bool] | None = None) -> Flusher:
        """The engine's own flusher, called step by step."""
        engine = self.engine
        flusher = Flusher(
            self.buffer,
            engine._flush_pool,
            copy_keys or engine._copy_keys,
            engine._make_visible,
            engine.ending.is_set,
            self.flushes.append,
        )
        flusher.derived = engine._derived
        return flusher

    def flush(self, name: str = "") -> Background:
        """Flush one generation of the table of that name, or of the only one."""
        move = self.named(name) if name else self.move
        return Background(lambda: self.flusher().flush(move))

    def named(self, name: str) -> TableMove:
        return next(move for move in self.moves if move.table.source.name == name)

    def chunk(self) -> Background:
        """The next chunk, in a thread and sessions of its own. It has been handed out when this returns."""
        engine = self.engine
        out = threading.Event()

        def body() -> None:
            pair = engine._pair()
            found = engine._next_chunk(pair)
            assert found is not None
            out.set()
            engine._copy_chunk(pair, *found)

        background = Background(body)
        assert out.wait(PATIENCE_SECONDS), "no chunk was handed out"
        return background

    def make_readable(self, say: Callable[[str], None] = lambda _: None) -> bool:
        """The waits of R2, as the coordinator does them."""
        with self.connections.source_control() as session:
            return make_readable(
                *(session, self.visibility, self.tables, self.buffer.processed),
                *(self._streamed_to_the_end, lambda: False, say),
            )

    def _streamed_to_the_end(self) -> StreamMark:
        with self.connections.source_control() as session:
            end = end_of_binlog(session)
        wait_until(lambda: self.sound() and self.streamer.reached(end), f"the stream reaches {end}")
        return self.buffer.processed

    def go(self) -> None:
        """Do everything, in the coordinator's order."""
        self.engine.start_streaming()
        assert self.make_readable()
        self.engine.start_copying()

    # -- waiting --------------------------------------------------------------------------------------------------

    def pending(self, keys: int) -> None:
        """Wait until exactly that many changed keys are known and not on the target."""
        wait_until(lambda: self.sound() and self.buffer.pending_keys() == keys, f"{keys} pending keys")

    def streamed(self) -> None:
        """Wait until everything visible on the source now has been streamed."""
        with self.connections.source_control() as session:
            end = source_position(session)
        wait_until(lambda: self.sound() and self.buffer.processed.position.contains(end), f"the stream reaches {end}")

    def quiet(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until all chunks are copied and everything streamed is flushed. The flusher's thread must run."""
        wait_until(lambda: self.sound() and self.chunks.all_done, "all chunks copied", seconds)
        self.streamed()
        wait_until(lambda: self.sound() and not self.buffer.pending_keys(), "everything flushed", seconds)

    def equal(self) -> None:
        """Check every table with the independent comparer."""
        for table in self.tables:
            assert_equal_tables(self.pair.source, self.pair.target, table.source, table.target)

    def sound(self) -> bool:
        self.engine.check()
        return True

    def rows(self, columns: str = "*", *, source: bool = False) -> list[tuple[Any, ...]]:
        """All rows of the only table on the target, by key."""
        server = self.pair.source if source else self.pair.target
        key = ", ".join(f"`{column.name}`" for column in self.table.key.columns)
        return server.query(f"SELECT {columns} FROM {self.table.target.sql} ORDER BY {key}")

    # -- the next run ---------------------------------------------------------------------------------------------

    def checkpoint(self) -> StartState:
        """The state that a run that dies now leaves to its successor."""
        states = {move.id: self.chunks.state(move) for move in self.moves}
        counts_from = {move.id: move.counts_from for move in self.moves if move.counts_from is not None}
        return StartState(states, counts_from, self.resumes_at, self.uid)

    @property
    def resumes_at(self) -> Position:
        """The position in that state."""
        return self.buffer.checkpoint_mark().position


COPIED = Frontier(None, [], True, 0, 0)
"""A table's state when all its chunks are done."""
