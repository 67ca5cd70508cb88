"""Table descriptions for unit tests that need one and no server."""

from collections.abc import Iterable

from ferry_core.api.spec import Copy
from ferry_core.binlog.sink import StreamMark
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.gtid import GtidSet
from ferry_core.tables.table import Column, Key, KeyLiterals, Table, TableName

UUID = "00000000-0000-0000-0000-000000000001"


def simple_table(name: str = "t", *, row_filter: str | None = None) -> Table:
    """``shop.NAME`` with a bigint key ``id`` and a text column."""
    identity = Column("id", 0, "bigint", "bigint", None, None, False, False, False, 8)
    note = Column("note", 1, "varchar", "varchar(20)", "utf8mb4", "utf8mb4_bin", True, False, False, 80)
    source = TableName("shop", name)
    return Table(source, source, (identity, note), Key("PRIMARY", (identity,)), row_filter, False, 0, 100)


def move_of(table: Table | None = None) -> TableMove:
    """A move of a run that has just begun."""
    (move,) = moves_of([table or simple_table()])
    return move


def moves_of(tables: Iterable[Table]) -> list[TableMove]:
    return list(MoveSet.of(tables, Copy()))


def mark(sequence: int) -> StreamMark:
    """The place in a stream after ``sequence`` transactions of one server."""
    return StreamMark(sequence, GtidSet.parse(f"{UUID}:1-{sequence}" if sequence else ""))


def decode(key: bytes) -> KeyLiterals:
    return (key.decode(),)
