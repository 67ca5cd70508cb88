"""A selected table under one table map: its walkers and its key decoder.

Used by ``transactions``, which keeps one ``TrackedTable`` for each distinct table map.
"""

from collections.abc import Iterator, Sequence
from typing import Generic

from ferry_core.binlog import unresumable
from ferry_core.binlog.events import (
    DELETE_ROWS,
    DELETE_ROWS_V1,
    PARTIAL_UPDATE_ROWS,
    UPDATE_ROWS,
    UPDATE_ROWS_V1,
    WRITE_ROWS,
    WRITE_ROWS_V1,
    unreadable,
)
from ferry_core.binlog.filter_values import FilterValues
from ferry_core.binlog.followed import M
from ferry_core.binlog.key_decoder import key_decoder
from ferry_core.binlog.referenced import ReferencedValues
from ferry_core.binlog.table_map import TableMap, length_encoded
from ferry_core.binlog.walker import NullInKey, Walker, compiled, double_image_source, single_image_source
from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.schema.cascades import Cascade, Reference
from ferry_core.schema.significant import is_versioned
from ferry_core.tables.nullable import key_has_null
from ferry_core.tables.table import ALL_ROWS_RAW, KeyLiterals

_WRITES = (WRITE_ROWS, WRITE_ROWS_V1)
_UPDATES = (UPDATE_ROWS, UPDATE_ROWS_V1, PARTIAL_UPDATE_ROWS)
_DELETES = (DELETE_ROWS, DELETE_ROWS_V1)
_CASCADES_TOLD = 0x12
"""Flags: MySQL logged the rows that its cascades changed, or foreign_key_checks=0 kept it from cascading."""
_LONGLONG = 8
_TIMESTAMP2 = 17
_OLD_TEMPORAL = (7, 11, 12)
_V1 = (WRITE_ROWS_V1, UPDATE_ROWS_V1, DELETE_ROWS_V1)


def hides_cascades(kind: int, data: bytes) -> bool:
    """Whether MySQL may not have logged the rows that cascades changed together with the event's."""
    return kind in _UPDATES + _DELETES and not data[26] & _CASCADES_TOLD


class TrackedTable(Generic[M]):
    """Compiles a walker when a column bitmap first occurs; a table has one to a handful."""

    def __init__(
        self,
        followed: M,
        table_map: TableMap,
        *,
        mariadb: bool,
        cascades: bool = False,
        children: Sequence[tuple[M, Cascade]] = (),
    ) -> None:
        """``cascades``: a foreign key changes rows of a selected table together with rows of this one, and the server
        logs them. ``children``: tables whose rows it changes without logging them.
        """
        self.followed = followed
        self.table = table = followed.table
        self.cascades = cascades
        self._children = [(child, ReferencedValues(cascade, table_map.columns)) for child, cascade in children]
        self._columns = table_map.columns
        key = () if table.whole else table.key.columns
        self._key = [column.ordinal for column in key]
        self._check_count(mariadb=mariadb)
        self._check(table_map)
        self._bitmap_bytes = (len(self._columns) + 7) // 8
        self._count_bytes = 1 if len(self._columns) < 251 else 3
        self._walkers: dict[bytes, Walker] = {}
        self._filter = FilterValues(table, table_map.columns)
        self.decode = key_decoder(key, [self._columns[ordinal] for ordinal in self._key])

    def _check_count(self, *, mariadb: bool) -> None:
        """Check the column count.

        After the table's own columns MariaDB adds the hidden hash of a UNIQUE index over long columns, and the hidden
        start and end of a system-versioned table's rows.
        """
        count = len(self.table.columns)
        hidden = self._columns[count:]
        added = {_LONGLONG} if mariadb and self.table.secondary_unique else set()
        if mariadb and hidden and is_versioned(self.table.definition, self.table.source):
            added = {_LONGLONG, _TIMESTAMP2}
        if len(self._columns) < count or not added.issuperset(column.type for column in hidden):
            raise unresumable.other_shape(
                self.table, f"its events have {len(self._columns)} columns, the table {count}"
            )

    def _check(self, table_map: TableMap) -> None:
        for column in self.table.columns:
            if table_map.columns[column.ordinal].type in _OLD_TEMPORAL and "(" in column.column_type:
                raise DataError(
                    Reason.OLD_TEMPORAL_FORMAT,
                    f"column {column.name} of {self.table.id} is a {column.column_type} in the format of "
                    "mysql56_temporal_format=OFF, whose width is not in the binlog; rebuild the table with it ON",
                )
        for column in self.table.key.columns:
            if table_map.columns[column.ordinal].nullable and not column.nullable:
                raise unresumable.other_shape(self.table, f"key column {column.name} may be NULL in its events")

    def keys(self, kind: int, data: bytes, end: int) -> list[bytes]:
        """Raw keys of all rows of one row event; of a table that is moved whole, the one that names all of its rows."""
        if self.cascades and hides_cascades(kind, data):
            raise unresumable.hidden_cascade(self.table.source)
        if self.table.whole:
            return [ALL_ROWS_RAW]
        try:
            at, start = self._images(kind, data)
            shape = data[5:6] + data[at:start]
            walker = self._walkers.get(shape)
            if walker is None:
                walker = self._walkers[shape] = self._compile(kind, data, at)
            return walker(data, start, end)
        except NullInKey:
            raise key_has_null(self.table) from None
        except (IndexError, KeyError, ValueError) as error:
            raise unreadable(f"a row event of {self.table.id} that does not fit its table map ({error})") from error

    def filter_values(self, kind: int, data: bytes, end: int) -> frozenset[KeyLiterals] | None:
        """What the event's images show of the columns of the row filter. Call it after ``keys``."""
        if self.table.row_filter is None or self.table.whole:
            return None
        at, start = self._images(kind, data)
        columns_end = at + self._count_bytes
        places = [columns_end, columns_end + self._bitmap_bytes] if kind in _UPDATES else [columns_end]
        present = [self._present(data, place) for place in places]
        return self._filter.of(data[5:6] + data[at:start], present, data, start, end)

    def references(self, kind: int, data: bytes, end: int) -> Iterator[tuple[M, list[Reference]]]:
        """What rows of other tables may reference that the event's rows had, or have now. Call it after ``keys``."""
        for child, referenced in self._children:
            if kind in _WRITES and not referenced.cascade.parent_follows:
                continue  # nothing references a new row, unless it has an old one's key
            at, start = self._images(kind, data)
            shape, columns_end = data[5:6] + data[at:start], at + self._count_bytes
            first = self._present(data, columns_end)
            if kind in _UPDATES:
                walker = referenced.changed(shape, first, self._present(data, columns_end + self._bitmap_bytes))
            else:
                walker = referenced.single(shape, first)
            if walker is not None and (values := walker(data, start, end)):
                yield child, referenced.references(values)

    def _images(self, kind: int, data: bytes) -> tuple[int, int]:
        """Where the column count and the images begin."""
        at = 28 if kind in _V1 else 28 + (data[28] | data[29] << 8)
        return at, at + self._count_bytes + self._bitmap_bytes * (2 if kind in _UPDATES else 1)

    def _compile(self, kind: int, data: bytes, at: int) -> Walker:
        count, at = length_encoded(data, at)
        if count != len(self._columns):
            raise unreadable(f"a row event of {self.table.id} with {count} columns")
        first = self._present(data, at)
        missing = [column.name for column in self.table.key.columns if column.ordinal not in set(first)]
        if missing and self.table.key.conditional:
            raise key_has_null(self.table, f"an event lacks {missing[0]}, by binlog_row_image")
        if missing:
            raise unresumable.incomplete_image(self.table, missing[0])
        if kind in _UPDATES:
            second = self._present(data, at + self._bitmap_bytes)
            partial = kind == PARTIAL_UPDATE_ROWS
            return compiled(double_image_source(self._columns, self._key, first, second, partial=partial))
        return compiled(single_image_source(self._columns, self._key, first))

    def _present(self, data: bytes, at: int) -> Sequence[int]:
        bits = int.from_bytes(data[at : at + self._bitmap_bytes], "little")
        return [ordinal for ordinal in range(len(self._columns)) if bits >> ordinal & 1]
