"""Copies whole schemas with the copier and chunks alone: no stream, no run. For tests of rows, tables and schema."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

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
from tests.support.servers import Pair


class PlainFence:
    """Begin and commit, nothing to check."""

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


class Crossing:
    """Sessions on both ends of a pair, and what the tests do with them."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.control = Session(pair.source.endpoint("source"), Purpose.CONTROL)
        self.plain = Session(pair.source.endpoint("source"), Purpose.SOURCE)
        self.text = Session(pair.source.endpoint("source"), Purpose.SOURCE_TEXT)
        self.target = Session(pair.target.endpoint("target"), Purpose.TARGET)
        self.fence = PlainFence()

    def close(self) -> None:
        for session in (self.control, self.plain, self.text, self.target):
            session.close()

    def selected(self, pattern: str, **selection: object) -> list[Table]:
        """Tables of a selection, created on the target."""
        tables = discover(self.control, Tables.model_validate({"include": [pattern], **selection}))
        create_missing(self.control, self.target, tables, self.fence)
        return tables

    def copier(self, *, text: bool = False, lock: str = "") -> RowCopier:
        return RowCopier(self.text if text else self.plain, self.target, self.fence, lock)

    def copy_all(
        self, tables: Sequence[Table], pace: Copy | None = None, seen: Callable[[CopyResult], None] | None = None
    ) -> int:
        """Every table by chunks, in this thread; returns the rows sent."""
        chunks = ChunkSource(MoveSet.of(tables, pace or Copy()))
        copiers = {text: self.copier(text=text) for text in (False, True)}
        sent = 0
        while found := chunks.next_chunk(self.plain):
            move, chunk = found
            try:
                result = copiers[chunk.table.row_filter is not None].copy(chunk.table, chunk.range)
            except TooLarge:
                chunks.split(chunk, self.plain)
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
