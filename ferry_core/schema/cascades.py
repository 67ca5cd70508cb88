"""Foreign keys by which the source changes rows of one selected table together with rows of another, without events.

InnoDB executes CASCADE and SET NULL itself and logs only the parent's rows. The stream finds the referenced values in
the parent's events (``binlog.referenced``); ``changes.derived_keys`` finds the children's rows, unless the child is
copied whole (``schema.unfollowed``).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.schema.definition import ForeignKey, computed_from, parse
from ferry_core.tables.table import Column, KeyLiterals, Table


@dataclass(frozen=True, eq=False)
class Cascade:
    """One constraint between two selected tables, which may be the same.

    Or the way from an ancestor's constraint to a table that is copied whole.
    """

    name: str
    parent: Table
    child: Table
    referenced: tuple[Column, ...]
    """Columns of the parent."""
    referencing: tuple[Column, ...] = ()
    """Columns of the child, in the same order; none if the constraint is one of an ancestor's child."""
    sets_null: bool = False
    parent_follows: bool = False
    """Whether it may continue what another cascade has done to rows of the parent."""
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


ABSENT: KeyLiterals = ()
"""In place of values: whatever the target's rows reference and the target does not have."""


def logs_cascades(source: Session) -> bool:
    """Whether the server logs the rows that cascades change.

    Since 9.6 MySQL executes cascades above InnoDB and logs their rows, unless the setting makes InnoDB do it.
    """
    if source.flavor is not Flavor.MYSQL:
        return False
    rows = source.query("SHOW GLOBAL VARIABLES LIKE 'innodb_native_foreign_keys'")
    return bool(rows) and rows[0][1] == b"OFF"


def unlogged_cascades(source: Session, tables: Iterable[Table]) -> list[Cascade]:
    """The cascades between these tables; empty if the server logs the rows that they change."""
    if logs_cascades(source):
        return []
    cascades = cascades_among(tables)
    return [*map(_direct, cascades), *_of_ancestors(cascades)]


def _direct(cascade: Cascade) -> Cascade:
    """A table that is copied whole is reached by every event of each ancestor, so nothing is left to follow."""
    return replace(cascade, parent_follows=False, parent_key_follows=False) if cascade.child.whole else cascade


def _of_ancestors(cascades: Sequence[Cascade]) -> Iterator[Cascade]:
    """For each table that is copied whole: the constraints by which a cascade comes to one of its parents."""
    for child in dict.fromkeys(one.child for one in cascades if one.child.whole):
        reached = [one for one in cascades if one.child is child]
        for below in reached:
            if below.parent_follows:
                reached += [one for one in cascades if one.child is below.parent and one not in reached]
        for above in reached:
            if above.child is not child:
                yield Cascade(above.name, above.parent, child, above.referenced)


def cascades_among(tables: Iterable[Table]) -> list[Cascade]:
    """The cascades between these tables."""
    found = list(_found(list(tables)))
    deleted = {child for key, _, child in found if key.on_delete not in _KEEP and not _nulls(key.on_delete)}
    moved = _moved(found)
    cascades = []
    for key, parent, child in found:
        pairs = _columns(key, child, parent)
        referenced = tuple(theirs for _, theirs in pairs)
        moves = key.on_update not in _KEEP and not moved.get(parent, set()).isdisjoint(referenced)
        cascades.append(
            Cascade(
                *(key.name, parent, child, referenced, tuple(ours for ours, _ in pairs)),
                sets_null=_nulls(key.on_delete) or _nulls(key.on_update),
                parent_follows=moves or (key.on_delete not in _KEEP and parent in deleted),
                parent_key_follows=moves,
            )
        )
    return cascades


_KEEP = ("RESTRICT", "NO ACTION")


def _nulls(action: str) -> bool:
    return action in ("SET NULL", "SET DEFAULT")


def _moved(found: Iterable[tuple[ForeignKey, Table, Table]]) -> Mapping[Table, set[Column]]:
    """Columns of each child whose values cascades may change, and those that are computed from them."""
    names: dict[Table, set[str]] = {}
    for key, _, child in found:
        if key.on_update not in _KEEP or _nulls(key.on_delete):
            names.setdefault(child, set()).update(ours for ours, _ in key.columns)
    return {
        table: {
            column
            for column in table.columns
            if column.name.lower() in computed_from(table.definition, table.source, changed)
        }
        for table, changed in names.items()
    }


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
