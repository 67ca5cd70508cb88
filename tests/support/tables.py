"""Table descriptions: made up without a server, read from a server, and all functions that query a server about
tables.
"""

import contextlib
from collections.abc import Callable, Iterable
from contextlib import nullcontext

from ferry_core.admin.drop_target import tables_named
from ferry_core.api.selection import Tables
from ferry_core.api.spec import Copy
from ferry_core.binlog.sink import StreamMark
from ferry_core.cancellation import Cancellation
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.gtid import GtidSet
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.structure import structures
from ferry_core.rows.copier import CopyResult
from ferry_core.rows.target_keys import has_hash_unique, target_key_index
from ferry_core.schema.constraint_names import ConstraintNames
from ferry_core.schema.counters import raise_counters
from ferry_core.schema.create import create_missing, definition
from ferry_core.schema.foreign_keys import add_foreign_keys
from ferry_core.tables.describe import columns_of, indexes_of, storage_of
from ferry_core.tables.discovery import discover, new_tables, rediscover, reread
from ferry_core.tables.table import Column, Key, KeyLiterals, Table, TableName
from tests.support.servers import Server

_COLUMNS = """SELECT column_name, ordinal_position - 1, data_type, column_type, character_set_name, collation_name,
  is_nullable = 'YES', extra LIKE '%%GENERATED%%', extra LIKE '%%INVISIBLE%%', COALESCE(character_octet_length, 8)
FROM information_schema.columns WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"""
_KEY = """SELECT column_name FROM information_schema.statistics
WHERE table_schema = %s AND table_name = %s AND index_name = %s ORDER BY seq_in_index"""

_OTHER_UNIQUE = """SELECT 1 FROM information_schema.statistics
WHERE table_schema = %s AND table_name = %s AND index_name <> %s AND non_unique = 0"""

UUID = "00000000-0000-0000-0000-000000000001"


def simple_table(name: str = "t", *, row_filter: str | None = None, rows: int = 0) -> Table:
    """``shop.NAME`` with a bigint key ``id`` and a text column. ``rows`` is the source's estimate."""
    identity = Column("id", 0, "bigint", "bigint", None, None, False, False, False, 8)
    note = Column("note", 1, "varchar", "varchar(20)", "utf8mb4", "utf8mb4_bin", True, False, False, 80)
    source = TableName("shop", name)
    return Table(source, source, (identity, note), Key("PRIMARY", (identity,)), row_filter, False, rows, 100)


def describe(server: Server, schema: str, name: str, index: str = "PRIMARY", row_filter: str | None = None) -> Table:
    """A server's table with the key that is named ``index``."""
    columns = tuple(
        Column(
            row[0],
            int(row[1]),
            row[2],
            row[3] if isinstance(row[3], str) else row[3].decode(),
            row[4],
            row[5],
            bool(row[6]),
            bool(row[7]),
            bool(row[8]),
            int(row[9]),
        )
        for row in server.query(_COLUMNS, (schema, name))
    )
    by_name = {column.name: column for column in columns}
    key = tuple(by_name[row[0]] for row in server.query(_KEY, (schema, name, index)))
    where = TableName(schema, name)
    unique = bool(server.query(_OTHER_UNIQUE, (schema, name, index)))
    return Table(where, where, columns, Key(index, key), row_filter, unique, 0, 100)


def move_of(table: Table | None = None) -> TableMove:
    """A move of a run that has just begun."""
    (move,) = moves_of([table or simple_table()])
    return move


def moves_of(tables: Iterable[Table]) -> list[TableMove]:
    return list(MoveSet.of(tables, Copy()))


def finish_chunk(move: TableMove, result: CopyResult, *, last: bool = False) -> None:
    """One more chunk of the move is on the target."""
    rows = result.rows_sent
    chunk = move.chunks.further(rows, None if last else (str(move.chunks.copied.rows + rows),))
    move.chunks.finished(chunk, result)
    if last:
        move.state = MoveState.FINISHING


def mark(sequence: int) -> StreamMark:
    """The mark in a stream after ``sequence`` transactions of one server."""
    return StreamMark(sequence, GtidSet.parse(f"{UUID}:1-{sequence}" if sequence else ""))


def decode(key: bytes) -> KeyLiterals:
    return (key.decode(),)


class _NoFence:
    def hold(self, working: Session) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - the real one's shape
        return nullcontext()


CatalogueQuery = Callable[[Session, Table], object]
"""A query whose answers can be compared."""


def _shape(tables: Iterable[Table]) -> object:
    return [(one.id, one.key, one.columns, one.secondary_unique) for one in tables]


CATALOGUE_QUERIES: dict[str, CatalogueQuery] = {
    "selection": lambda session, table: _shape(discover(session, Tables(include=[f"{table.source.schema}.*"]))),
    "new tables": lambda session, table: new_tables(session, Tables(include=[f"{table.source.schema}.*"]), []),
    "known tables": lambda session, table: _shape(
        reread(session, Tables(include=[f"{table.source.schema}.*"]), [table.source]).values()
    ),
    "tables of a checkpoint": lambda session, table: _shape(
        rediscover(session, Tables(include=[f"{table.source.schema}.*"]), [table.id]).found.tables
    ),
    "target tables": lambda session, table: table.source in ServerFacts(session).existing([table.source]),
    "tables to drop": lambda session, table: tables_named(session, {table.source}, lambda name: name),
    "columns": lambda session, table: columns_of(session, [table.source]),
    "indexes": lambda session, table: indexes_of(session, [table.source]),
    "storage": lambda session, table: set(storage_of(session, [table.source])),
    "structure": lambda session, table: structures(session, [table.source]),
    "the target's key": target_key_index,
    "hash keys": has_hash_unique,
    "taken names": lambda session, table: ConstraintNames(session, "FOREIGN KEY").taken(
        TableName(table.source.schema, "mine")
    ),
    "counters": lambda session, table: raise_counters(session, session, [table], _NoFence(), Cancellation().check),
    "constraints": lambda session, table: definition(session, table.source).foreign_keys,
    "missing tables": lambda session, table: create_missing(session, session, [table], _NoFence()),
    "foreign keys": lambda session, table: add_foreign_keys(session, session, [table], _NoFence()),
}
"""Every function of ours that queries a server about its tables, for tests of incomplete answers."""
