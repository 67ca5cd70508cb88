"""The values in a parent's row events that rows of a cascade's child reference.

They are taken from the row images, not from the parent's rows: these may be gone on both servers. ``tracked`` uses one
``ReferencedValues`` for each cascade and table map.
"""

from collections.abc import Sequence

from ferry_core.binlog import unresumable
from ferry_core.binlog.key_decoder import key_decoder
from ferry_core.binlog.table_map import WireColumn
from ferry_core.binlog.walker import Walker, changed_values_source, compiled, values_source
from ferry_core.schema.cascades import Cascade, Reference


class ReferencedValues:
    """Compiled lazily, like the walkers of keys."""

    def __init__(self, cascade: Cascade, columns: Sequence[WireColumn]) -> None:
        self.cascade = cascade
        self._columns = columns
        self._ordinals = [column.ordinal for column in cascade.referenced]
        self._decode = key_decoder(cascade.referenced, [columns[ordinal] for ordinal in self._ordinals])
        self._walkers: dict[bytes, Walker | None] = {}

    def single(self, shape: bytes, present: Sequence[int]) -> Walker | None:
        """The walker for inserts and deletes; None: these rows can have no children."""
        if shape not in self._walkers:
            self._refuse_missing(present)
            self._walkers[shape] = compiled(values_source(self._columns, self._ordinals, present))
        return self._walkers[shape]

    def changed(self, shape: bytes, before: Sequence[int], after: Sequence[int]) -> Walker | None:
        """The walker for updates, which returns the old and the new values of rows in which they differ. None: no row
        of the event can be such a row.
        """
        if shape not in self._walkers:
            walker = None
            if not set(self._ordinals).isdisjoint(after):
                self._refuse_missing(before)
                walker = compiled(changed_values_source(self._columns, self._ordinals, before, after))
            self._walkers[shape] = walker
        return self._walkers[shape]

    def _refuse_missing(self, present: Sequence[int]) -> None:
        for column in self.cascade.referenced:
            if column.ordinal not in present:
                raise unresumable.incomplete_image(self.cascade.parent, column.name)

    def references(self, values: Sequence[bytes]) -> list[Reference]:
        """``values`` are a walker's."""
        return [Reference(self.cascade, self._decode(value)) for value in dict.fromkeys(values)]
