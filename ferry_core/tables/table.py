"""The description of one selected table that every room works with. Made by discovery, read by all, never changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ferry_core.mysql.literals import qualified

KeyLiterals = tuple[str, ...]
"""One SQL literal per key column, in key order: how a key or a chunk bound travels. Opaque: only servers compare."""


class TableName(NamedTuple):
    """A schema and a table in it."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.name)


@dataclass(frozen=True)
class Column:
    """A column as information_schema and SHOW CREATE TABLE tell it."""

    name: str
    ordinal: int  # 0-based place in the table, generated columns counted: the place in a binlog row image
    data_type: str  # lower case, for example "varchar"
    column_type: str  # for example "varchar(20)" or "int unsigned"
    charset: str | None  # None for types without one
    collation: str | None
    nullable: bool
    generated: bool  # VIRTUAL or STORED: never copied, recomputed by the target
    invisible: bool
    max_bytes: int  # worst-case bytes of a value as information_schema tells them (octet length, or the type's)

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.column_type


@dataclass(frozen=True)
class Key:
    """What names a row: the PRIMARY KEY, else the first UNIQUE index over NOT NULL whole columns."""

    index_name: str  # "PRIMARY" or the index's name
    columns: tuple[Column, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """One selected table. Compared and hashed by identity: there is one object a table and run."""

    source: TableName
    target: TableName
    columns: tuple[Column, ...]
    key: Key
    row_filter: str | None  # SQL condition over the row, evaluated by the source only
    secondary_unique: bool  # has a UNIQUE index besides the key (prefix and functional ones count)
    byte_equal_key: bool  # equal keys are equal bytes: no text column with a collation in the key
    rows_estimated: int
    average_row_bytes: int
    definition: str = ""  # what SHOW CREATE TABLE says of it on the source

    @property
    def id(self) -> str:
        """The name under which state, metrics and messages know the table: that on the source."""
        return str(self.source)

    @property
    def copied_columns(self) -> Sequence[Column]:
        """Columns whose values travel: all but generated ones."""
        return [column for column in self.columns if not column.generated]


@dataclass(frozen=True)
class KeyRange:
    """Rows with ``lo < key <= hi`` in the key's own order; None is unbounded on that side."""

    lo: KeyLiterals | None
    hi: KeyLiterals | None


@dataclass(frozen=True)
class KeySet:
    """Rows with one of these keys."""

    keys: tuple[KeyLiterals, ...]


Selector = KeyRange | KeySet
