"""Chooses the index that identifies a table's rows, and tells what it guarantees. Pure; used by ``discovery``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ferry_core.tables.scaled_floats import largest_below_its_float
from ferry_core.tables.table import Column, Key

_PLAIN_COLLATIONS = ("_bin", "_general_ci", "latin1_swedish_ci", "binary")
LONGEST_KEY = 3072
"""Bytes: as InnoDB limits a key of whole columns. Thousands of keys must fit into one statement."""


@dataclass(frozen=True)
class Index:
    """An index according to information_schema. Its parts are in order; None is an expression."""

    name: str
    parts: tuple[str | None, ...]
    whole: bool  # no part is a prefix or an expression
    usable: bool  # ordered and visible: usable for ranges and FORCE INDEX


def choose_key(columns: Sequence[Column], indexes: Sequence[Index]) -> Key | None:
    """The PRIMARY KEY, otherwise the first usable index over NOT NULL columns; over whole ones, if there is one.

    Invisible (MariaDB: ignored) indexes are not usable, because FORCE INDEX refuses them. No table loses its only key
    by that, because neither family allows hiding the index by which a table is clustered. A generated column is usable
    only in a PRIMARY KEY, where it is stored: row images need not contain virtual columns.

    A FLOAT(M,D) is not usable if its largest value is stored as a float above it: MySQL finds that value by no index,
    MariaDB not in each statement.
    """
    sure = (key for key in _usable(columns, indexes) if not key.nullable)
    return next((key for key in sure if not key.prefixed or _ordered_by_prefixes(key.columns)), None)


def nullable_keys(columns: Sequence[Column], indexes: Sequence[Index]) -> list[Key]:
    """Those over whole columns that may be NULL: keys as long as none is (``tables.nullable``)."""
    return [key for key in _usable(columns, indexes) if key.nullable and not key.prefixed]


def _usable(columns: Sequence[Column], indexes: Sequence[Index]) -> Iterator[Key]:
    by_name = {column.name: column for column in columns}
    for index in sorted(indexes, key=lambda index: (not index.whole, index.name != "PRIMARY")):
        parts = tuple(by_name[name] for name in index.parts if name in by_name)
        virtual = index.name != "PRIMARY" and any(column.generated for column in parts)
        if index.usable and len(parts) == len(index.parts) and not virtual and not any(map(_lost, parts)):
            yield Key(index.name, parts, prefixed=not index.whole)


def promised_key(columns: Sequence[Column], names: Sequence[str], indexes: Sequence[Index]) -> Key | None:
    """The columns that the spec names, in the order of an index that begins with them; None without one."""
    wanted = {name.lower() for name in names}
    by_name = {column.name.lower(): column for column in columns if not (column.generated or _lost(column))}
    for index in indexes:
        parts = [(part or "").lower() for part in index.parts[: len(wanted)]]
        if index.usable and index.whole and set(parts) == wanted <= by_name.keys():
            return Key(index.name, tuple(by_name[part] for part in parts), promised=True)
    return None


def index_for_filter(columns: Sequence[Column], indexes: Sequence[Index], *, name: str = "", column: str = "") -> str:
    """The name of an index by which rows that pass a filter may be found: that of this name, or the shortest one that
    begins with this column. Empty without one.

    Not one over prefixes: of some collations servers leave out rows of a range that they read by such an index.
    """
    lost = {each.name for each in columns if _lost(each)}
    usable = [index for index in indexes if index.usable and index.whole and lost.isdisjoint(index.parts)]
    if name:
        return next((index.name for index in usable if index.name.lower() == name.lower()), "")
    begin = [index for index in usable if (index.parts[0] or "").lower() == column.lower()]
    return min(begin, key=lambda index: (index.name != "PRIMARY", len(index.parts))).name if begin else ""


def _lost(column: Column) -> bool:
    return largest_below_its_float(column.column_type) is not None


def _ordered_by_prefixes(parts: Sequence[Column]) -> bool:
    """Whether the order of prefixes is the order of the whole values, as servers assume when they read a range.

    Prefixes that are unique make whole values unique. But in collations by the Unicode algorithm some characters have
    no weight, and some pairs have one together: there both families leave out rows of a range that they read by an
    index over prefixes.
    """
    plain = all(column.collation is None or column.collation.endswith(_PLAIN_COLLATIONS) for column in parts)
    return plain and sum(column.max_bytes for column in parts) <= LONGEST_KEY


def secondary_unique(key: Key, indexes: Sequence[Index]) -> bool:
    """Whether REPLACE may delete a row with another key: true for any UNIQUE index besides the key.

    Also for a key over prefixes, where another value may have the same prefix.
    """
    return key.prefixed or any(index.name != key.index_name for index in indexes)
