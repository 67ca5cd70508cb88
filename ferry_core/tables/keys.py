"""Chooses the index that identifies a table's rows, and tells what it guarantees. Pure; used by ``discovery``."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.tables.table import Column, Key


@dataclass(frozen=True)
class Index:
    """A UNIQUE index according to information_schema. Its parts are in order; None is an expression."""

    name: str
    parts: tuple[str | None, ...]
    whole: bool  # no part is a prefix or an expression
    usable: bool  # ordered and visible: usable for ranges and FORCE INDEX


def choose_key(columns: Sequence[Column], indexes: Sequence[Index]) -> Key | None:
    """The PRIMARY KEY, otherwise the first usable index over NOT NULL whole columns.

    Invisible (MariaDB: ignored) indexes are not usable, because FORCE INDEX refuses them. No table loses its only key
    by that, because neither family allows hiding the index by which a table is clustered. A generated column is usable
    only in a PRIMARY KEY, where it is stored: row images need not contain virtual columns.
    """
    by_name = {column.name: column for column in columns}
    for index in sorted(indexes, key=lambda index: index.name != "PRIMARY"):
        if not index.whole or not index.usable:
            continue
        parts = tuple(by_name[name] for name in index.parts if name in by_name)
        virtual = index.name != "PRIMARY" and any(column.generated for column in parts)
        if len(parts) == len(index.parts) and not virtual and not any(column.nullable for column in parts):
            return Key(index.name, parts)
    return None


def secondary_unique(key: Key, indexes: Sequence[Index]) -> bool:
    """Whether REPLACE may delete a row with another key: true for any UNIQUE index besides the key."""
    return any(index.name != key.index_name for index in indexes)
