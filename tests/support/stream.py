"""A real stream into a sink that records everything: for tests of the binlog package and its users."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from ferry_core.api.spec import Copy
from ferry_core.binlog.elsewhere import Judge
from ferry_core.binlog.ending import place_of_end
from ferry_core.binlog.sink import KeyDecoder, StreamMark
from ferry_core.binlog.streamer import BinlogStreamer, Upstream
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.cascades import Reference
from ferry_core.tables.table import KeyLiterals, Table
from tests.support.servers import Server
from tests.support.waits import PATIENCE_SECONDS

_SERVER_ID = 4_000_001


@dataclass
class Change:
    """One transaction as the sink received it, decided XA transactions included."""

    before: StreamMark
    seen: StreamMark
    xid: str | None
    keys: list[tuple[str, KeyLiterals]] = field(default_factory=list)
    ended: bool = False
    committed_at: float | None = None


class RecordingSink:
    """Records everything, unless ``count_only``."""

    def __init__(self, *, count_only: bool = False) -> None:
        self.changes: list[Change] = []
        self.decisions: list[tuple[str, bool]] = []
        self.processed: list[StreamMark] = []
        self.heartbeats = 0
        self.rows = 0
        self.begins = 0
        self.on_changed: Callable[[int], None] | None = None
        self._count_only = count_only

    def begin(self, before: StreamMark, seen: StreamMark, xid: str | None) -> None:
        assert before < seen
        self.begins += 1
        if self.changes and not self.changes[-1].ended:
            assert self.changes.pop().seen == seen  # begun again after a lost connection
        self.changes.append(Change(before, seen, xid))

    def changed(self, followed: TableMove, keys: Sequence[bytes], decode: KeyDecoder) -> None:
        self.rows += len(keys)
        assert not self.changes[-1].ended
        if not self._count_only:
            self.changes[-1].keys.extend((followed.table.id, decode(key)) for key in keys)
        if self.on_changed is not None:
            self.on_changed(len(keys))

    def referenced(self, followed: TableMove, references: Sequence[Reference]) -> None:
        """Only where moves follow cascades."""

    def end(self, processed: StreamMark, committed_at: float | None) -> None:
        change = self.changes[-1]
        assert change.seen.sequence == processed.sequence
        change.ended, change.committed_at = True, committed_at
        self.processed.append(processed)

    def decided(self, xid: str, committed: bool, before: StreamMark, processed: StreamMark) -> None:
        assert before < processed
        self.decisions.append((xid, committed))
        self.processed.append(processed)

    def alive(self, processed: StreamMark, source_time: float | None) -> None:
        if source_time is None:
            self.heartbeats += 1
        self.processed.append(processed)

    @property
    def keys(self) -> list[tuple[str, ...]]:
        """Key literals of all finished transactions, in order."""
        return [literals for change in self.changes if change.ended for _, literals in change.keys]


class Streaming:
    """``with Streaming(server, tables) as stream``: streams from now on. An error of the thread fails the wait."""

    def __init__(
        self,
        server: Server,
        tables: Sequence[Table],
        *,
        start: Position | StreamMark | None = None,
        sink: RecordingSink | None = None,
        login: Callable[[], Endpoint] | None = None,
        altered: Callable[..., str] | None = None,
        logged: Judge | None = None,
    ) -> None:
        self.server = server
        self.sink = sink or RecordingSink()
        self.moves = MoveSet.of(tables, Copy())
        self.failure: BaseException | None = None
        if start is None:
            with self.control() as session:
                start = position_now(session)
        self.streamer = BinlogStreamer(
            Upstream(self.control, login or server.endpoint, server.flavor, _SERVER_ID),
            self.moves,
            self.sink,
            start if isinstance(start, StreamMark) else StreamMark(0, start),
            altered,
            logged,
        )
        self._thread = threading.Thread(target=self._run, name="streamer", daemon=True)

    def control(self) -> Session:
        return Session(self.server.endpoint(), Purpose.CONTROL)

    def _run(self) -> None:
        try:
            self.streamer.run()
        except BaseException as error:  # noqa: BLE001 - the test's thread judges it
            self.failure = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.streamer.stop()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the streamer did not stop"

    def wait(self, done: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until ``done``; raises the streamer's own error."""
        deadline = time.monotonic() + seconds
        while not done():
            if self.failure is not None:
                raise self.failure
            assert time.monotonic() < deadline, f"no {what} within {seconds} s: {self.streamer.status()}"
            self._thread.join(0.01)

    def caught_up(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until everything in the binlog now has been processed."""
        with self.control() as session:
            wanted = position_now(session)
        self.wait(lambda: self.streamer.status().processed.position.contains(wanted), f"position {wanted}", seconds)

    def failed(self, seconds: float = PATIENCE_SECONDS) -> BaseException:
        """Wait until the streamer gives up; returns its error."""
        self._thread.join(seconds)
        assert self.failure is not None, f"the streamer goes on: {self.streamer.status()}"
        return self.failure


def position_now(session: Session) -> Position:
    """Everything in the binlog now, as a run on this source would store it."""
    by_file = session.flavor is Flavor.MYSQL and session.text("SELECT @@GLOBAL.gtid_mode") != "ON"
    return FilePosition(*place_of_end(session)) if by_file else source_position(session)


def make(server: Server, schema: str, name: str = "t") -> None:
    server.execute(f"CREATE TABLE `{schema}`.`{name}` (id BIGINT PRIMARY KEY, v VARCHAR(200))")


def ids(stream: Streaming) -> list[int]:
    return [int(key[0]) for key in stream.sink.keys]
