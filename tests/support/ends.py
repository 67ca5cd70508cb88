"""One schema on a source and a target, with tables described for the engine: for tests of rooms that read both ends."""

from collections.abc import Callable

from ferry_core.mysql.session import Purpose, Session
from ferry_core.tables.table import Column, Key, Table, TableName
from tests.support.servers import Pair, Server

COLUMNS = """SELECT column_name, ordinal_position - 1, data_type, column_type, character_set_name, collation_name,
  is_nullable = 'YES', extra LIKE '%GENERATED%', extra LIKE '%INVISIBLE%', COALESCE(character_octet_length, 8)
FROM information_schema.columns WHERE table_schema = '{}' AND table_name = '{}' ORDER BY ordinal_position"""

KEY = """SELECT column_name FROM information_schema.statistics
WHERE table_schema = '{}' AND table_name = '{}' AND index_name = 'PRIMARY' ORDER BY seq_in_index"""


class Ends:
    """Closes what it opened; ``table`` asks the source's information_schema."""

    def __init__(self, pair: Pair, schema: str) -> None:
        self.pair = pair
        self.schema = schema
        self._sessions: list[Session] = []
        pair.target.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}` CHARACTER SET utf8mb4")

    def on_source(self, *statements: str) -> None:
        self._execute(self.pair.source, statements)

    def on_target(self, *statements: str) -> None:
        self._execute(self.pair.target, statements)

    def on_both(self, *statements: str) -> None:
        self.on_source(*statements)
        self.on_target(*statements)

    def _execute(self, server: Server, statements: tuple[str, ...]) -> None:
        server.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{self.schema}`", *statements)

    def connect_source(self, purpose: Purpose) -> Session:
        return self._kept(Session(self.pair.source.endpoint("source"), purpose))

    def connect_target(self) -> Session:
        return self._kept(Session(self.pair.target.endpoint("target"), Purpose.TARGET))

    def _kept(self, session: Session) -> Session:
        self._sessions.append(session)
        return session

    def table(self, table: str = "t", row_filter: str | None = None) -> Table:
        """The description of a table with a PRIMARY KEY."""
        rows = self.pair.source.query(COLUMNS.format(self.schema, table))
        columns = tuple(
            Column(
                name, at, kind, _text(full), charset, collation, bool(null), bool(generated), bool(invisible), octets
            )
            for name, at, kind, full, charset, collation, null, generated, invisible, octets in rows
        )
        by_name = {column.name: column for column in columns}
        key = tuple(by_name[row[0]] for row in self.pair.source.query(KEY.format(self.schema, table)))
        where = TableName(self.schema, table)
        return Table(where, where, columns, Key("PRIMARY", key), row_filter, False, 0, 100)

    def close(self) -> None:
        for session in self._sessions:
            session.close()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Interposed(Session):
    """A session before whose first query something else happens: forces a race between two reads."""

    before: Callable[[], None] | None = None

    def query(self, statement: str | bytes) -> list[tuple[bytes | None, ...]]:
        if self.before is not None:
            happen, self.before = self.before, None
            happen()
        return super().query(statement)
