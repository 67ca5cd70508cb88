"""Which index names a table's rows, and what that index can be relied on for. Pure; called by ``discovery``."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.tables.table import Column, Key


@dataclass(frozen=True)
class Index:
    """A UNIQUE index as information_schema tells it; its parts in order, None for an expression."""

    name: str
    parts: tuple[str | None, ...]
    whole: bool  # no part is a prefix or an expression
    usable: bool  # ordered and visible: ranges over it work and FORCE INDEX takes it


def choose_key(columns: Sequence[Column], indexes: Sequence[Index]) -> Key | None:
    """The PRIMARY KEY, else the first usable index over NOT NULL whole columns.

    Invisible (MariaDB: ignored) indexes do not count: FORCE INDEX refuses them. No table loses its only key by that,
    since neither family lets the index by which a table is clustered be hidden. A generated column counts in a PRIMARY
    KEY alone, where it is stored: row images need not carry virtual ones.
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
    """Whether REPLACE may meet a row of another key: any UNIQUE index besides the key counts."""
    return any(index.name != key.index_name for index in indexes)
