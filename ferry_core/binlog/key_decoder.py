"""Renders raw key bytes of a row image as SQL literals that find exactly that row by the key's index. Used by
``tracked``.

The change buffer keeps raw bytes and asks for literals only when it flushes. A literal must compare equal to the column
whatever the session's collation_connection is (binary or utf8mb4). Text carries its character set as introducer, and
the column's collation decides. ENUM, SET and BIT are compared by number, FLOAT as the double that it is.
"""

import struct
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import IPv4Address
from itertools import groupby

from ferry_core.binlog.sink import KeyDecoder
from ferry_core.binlog.table_map import BIT, ENUM, NEWDECIMAL, SET, STRING, WireColumn, decimal_bytes
from ferry_core.errors import DataError
from ferry_core.mysql.literals import binary
from ferry_core.reasons import Reason
from ferry_core.tables.table import Column, KeyLiterals

_Literal = Callable[[bytes], str]
_INTEGERS = {1, 2, 3, 8, 9}
_TEXT_OR_BYTES = {15, 253, STRING, 252, 249, 250, 251}
_LONGEST_FIXED = 15
"""Most digits before the point, and most zeros after it, for which servers print a double without an exponent."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def key_decoder(columns: Sequence[Column], wire: Sequence[WireColumn]) -> KeyDecoder:
    """The decoder for one table under one table map."""
    parts = [(_literal(column, kind), kind.width, kind.prefix) for column, kind in zip(columns, wire, strict=True)]

    def decode(raw: bytes) -> KeyLiterals:
        at = 0
        literals = []
        for literal, width, prefix in parts:
            size = int.from_bytes(raw[at : at + prefix], "little") if prefix else width
            at += prefix
            literals.append(literal(raw[at : at + size]))
            at += size
        if at != len(raw):
            raise AssertionError(f"{len(raw)} bytes of a key that has {at}")
        return tuple(literals)

    return decode


def _literal(column: Column, wire: WireColumn) -> _Literal:  # noqa: PLR0911 - one family of types a line
    kind = wire.type
    if column.data_type in _BY_NAME:
        return _BY_NAME[column.data_type]
    if kind in _INTEGERS:
        signed = not column.unsigned
        return lambda raw: str(int.from_bytes(raw, "little", signed=signed))
    if kind in (ENUM, SET):
        # Unsigned, like `s | 0`, by which tables.predicates compares long SETs: the 64th member is 2^63.
        return lambda raw: str(int.from_bytes(raw, "little"))
    if kind == BIT:
        return lambda raw: str(int.from_bytes(raw, "big"))
    if kind in _TEXT_OR_BYTES:
        return _string(column, wire)
    if kind == NEWDECIMAL:
        precision, scale = wire.meta
        return lambda raw: _decimal(raw, precision, scale)
    if kind in _WITH_FRACTION:
        digits, render = wire.meta[0], _WITH_FRACTION[kind]
        return lambda raw: render(raw, digits)
    if kind in _FLOATING:
        form, spelled = _FLOATING[kind], _one_spelling if column.crosses else _double
        return lambda raw: spelled(struct.unpack(form, raw)[0])
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    raise DataError(
        Reason.KEY_TYPE_UNKNOWN,
        f"key column {column.name} of type {column.column_type} comes in the binlog as wire type {kind}, "
        "which cannot be a key here",
    )


def _string(column: Column, wire: WireColumn) -> _Literal:
    if column.charset not in (None, "binary"):
        introducer = column.introducer
        return lambda raw: f"{introducer}0x{raw.hex()}" if raw else f"{introducer}''"
    if wire.type == STRING:  # BINARY(n) is logged without its trailing zeros
        length = wire.meta[0] | wire.meta[1] << 8
        return lambda raw: binary(raw.ljust(length, b"\0"))
    return binary


def _shortest(value: float) -> tuple[str, str, int]:
    """Sign, shortest digits for this double, and how many of them are before the point."""
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)  # a table cannot hold infinity
    minus = "-" if sign and value else ""  # SQL treats -0 as 0
    return minus, "".join(map(str, digits)), len(digits) + exponent


def _double(value: float) -> str:
    """With an exponent where the servers print one."""
    minus, digits, point = _shortest(value)
    if -_LONGEST_FIXED < point <= _LONGEST_FIXED or not value:
        return f"{minus}{Decimal(digits).scaleb(point - len(digits)):f}e0"
    return f"{minus}{digits[0]}{'.' + digits[1:] if digits[1:] else ''}e{point - 1}"


def _one_spelling(value: float) -> str:
    """For both families, like that of ``codecs``."""
    minus, digits, point = _shortest(value)
    return f"{minus}0.{digits}e{point}" if value else "0e0"


def _decimal(raw: bytes, precision: int, scale: int) -> str:
    """Packed decimal: groups of nine digits in four bytes.

    The first bit is set for positive values; negative values have all bits flipped.
    """
    negative = not raw[0] & 0x80
    bits = bytes(byte ^ 0xFF for byte in raw) if negative else raw
    bits = bytes([bits[0] ^ 0x80]) + bits[1:]
    whole = precision - scale
    sizes = [whole % 9] * (whole % 9 > 0) + [9] * (whole // 9) + [9] * (scale // 9) + [scale % 9] * (scale % 9 > 0)
    digits, at = "", 0
    for size in sizes:
        width = decimal_bytes(size)
        digits += str(int.from_bytes(bits[at : at + width], "big")).zfill(size)
        at += width
    left, right = digits[:whole].lstrip("0") or "0", digits[whole:]
    return f"{'-' if negative else ''}{left}{'.' if right else ''}{right}"


def _year(raw: bytes) -> str:
    return str(1900 + raw[0]) if raw[0] else "0"


def _date(raw: bytes) -> str:
    value = int.from_bytes(raw, "little")
    return f"'{value >> 9:04}-{value >> 5 & 15:02}-{value & 31:02}'"


def _point(raw: bytes, digits: int) -> str:
    """The fraction of a temporal value: two digits per byte."""
    return "." + str(int.from_bytes(raw, "big")).zfill((digits + 1) // 2 * 2)[:digits] if digits else ""


def _timestamp2(raw: bytes, digits: int) -> str:
    seconds = int.from_bytes(raw[:4], "big")
    if not seconds and not any(raw[4:]):
        return f"'0000-00-00 00:00:00{_point(raw[4:], digits)}'"
    return f"'{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}{_point(raw[4:], digits)}'"


def _datetime2(raw: bytes, digits: int) -> str:
    value = int.from_bytes(raw[:5], "big") - 0x8000000000
    months, day = value >> 22, value >> 17 & 31
    clock = f"{value >> 12 & 31:02}:{value >> 6 & 63:02}:{value & 63:02}"
    return f"'{months // 13:04}-{months % 13:02}-{day:02} {clock}{_point(raw[5:], digits)}'"


def _time2(raw: bytes, digits: int) -> str:
    """One big-endian number, offset so that negative times sort before positive ones."""
    bits = 8 * len(raw)
    value = int.from_bytes(raw, "big") - (1 << bits - 1)
    sign, value = ("-", -value) if value < 0 else ("", value)
    fraction_bits = bits - 24
    clock = value >> fraction_bits
    fraction = (value & ((1 << fraction_bits) - 1)).to_bytes(fraction_bits // 8, "big")
    return f"'{sign}{clock >> 12 & 1023:02}:{clock >> 6 & 63:02}:{clock & 63:02}{_point(fraction, digits)}'"


def _old_timestamp(raw: bytes) -> str:
    return _timestamp2(raw[::-1], 0)


def _old_datetime(raw: bytes) -> str:
    text = str(int.from_bytes(raw, "little")).zfill(14)
    return f"'{text[:4]}-{text[4:6]}-{text[6:8]} {text[8:10]}:{text[10:12]}:{text[12:]}'"


def _old_time(raw: bytes) -> str:
    value = int.from_bytes(raw, "little", signed=True)
    text = str(abs(value)).zfill(6)
    return f"'{'-' if value < 0 else ''}{text[:-4]}:{text[-4:-2]}:{text[-2:]}'"


def _mariadb_uuid(raw: bytes) -> str:
    """MariaDB may store versions 1 to 7 of variant 1 with reversed time fields, so that they sort by time."""
    raw = raw.ljust(16, b"\0")
    if raw[6] & 0x80 and 0 < raw[8] >> 4 < 6:
        raw = raw[12:16] + raw[10:12] + raw[8:10] + raw[6:8] + raw[:6]
    return f"_utf8mb4'{uuid.UUID(bytes=raw)}'"


def _inet6(raw: bytes) -> str:
    """As MariaDB prints it: the longest run of zero words is left out, even a single one, and IPv4 in the last two
    words is printed as such.
    """
    raw = raw.ljust(16, b"\0")
    words = [int.from_bytes(raw[at : at + 2], "big") for at in range(0, 16, 2)]
    runs = [(len(list(same)), bool(zero)) for zero, same in groupby(words, key=lambda word: word == 0)]
    longest = max((length for length, zero in runs if zero), default=0)
    start = 0
    for length, zero in runs:
        if zero and length == longest:
            break
        start += length
    v4 = start == 0 and (longest == 6 or (longest == 5 and words[5] == 0xFFFF))
    texts = [f"{word:x}" for word in words]
    if v4:
        texts[6:] = [str(IPv4Address(raw[12:]))]
    if longest:
        texts = [":".join(texts[:start]), ":".join(texts[start + longest :])]
    return f"_utf8mb4'{('::' if longest else ':').join(texts)}'"


_BY_NAME: dict[str, _Literal] = {
    "uuid": _mariadb_uuid,
    "inet6": _inet6,
    "inet4": lambda raw: f"_utf8mb4'{IPv4Address(raw.ljust(4, bytes(1)))}'",
}
_FLOATING = {4: "<f", 5: "<d"}
_BY_TYPE: dict[int, _Literal] = {
    7: _old_timestamp,
    10: _date,
    11: _old_time,
    12: _old_datetime,
    13: _year,
    14: _date,
}
_WITH_FRACTION: dict[int, Callable[[bytes, int], str]] = {17: _timestamp2, 18: _datetime2, 19: _time2}
