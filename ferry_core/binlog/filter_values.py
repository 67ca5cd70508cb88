"""The values that row events show of the columns that a table's row filter names. Used by ``tracked``.

The server evaluates the filter of values alone (``condition_of``), so only types whose values are the same in a row and
as a literal are taken: integers, and text with its collation.
"""

import re
from collections.abc import Sequence

from ferry_core.binlog.events import PARTIAL_UPDATE_ROWS
from ferry_core.binlog.key_decoder import key_decoder
from ferry_core.binlog.table_map import WireColumn
from ferry_core.binlog.walker import NullInKey, Walker, compiled, double_image_source, single_image_source
from ferry_core.mysql.literals import identifier
from ferry_core.tables.table import Column, KeyLiterals, Table

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
_TEXT = frozenset({"char", "varchar"})
_EXACT = 1 << 53
"""A server compares an integer with text as doubles; below this they are exact."""


def filter_columns(table: Table) -> Sequence[Column]:
    """The columns that the filter may depend on; empty if its value cannot be told from theirs alone."""
    text = table.row_filter or ""
    named = [column for column in table.columns if _names(text, column.name)]
    return named if all(map(_plain, named)) else ()


def _names(text: str, name: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text, re.IGNORECASE) is not None


def _plain(column: Column) -> bool:
    text = column.data_type in _TEXT and column.collation not in (None, "binary")
    number = column.data_type in _INTEGERS and "zerofill" not in column.column_type
    return not column.generated and (text or number)


def condition_of(table: Table, values: KeyLiterals) -> str:
    """A query for whether the filter selects a row with these values. Empty: they do not tell."""
    parts = []
    for column, literal in zip(filter_columns(table), values, strict=True):
        if column.data_type in _INTEGERS and abs(int(literal)) >= _EXACT:
            return ""
        typed = f"CAST({literal} AS {'UNSIGNED' if column.unsigned else 'SIGNED'})"
        if column.data_type in _TEXT:
            typed = f"{literal} COLLATE {column.collation}"
        parts.append(f"{typed} AS {identifier(column.name)}")
    # On its own line, so that a comment in the filter ends with the filter.
    return f"SELECT (\n{table.row_filter}\n) FROM (SELECT {', '.join(parts)}) AS one_row" if parts else ""


class FilterValues:
    """Of one table under one table map. Compiles a walker when a shape of an event first occurs."""

    def __init__(self, table: Table, columns: Sequence[WireColumn]) -> None:
        self._columns = columns
        named = filter_columns(table)
        self._ordinals = [column.ordinal for column in named]
        self._decode = key_decoder(named, [columns[ordinal] for ordinal in self._ordinals])
        self._walkers: dict[bytes, Walker | None] = {}

    def of(
        self, shape: bytes, present: Sequence[Sequence[int]], data: bytes, start: int, end: int
    ) -> frozenset[KeyLiterals] | None:
        """Of all rows of the event, before and after. None: the images do not show them. ``present``: columns of each
        image of a row.
        """
        if shape not in self._walkers:
            self._walkers[shape] = self._compile(shape, present)
        walker = self._walkers[shape]
        if walker is None:
            return None
        try:
            return frozenset(map(self._decode, set(walker(data, start, end))))
        except NullInKey:
            return None

    def _compile(self, shape: bytes, present: Sequence[Sequence[int]]) -> Walker | None:
        if not self._ordinals or not set(self._ordinals) <= set(present[0]):
            return None
        if len(present) == 1:
            return compiled(single_image_source(self._columns, self._ordinals, present[0]))
        partial = shape[0] == PARTIAL_UPDATE_ROWS
        return compiled(double_image_source(self._columns, self._ordinals, *present, partial=partial))
