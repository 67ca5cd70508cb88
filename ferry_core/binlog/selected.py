"""Tables that one connection's stream follows now, and which of their transactions to ignore.

``transactions`` owns it and asks between two transactions whether the set of tables has changed, and whether some table
already has the next transaction (``Followed.counts_from``). Both cost the same for any number of tables.
"""

from typing import TYPE_CHECKING, Generic, TypeAlias

from ferry_core.binlog import unresumable
from ferry_core.binlog.elsewhere import Elsewhere
from ferry_core.binlog.events import Statement
from ferry_core.binlog.followed import FollowedTables, M
from ferry_core.binlog.outside import OutsideParent, outside_parents
from ferry_core.binlog.sink import StreamMark
from ferry_core.binlog.table_map import parse_table_map, table_name
from ferry_core.binlog.tracked import TrackedTable
from ferry_core.mysql.gtid import MariaDbGtids, Position
from ferry_core.schema.definition import cascading_parents
from ferry_core.schema.selected_names import SelectedNames
from ferry_core.schema.statements import StatementEffect, effect_on
from ferry_core.tables.table import TableName

if TYPE_CHECKING:
    from collections.abc import Collection

Tracked: TypeAlias = TrackedTable[M] | OutsideParent[M]


class Selected(Generic[M]):
    """``folds``: the source ignores the case of names."""

    def __init__(self, tables: FollowedTables[M], processed: StreamMark, *, folds: bool) -> None:
        self._tables = tables
        self._folds = folds
        self.late: list[M] = []
        """Tables for which some transactions still to come must be ignored."""
        self._skipped: Collection[M] = ()
        self._tracked: dict[bytes, Tracked[M] | None] = {}
        self._look(processed)

    def changed(self, processed: StreamMark) -> bool:
        """Reload the set of tables if it has changed. Call between two transactions only."""
        if self._version == self._tables.version:
            return False
        self._look(processed)
        return True

    def _look(self, processed: StreamMark) -> None:
        self._version = self._tables.version
        followed = self._tables.followed(processed)
        self._names = SelectedNames([one.table.source for one in followed], fold=self._folds)
        self._schemas = {schema for schema, _ in self._names.by_name}
        self._by_name = {self._folded(one.table.source): one for one in followed}
        self._parents = cascading_parents([one.table for one in followed])
        self._outside = {self._folded(name): child for name, child in outside_parents(followed).items()}
        self._tracked.clear()
        self._skipped = ()
        self.late = [one for one in followed if one.counts_from is not None]

    def skip(self, alone: StreamMark, processed: StreamMark) -> None:
        """A transaction begins, ``alone`` in its mark: find the tables of ``late`` that must ignore it."""
        self.late = [one for one in self.late if one.counts_from and not _passed(one.counts_from, alone, processed)]
        self._skipped = [one for one in self.late if one.counts_from and one.counts_from.contains(alone)]

    def _folded(self, name: TableName) -> TableName:
        return TableName(name.schema.lower(), name.name.lower()) if self._folds else name

    def named(self, name: TableName) -> M:
        return self._by_name[self._folded(name)]

    def tracked(self, data: bytes, end: int, position: Position) -> Tracked[M] | None:
        """The table of a table map. None if its events do not matter, or it ignores this transaction."""
        if self._skipped and self._by_name.get(self._folded(table_name(data)[0])) in self._skipped:
            return None  # not checked: the table may have had another definition then
        body = data[28:end]
        if body not in self._tracked:
            self._tracked[body] = self._track(data, end, mariadb=isinstance(position, MariaDbGtids))
        return self._tracked[body]

    def _track(self, data: bytes, end: int, *, mariadb: bool) -> Tracked[M] | None:
        name, _ = table_name(data)
        followed = self._by_name.get(self._folded(name))
        if followed is None:
            child = None if mariadb else self._outside.get(self._folded(name))
            return None if child is None else OutsideParent(name, child)
        parsed = parse_table_map(data, end)
        if followed.shape is None:
            followed.shape = parsed.columns
        if followed.shape != parsed.columns:
            raise unresumable.other_shape(followed.table, "its events have other columns than before")
        children = [
            (self._by_name[self._folded(cascade.child.source)], cascade)
            for cascade in self._tables.cascades
            if cascade.parent.source == followed.table.source
        ]
        logged = not mariadb and not children and followed.table.source in self._parents
        return TrackedTable(followed, parsed, mariadb=mariadb, cascades=logged, children=children)

    def effect_of(self, statement: Statement) -> StatementEffect:
        """The effect of a statement on the tables for which the transaction counts."""
        effect = effect_on(statement.text, statement.default_schema, self._names)
        skipped = {one.table.source for one in self._skipped}
        if skipped.isdisjoint(effect.tables):
            return effect
        # Without them it may still be something else than nothing: MySQL's CREATE TABLE ... SELECT is also a BEGIN.
        counting = [name for name in self._names.by_name.values() if name not in skipped]
        return effect_on(statement.text, statement.default_schema, SelectedNames(counting, fold=self._folds))

    def spared(self, effect: StatementEffect, statement: Statement, elsewhere: Elsewhere | None) -> bool:
        """Whether a statement that was logged in place of rows is known to have changed none of a selected table."""
        touched = statement.touched
        if touched is not None and self._schemas.isdisjoint(map(str.lower, touched) if self._folds else touched):
            return True
        if effect.tables or elsewhere is None:
            return False
        return elsewhere.spared(statement, frozenset(self._names.by_name.values()))


def _passed(mark: StreamMark, alone: StreamMark, processed: StreamMark) -> bool:
    """Whether the stream is past ``mark`` when the transaction ``alone`` begins."""
    placed = mark.place is not None and alone.place is not None
    return not mark.contains(alone) if placed else processed.contains(mark)
