"""Tables on the source and the target of a pair, and sessions on both: for tests of rows, tables, schema and verify.

There is no stream and no run: ``copy_all`` copies with the copier and chunks alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from ferry_core.api.selection import Tables
from ferry_core.api.spec import Copy
from ferry_core.errors import TooLarge
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.session import Purpose, Session
from ferry_core.rows.copier import CopyResult, RowCopier
from ferry_core.schema.create import create_missing
from ferry_core.tables.codecs import codec
from ferry_core.tables.discovery import discover
from ferry_core.tables.predicates import order_by
from ferry_core.tables.table import KeyLiterals, Table
from ferry_core.workers.chunk_source import ChunkSource
from hack.servers import Family
from tests.support.servers import Pair, Server
from tests.support.tables import describe


class PlainFence:
    """Begin and commit without any check."""

    @contextmanager
    def transaction(self, session: Session) -> Iterator[None]:
        session.begin()
        try:
            yield
        except BaseException:
            session.rollback()
            raise
        session.commit()

    @contextmanager
    def hold(self, working: Session) -> Iterator[None]:
        assert working.connection_id
        yield


class TablePair:
    """Closes the sessions that it opened. ``schema``, if given, is created on the target too."""

    def __init__(self, pair: Pair, schema: str = "") -> None:
        self.pair = pair
        self.schema = schema
        self.fence = PlainFence()
        self._sessions: list[Session] = []
        if schema:
            pair.target.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4")

    @cached_property
    def control(self) -> Session:
        return self.connect_source(Purpose.CONTROL)

    @cached_property
    def plain(self) -> Session:
        return self.connect_source(Purpose.SOURCE)

    @cached_property
    def text(self) -> Session:
        return self.connect_source(Purpose.SOURCE_TEXT)

    @cached_property
    def target(self) -> Session:
        return self.connect_target()

    def connect_source(self, purpose: Purpose) -> Session:
        """A further session."""
        return self._kept(Session(self.pair.source.endpoint("source"), purpose))

    def connect_target(self) -> Session:
        """A further session."""
        return self._kept(Session(self.pair.target.endpoint("target"), Purpose.TARGET))

    def _kept(self, session: Session) -> Session:
        self._sessions.append(session)
        return session

    def close(self) -> None:
        for session in self._sessions:
            session.close()

    # -- tables of the schema -------------------------------------------------------------------------------------

    def on_source(self, *statements: str) -> None:
        self._execute(self.pair.source, statements)

    def on_target(self, *statements: str) -> None:
        self._execute(self.pair.target, statements)

    def on_both(self, *statements: str) -> None:
        self.on_source(*statements)
        self.on_target(*statements)

    def _execute(self, server: Server, statements: tuple[str, ...]) -> None:
        server.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{self.schema}`", *statements)

    def table(self, table: str = "t", row_filter: str | None = None) -> Table:
        """The source's, with its PRIMARY KEY."""
        return describe(self.pair.source, self.schema, table, row_filter=row_filter)

    # -- copying --------------------------------------------------------------------------------------------------

    def selected(self, pattern: str, **selection: object) -> list[Table]:
        """Tables of a selection, created on the target."""
        tables = discover(self.control, Tables.model_validate({"include": [pattern], **selection}))
        create_missing(self.control, self.target, tables, self.fence)
        return tables

    def source_of(self, table: Table) -> Session:
        """The session that renders its rows."""
        return self.text if table.row_filter else self.plain

    def copier(self, *, text: bool = False, lock: str = "") -> RowCopier:
        return RowCopier(self.text if text else self.plain, self.target, self.fence, lock)

    def copy_all(
        self, tables: Sequence[Table], pace: Copy | None = None, seen: Callable[[CopyResult], None] | None = None
    ) -> int:
        """Copy every table by chunks, in this thread; returns the number of rows sent."""
        chunks = ChunkSource(MoveSet.of(tables, pace or Copy()))
        copiers = {text: self.copier(text=text) for text in (False, True)}
        sent = 0
        while found := chunks.next_chunk(self.source_of):
            move, chunk = found
            try:
                result = copiers[chunk.table.row_filter is not None].copy(chunk.table, chunk.range)
            except TooLarge:
                chunks.split(chunk, self.source_of(chunk.table))
                continue
            chunks.finished(move, chunk, result)
            sent += result.rows_sent
            if seen:
                seen(result)
        assert chunks.all_done
        return sent

    def keys(self, table: Table, session: Session | None = None) -> list[KeyLiterals]:
        """All keys of the source's table, in order, as a server renders them."""
        session = session or self.plain
        literals = ",".join(codec(column, session.flavor).key_literal() for column in table.key.columns)
        rows = session.query(f"SELECT {literals} FROM {table.source.sql} ORDER BY {order_by(table.key)}")
        return [tuple((value or b"").decode() for value in row) for row in rows]


def make_table(pair: Pair, schema: str, columns: str, *rows: str, on_target: bool = False, name: str = "t") -> str:
    """Create it on the source with these rows; ``on_target``: there too, as if its copy were done. Returns its id."""
    statements = [f"CREATE TABLE {name} ({columns})", *(f"INSERT INTO {name} VALUES {row}" for row in rows)]
    settings = ("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{schema}`")
    if pair.family is Family.MARIADB:
        # Long rows of another test in the same binlog file would make the copier read with locks.
        pair.source.execute("FLUSH BINARY LOGS")
    pair.source.execute(*settings, *statements)
    if on_target:
        pair.target.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4", *settings, *statements)
    return f"{schema}.{name}"
