"""Tells which column a plain row filter compares with constants, so that an index over it finds the rows.

Only filters that both families evaluate by a range of such an index count: ``column = 42`` and ``column IN ('a', 'b')``
with constants of the column's kind. Any other filter is correct too, but its rule has to name the index. Used by
``discovery``.
"""

import re
from collections.abc import Sequence

from ferry_core.tables.table import Column, unquoted

_NUMBER = r"[+-]?\d+(?:\.\d+)?"
_STRING = r"'(?:[^'\\]|'')*'"


def _plain(constant: str) -> re.Pattern[str]:
    name = r"(`(?:[^`]|``)+`|[A-Za-z_$\u0080-\U0010ffff][\w$]*)"
    return re.compile(
        rf"\s*{name}\s*(?:=\s*{constant}|\bIN\s*\(\s*{constant}(?:\s*,\s*{constant})*\s*\))\s*", re.IGNORECASE
    )


_NUMBERS, _STRINGS = _plain(_NUMBER), _plain(_STRING)
_NUMERIC = {"tinyint", "smallint", "mediumint", "int", "bigint", "decimal"}
_COMPARED_AS_TEXT = {"char", "varchar", "date", "datetime", "timestamp"}


def compared_column(columns: Sequence[Column], row_filter: str) -> str:
    """The column's name; empty for other filters. A text is not compared with a number by an index."""
    for pattern, types in ((_NUMBERS, _NUMERIC), (_STRINGS, _NUMERIC | _COMPARED_AS_TEXT)):
        if found := pattern.fullmatch(row_filter):
            name = unquoted(found[1]).lower()
            return next((each.name for each in columns if each.name.lower() == name and each.data_type in types), "")
    return ""
