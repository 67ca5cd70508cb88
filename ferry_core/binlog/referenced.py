"""The values in a parent's row events that rows of a cascade's child reference.

They are taken from the row images, not from the parent's rows: these may be gone on both servers. A child that is
copied whole needs no values, only whether there are any. ``tracked`` uses one ``ReferencedValues`` for each cascade and
table map.
"""

from collections.abc import Sequence

from ferry_core.binlog import unresumable
from ferry_core.binlog.events import PARTIAL_UPDATE_ROWS
from ferry_core.binlog.key_decoder import key_decoder
from ferry_core.binlog.table_map import WireColumn
from ferry_core.binlog.walker import Walker, changed_values_source, compiled, values_source
from ferry_core.schema.cascades import Cascade, Reference
from ferry_core.schema.significant import is_versioned


class ReferencedValues:
    """Compiled lazily, like the walkers of keys."""

    def __init__(self, cascade: Cascade, columns: Sequence[WireColumn]) -> None:
        self.cascade = cascade
        self._columns = columns
        self._ordinals = [column.ordinal for column in cascade.referenced]
        self._decode = key_decoder(cascade.referenced, [columns[ordinal] for ordinal in self._ordinals])
        self._walkers: dict[bytes, Walker | None] = {}
        self._hides_deletions = is_versioned(cascade.parent.definition, cascade.parent.source)
        """MariaDB logs the deletion of a row of a system-versioned table as an update of its invisible end."""

    def single(self, shape: bytes, present: Sequence[int]) -> Walker | None:
        """The walker for inserts and deletes; None: these rows can have no children."""
        if shape not in self._walkers:
            known = self._are_in(present)
            source = values_source(self._columns, self._ordinals, present) if known else ""
            self._walkers[shape] = compiled(source) if known else _any_row
        return self._walkers[shape]

    def changed(self, shape: bytes, before: Sequence[int], after: Sequence[int]) -> Walker | None:
        """The walker for updates, which returns the old and the new values of rows in which they differ. None: no row
        of the event can be such a row. A shape begins with the event's kind.
        """
        if shape not in self._walkers:
            self._walkers[shape] = self._changed(before, after, partial=shape[0] == PARTIAL_UPDATE_ROWS)
        return self._walkers[shape]

    def _changed(self, before: Sequence[int], after: Sequence[int], *, partial: bool) -> Walker | None:
        if self._hides_deletions:
            return _any_row
        if set(self._ordinals).isdisjoint(after):
            return None
        if not self._are_in(before):
            return _any_row
        return compiled(changed_values_source(self._columns, self._ordinals, before, after, partial=partial))

    def _are_in(self, present: Sequence[int]) -> bool:
        missing = [column for column in self.cascade.referenced if column.ordinal not in present]
        if missing and not self.cascade.child.whole:
            raise unresumable.incomplete_image(self.cascade.parent, missing[0].name)
        return not missing

    def references(self, values: Sequence[bytes]) -> list[Reference]:
        """``values`` are a walker's."""
        if self.cascade.child.whole:
            return [Reference(self.cascade, ())]
        return [Reference(self.cascade, self._decode(value)) for value in dict.fromkeys(values)]


def _any_row(_data: bytes, _start: int, _end: int) -> list[bytes]:
    """A walker of rows that do not show whether they have children: some may have."""
    return [b""]
