"""Parses TABLE_MAP events: the layout of each column in the row images that follow. Called by ``transactions`` once per
statement.

Only the width of a value matters, not its meaning: columns outside the key are skipped.
"""

from typing import NamedTuple

from ferry_core.binlog.events import unreadable
from ferry_core.tables.table import TableName

_FIXED = {1: 1, 2: 2, 3: 4, 6: 0, 7: 4, 8: 8, 9: 3, 10: 3, 11: 3, 12: 8, 13: 1, 14: 3, 244: 1}
_FLOATS = {4, 5}  # the metadata is the width
_BLOBS = {242, 245, 249, 250, 251, 252, 255, 140}  # vector, json, blobs, geometry, MariaDB's compressed blob
_VARCHARS = {15, 253, 141}  # 141 is MariaDB's compressed varchar
_WITH_FRACTION = {17: 4, 18: 5, 19: 3}  # timestamp2, datetime2, time2: the metadata is the number of fraction digits
BIT, JSON, NEWDECIMAL, ENUM, SET, STRING = 16, 245, 246, 247, 248, 254
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)


class WireColumn(NamedTuple):
    """``width`` bytes if ``prefix`` is 0; otherwise a little-endian length of ``prefix`` bytes, followed by that many
    bytes.
    """

    type: int  # here ENUM and SET are distinguished from STRING
    meta: tuple[int, int]
    width: int
    prefix: int
    nullable: bool


class TableMap(NamedTuple):
    """A parsed TABLE_MAP."""

    name: TableName
    columns: tuple[WireColumn, ...]


def decimal_bytes(digits: int) -> int:
    """Bytes of a run of decimal digits in MySQL's packed form: nine take four."""
    return digits // 9 * 4 + _DIGIT_BYTES[digits % 9]


def length_encoded(data: bytes, at: int) -> tuple[int, int]:
    """A protocol integer, and the offset after it."""
    first = data[at]
    if first < 251:
        return first, at + 1
    size = {252: 2, 253: 3, 254: 8}[first]
    return int.from_bytes(data[at + 1 : at + 1 + size], "little"), at + 1 + size


def table_name(data: bytes) -> tuple[TableName, int]:
    """Name, and the offset of the column count."""
    try:
        schema_end = 29 + data[28]
        name_at = schema_end + 2
        name_end = name_at + data[schema_end + 1]
        return TableName(data[29:schema_end].decode(), data[name_at:name_end].decode()), name_end + 1
    except (IndexError, UnicodeDecodeError) as error:
        raise unreadable(f"a malformed TABLE_MAP event ({error})") from error


def parse_table_map(data: bytes, end: int) -> TableMap:
    """Parse the whole event. What MySQL adds after the null bitmap (names, signs, charsets) is optional and ignored."""
    try:
        name, at = table_name(data)
        count, at = length_encoded(data, at)
        types = data[at : at + count]
        meta_size, at = length_encoded(data, at + count)
        meta_end = at + meta_size
        nulls = int.from_bytes(data[meta_end : meta_end + (count + 7) // 8], "little")
        columns = []
        for index, kind in enumerate(types):
            column, at = _column(kind, data, at, bool(nulls >> index & 1))
            columns.append(column)
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise unreadable(f"a malformed TABLE_MAP event ({error})") from error
    if at != meta_end or meta_end + (count + 7) // 8 > end:
        raise unreadable(f"a TABLE_MAP event of {name} whose metadata is of an unknown form")
    return TableMap(name, tuple(columns))


def _column(kind: int, data: bytes, at: int, nullable: bool) -> tuple[WireColumn, int]:  # noqa: PLR0911 - one family of types a line
    if kind in _FIXED:
        return WireColumn(kind, (0, 0), _FIXED[kind], 0, nullable), at
    first = data[at]
    if kind in _FLOATS:
        return WireColumn(kind, (first, 0), first, 0, nullable), at + 1
    if kind in _BLOBS:
        return WireColumn(kind, (first, 0), 0, first, nullable), at + 1
    if kind in _WITH_FRACTION:
        return WireColumn(kind, (first, 0), _WITH_FRACTION[kind] + (first + 1) // 2, 0, nullable), at + 1
    meta = (first, data[at + 1])
    if kind in _VARCHARS:
        longest = first | meta[1] << 8
        return WireColumn(kind, meta, 0, 1 if longest < 256 else 2, nullable), at + 2
    if kind == BIT:
        return WireColumn(kind, meta, meta[1] + (first > 0), 0, nullable), at + 2
    if kind == NEWDECIMAL:
        width = decimal_bytes(first - meta[1]) + decimal_bytes(meta[1])
        return WireColumn(kind, meta, width, 0, nullable), at + 2
    if kind == STRING:
        return _string(meta, nullable), at + 2
    raise unreadable(f"a column of wire type {kind}")


def _string(meta: tuple[int, int], nullable: bool) -> WireColumn:
    """CHAR, BINARY, ENUM and SET: the metadata contains the real type, mixed with the upper bits of the length."""
    real, length = meta
    if real & 0x30 != 0x30:
        length |= ((real & 0x30) ^ 0x30) << 4
        real |= 0x30
    if real in (ENUM, SET):
        return WireColumn(real, meta, length, 0, nullable)
    return WireColumn(STRING, (length & 0xFF, length >> 8), 0, 1 if length < 256 else 2, nullable)
