"""Foreign keys by which the source changes rows of one selected table together with rows of another, without events.

InnoDB executes CASCADE and SET NULL itself and logs only the parent's rows. The stream finds the referenced values in
the parent's events (``binlog.referenced``); ``changes.derived_keys`` finds the children's rows.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.schema.definition import ForeignKey, parse
from ferry_core.tables.table import Column, KeyLiterals, Table


@dataclass(frozen=True, eq=False)
class Cascade:
    """One constraint between two selected tables, which may be the same."""

    name: str
    parent: Table
    child: Table
    referenced: tuple[Column, ...]
    """Columns of the parent."""
    referencing: tuple[Column, ...]
    """Columns of the child, in the same order."""
    parent_follows: bool = False
    """Whether rows of the parent change by a cascade, too."""
    parent_key_follows: bool = False
    """Whether that may change what the child references."""

    def values(self, key: KeyLiterals) -> KeyLiterals:
        """What the child's rows reference of the parent's row with this key. Only if ``in_key``."""
        return tuple(key[self.parent.key.columns.index(column)] for column in self.referenced)

    @property
    def in_key(self) -> bool:
        """Whether the parent's key contains all referenced columns."""
        return set(self.referenced) <= set(self.parent.key.columns)


class Reference(NamedTuple):
    """Rows of the cascade's child that reference these values may have changed without an event."""

    cascade: Cascade
    values: KeyLiterals


def unlogged_cascades(source: Session, tables: Iterable[Table]) -> list[Cascade]:
    """The cascades between these tables; empty if the server logs the rows that they change.

    Since 9.6 MySQL executes cascades above InnoDB and logs their rows, unless the setting makes InnoDB do it.
    """
    if source.flavor is Flavor.MYSQL:
        rows = source.query("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
        if rows and rows[0][1] == b"OFF":
            return []
    return cascades_among(tables)


def cascades_among(tables: Iterable[Table]) -> list[Cascade]:
    """The cascades between these tables."""
    found = list(_found(list(tables)))
    moved: dict[Table, set[Column]] = {}
    for key, parent, child in found:
        columns = {ours for ours, _ in _columns(key, child, parent)}
        moved.setdefault(child, set()).update(columns if key.on_update not in _KEEP else ())
    cascades = []
    for key, parent, child in found:
        pairs = _columns(key, child, parent)
        referenced = tuple(theirs for _, theirs in pairs)
        follows = not moved.get(parent, set()).isdisjoint(referenced)
        referencing = tuple(ours for ours, _ in pairs)
        cascades.append(Cascade(key.name, parent, child, referenced, referencing, parent in moved, follows))
    return cascades


_KEEP = ("RESTRICT", "NO ACTION")


def _found(tables: list[Table]) -> Iterator[tuple[ForeignKey, Table, Table]]:
    by_name = {table.source: table for table in tables}
    folded = {str(table.source).lower(): table for table in tables}
    for child in tables:
        if "FOREIGN KEY" not in child.definition:
            continue
        for key in parse(child.definition, child.source).foreign_keys:
            parent = by_name.get(key.references) or folded.get(str(key.references).lower())
            if key.cascades and parent is not None:
                yield key, parent, child


def _columns(key: ForeignKey, child: Table, parent: Table) -> list[tuple[Column, Column]]:
    ours, theirs = ({column.name.lower(): column for column in table.columns} for table in (child, parent))
    return [(ours[one], theirs[other]) for one, other in key.columns]
