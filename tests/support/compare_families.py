"""Independently checks whether a table of MariaDB holds the rows of a table of MySQL, or the other way round.

Like ``compare``, of which this uses the reading of tables only: rows are fetched and compared here, numbers as numbers,
because no function of both servers prints all values alike.
"""

import contextlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tests.support.compare import Comparable, Compared, _connected, _quoted, _Side, _tables

_NUMBERS = ("float", "double")
_PRINTED = (
    "tinyint",
    "smallint",
    "mediumint",
    "int",
    "bigint",
    "decimal",
    "date",
    "time",
    "datetime",
    "timestamp",
    "year",
)
_FROM = {
    "json": "longtext",
    "uuid": "char",
    "inet6": "varchar",
    "inet4": "varchar",
    "geomcollection": "geometrycollection",
}
_LENGTHS = {"uuid": 36, "inet6": 39, "inet4": 15}
_SHOWN = 5


def assert_same_across(
    source: Comparable, target: Comparable, schema: str, *, except_for: Sequence[str] = (), definitions: bool = True
) -> Compared:
    """Fail unless the target has the same tables, with columns that mean the same, and the same rows."""
    expected, found = _tables(source, schema) - set(except_for), _tables(target, schema)
    assert expected == found, f"tables differ: {sorted(expected ^ found)}"
    rows = 0
    with contextlib.closing(_connected(source)) as one, contextlib.closing(_connected(target)) as other:
        for name in sorted(expected):
            left, right = _Side("source", one, schema, name), _Side("target", other, schema, name)
            left.describe()
            right.describe()
            assert not definitions or _outline(left) == _outline(right), f"{name}: {_outline(left) ^ _outline(right)}"
            assert list(left.columns) == list(right.columns)
            ours, theirs = _rows(left), _rows(right)
            lost, gained = ours - theirs, theirs - ours
            differ = lost or gained
            assert not differ, f"{name}: {_shown(lost)} only on the source, {_shown(gained)} on the target"
            rows += ours.total()
    return Compared(len(expected), rows)


def _outline(side: _Side) -> set[tuple[object, ...]]:
    columns = side.query(
        "SELECT COLUMN_NAME, DATA_TYPE, CHARACTER_SET_NAME, "
        "IF(DATA_TYPE IN ('char', 'varchar'), CHARACTER_MAXIMUM_LENGTH, NULL), IS_NULLABLE, "
        "IF(DATA_TYPE IN ('binary', 'varbinary', 'bit'), COLUMN_TYPE, NULL), COLUMN_TYPE LIKE '%%unsigned%%', "
        "IF(DATA_TYPE = 'decimal', CONCAT(NUMERIC_PRECISION, ',', NUMERIC_SCALE), DATETIME_PRECISION), "
        "EXTRA LIKE '%%auto_increment%%', EXTRA LIKE '%%invisible%%' "
        "FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (side.schema, side.name),
    )
    indexes = side.query(
        "SELECT INDEX_NAME, NON_UNIQUE, SEQ_IN_INDEX, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS "
        "WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        (side.schema, side.name),
    )
    charsets = {"json": "utf8mb4", "uuid": "ascii", "inet6": "ascii", "inet4": "ascii"}
    renamed = {"utf8": "utf8mb3"}
    return {
        *(
            (
                name,
                _FROM.get(kind, kind),
                charsets.get(kind, renamed.get(charset, charset)),
                _LENGTHS.get(kind, n),
                *rest,
            )
            for name, kind, charset, n, *rest in columns
        ),
        *indexes,
    }


def _rows(side: _Side) -> Counter[tuple[object, ...]]:
    kinds = dict(
        side.query(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
            (side.schema, side.name),
        )
    )
    found = side.query(side._rows_select(*(_read(_quoted(name), kinds[name], side.mariadb) for name in side.columns)))
    numbers = [at for at, name in enumerate(side.columns) if kinds[name] in _NUMBERS]
    return Counter(_plain(row, numbers) for row in found)


def _plain(row: tuple[Any, ...], numbers: Sequence[int]) -> tuple[object, ...]:
    values = list(row)
    for at in numbers:
        values[at] = None if values[at] is None else float(values[at])
    return tuple(values)


def _read(column: str, kind: str, mariadb: bool) -> str:
    if kind in _NUMBERS:
        return f"CONCAT({column} * 1e0)" if mariadb else f"CAST(CAST({column} * 1e0 AS JSON) AS CHAR)"
    if kind == "bit":
        return f"CAST({column} AS UNSIGNED)"
    if kind in ("enum", "set"):
        return f"CONCAT(CAST({column} AS UNSIGNED), ':', HEX({column}))"
    if kind in ("json", "uuid", "inet6", "inet4"):
        return f"SHA2(CAST({column} AS CHAR CHARACTER SET utf8mb4), 256)"
    if kind in _PRINTED:
        return f"CAST({column} AS CHAR)"
    return f"SHA2({column}, 256)"


def _shown(rows: Counter[tuple[object, ...]]) -> str:
    return f"{rows.total()} rows ({list(rows)[:_SHOWN]})"
