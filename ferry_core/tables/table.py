"""The description of one selected table, used by all packages. Made by discovery, never changed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ferry_core.mysql.literals import identifier, qualified
from ferry_core.tables.alike import plain_collation

KeyLiterals = tuple[str, ...]
"""One SQL literal per key column, in key order: the form of keys and chunk bounds.

Opaque: only servers compare them.
"""


_PART = r"(?:`(?:[^`]|``)+`|[^.`][^.]*)"
_NAME = re.compile(rf"({_PART})\.({_PART})", re.DOTALL)


class TableName(NamedTuple):
    """A schema and a table in it. Its text is unambiguous: ``parse`` returns what ``str`` was called on."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{_part(self.schema)}.{_part(self.name)}"

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Parse ``schema.table``, with each part in backticks if it contains a dot; otherwise ValueError."""
        found = _NAME.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not schema.table; put a part that contains a dot in backticks")
        return cls(*map(unquoted, found.groups()))

    @classmethod
    def readings(cls, text: str) -> "list[TableName]":
        """Every name that ``text`` may mean: earlier versions wrote no backticks."""
        try:
            return [cls.parse(text)]
        except ValueError:
            dots = (at for at, character in enumerate(text) if character == ".")
            return [cls(text[:dot], text[dot + 1 :]) for dot in dots]

    @property
    def sql(self) -> str:
        return qualified(self.schema, self.name)


def _part(name: str) -> str:
    """Unchanged, unless a dot or backtick would make two names the same text: `a`.`b.c` and `a.b`.`c`."""
    return identifier(name) if "." in name or "`" in name or not name else name


def unquoted(part: str) -> str:
    """Without surrounding backticks, if it has any."""
    quoted = len(part) > 2 and part[0] == part[-1] == "`"
    return part[1:-1].replace("``", "`") if quoted else part


WITHOUT_TRANSACTIONS = frozenset({"MyISAM", "Aria"})
"""Engines whose tables can be copied exactly although a statement locks the whole table and nothing is rolled back."""
SUPPORTED_ENGINES = WITHOUT_TRANSACTIONS | {"InnoDB"}


@dataclass(frozen=True)
class Column:
    """A column according to information_schema and SHOW CREATE TABLE."""

    name: str
    ordinal: int  # 0-based index in the table, generated columns included: the index in a binlog row image
    data_type: str  # lower case, for example "varchar"
    column_type: str  # for example "varchar(20)" or "int unsigned"
    charset: str | None  # None for types without one
    collation: str | None
    nullable: bool
    generated: bool  # VIRTUAL or STORED: never copied, computed by the target
    invisible: bool
    max_bytes: int  # maximum bytes of a value according to information_schema (octet length, or the type's)
    stored: bool = False  # generated, and stored in the row
    crosses: bool = field(default=False, compare=False)  # to a server of the other family, see ``tables.families``

    @property
    def unsigned(self) -> bool:
        return "unsigned" in self.column_type

    @property
    def introducer(self) -> str:
        """What precedes a literal of the column's character set; empty for types without one. Every release knows
        utf8mb3, and warns that utf8 may become another one.
        """
        return f"_{plain_collation(self.charset)} " if self.charset else ""


@dataclass(frozen=True)
class Key:
    """The index that identifies a row: the PRIMARY KEY, otherwise a UNIQUE index (``keys.choose_key``)."""

    index_name: str  # "PRIMARY" or the index's name
    columns: tuple[Column, ...]
    prefixed: bool = False  # the index holds only prefixes; keys are whole values all the same
    promised: bool = False  # unique according to the spec, not by the index

    @property
    def conditional(self) -> bool:
        """Whether it is a key only as long as rows are as they should be (``tables.nullable``)."""
        return self.promised or self.nullable

    @property
    def nullable(self) -> bool:
        """Whether a row may have NULL in it, which it must not."""
        return any(column.nullable for column in self.columns)


NO_KEY = Key("", ())
"""Of a table whose rows nothing names: it is moved whole (``Table.whole``)."""
ALL_ROWS: KeyLiterals = ()
"""The one key that such a table has: it names all of its rows together."""
ALL_ROWS_RAW = b""
"""The same as the change buffer keeps it."""


@dataclass(frozen=True, eq=False)
class Table:
    """One selected table. Compared and hashed by identity: each run has one object per table."""

    source: TableName
    target: TableName
    columns: tuple[Column, ...]
    key: Key
    row_filter: str | None  # SQL condition over the row, evaluated by the source only
    secondary_unique: bool  # has a UNIQUE index besides the key (prefix and functional indexes included)
    rows_estimated: int
    average_row_bytes: int
    definition: str = ""  # SHOW CREATE TABLE on the source
    compares_stored: bool = True  # False: other values in stored generated columns are acknowledged
    engine: str = "InnoDB"  # on the source
    target_engine: str = "InnoDB"  # of the table that is created on the target
    other_keys: tuple[Key, ...] = ()  # further ones that may be NULL: one of them may serve instead
    filter_index: str = ""  # of the source, which could find the rows of a row filter
    filter_index_unused: bool = False  # because it would cost more than it saves
    rows_passing: int | None = None  # an estimate of those that pass the row filter; None: not known, or no filter
    copied_whole: bool = False  # although it has a key: cascades change rows that no event and no lookup names

    @property
    def finding_index(self) -> str:
        """The source's index that finds the rows of the row filter; empty: they are found by the key."""
        return "" if self.filter_index_unused else self.filter_index

    @property
    def rows_moved(self) -> int:
        """An estimate of the rows that the target gets."""
        return self.rows_estimated if self.rows_passing is None else self.rows_passing

    @property
    def rows_walked(self) -> int:
        """An estimate of the rows that chunks are made of: those that the filter leaves out, too, unless an index finds
        the others.
        """
        return self.rows_moved if self.finding_index else self.rows_estimated

    @property
    def id(self) -> str:
        """The name that state, metrics and messages use: the name on the source, as one text."""
        return str(self.source)

    @property
    def whole(self) -> bool:
        """Whether rows cannot be named one by one: they are read, written and compared together (``rows.whole``)."""
        return self.copied_whole or not self.key.columns

    @property
    def transactional(self) -> bool:
        """Whether the source's table has transactions and row locks."""
        return self.engine not in WITHOUT_TRANSACTIONS

    @property
    def copied_columns(self) -> Sequence[Column]:
        """Columns whose values are transferred: all except generated ones."""
        return [column for column in self.columns if not column.generated]

    @property
    def stored_columns(self) -> Sequence[Column]:
        """Generated columns whose stored values the verification compares; each server computes its own."""
        return [column for column in self.columns if column.stored and self.compares_stored]


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

EVERY_ROW = KeySet((ALL_ROWS,))
"""Of a table that is copied whole: all of its rows, in place of those that the target has."""
