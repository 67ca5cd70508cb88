"""Control events from bytes: real ones of both families, and any other bytes."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.binlog import events
from ferry_core.binlog.events import Gtid, MariaDbTransaction, Prepared, Statement, Varlen
from ferry_core.errors import DataError

HEADER = bytes(20)
# Bodies as MySQL 9.7 and MariaDB 10.11 sent them, checksums cut off.
TAGGED = bytes.fromhex(
    "027200000002d4b24102a9029903f90322c50361022204f1030000000204080608626c756508080a100c7fd9c186d5ea60061029041283120b"
)
MARIADB_XA = bytes.fromhex("0300000000000000000000004c070000000101787901ff")


def test_tagged_gtid() -> None:
    source = "6a5990aa-e6fe-11f1-9811-02fc00000001:blue"
    data = HEADER + TAGGED
    assert events.parse_tagged_gtid(data, len(data)) == Gtid(source, 2, 1795411581.256153)


def test_mariadb_gtid_of_an_xa_transaction() -> None:
    data = HEADER + MARIADB_XA
    assert events.parse_mariadb_gtid(data, len(data)) == MariaDbTransaction(0, 3, False, "7,78,79")
    grouped = HEADER + struct.pack("<QIBQ", 9, 5, 0x42, 77) + struct.pack("<iBB", -1, 1, 0) + b"z"
    assert events.parse_mariadb_gtid(grouped, len(grouped)) == MariaDbTransaction(5, 9, False, "-1,7a,")
    alone = HEADER + struct.pack("<QIB", 1 << 63, 1, 1) + bytes(6)
    assert events.parse_mariadb_gtid(alone, len(alone)) == MariaDbTransaction(1, 1 << 63, True, None)


def test_mariadb_gtid_of_an_alter_in_two_phases() -> None:
    """Further flags follow the group commit id, or directly the fixed part; 8 means rolled back."""
    for flags, more, nothing in ((1, 2, True), (3, 2, True), (1, 4, False), (3, 12, True), (1, 1, False)):
        data = HEADER + struct.pack("<QIB", 9, 5, flags) + bytes(8 if flags & 2 else 0) + bytes([more]) + bytes(8)
        assert events.parse_mariadb_gtid(data, len(data)).alters_nothing is nothing
    committed = HEADER + struct.pack("<QIB", 9, 5, 0x81) + struct.pack("<iBB", 2, 1, 0) + b"z"
    assert not events.parse_mariadb_gtid(committed, len(committed)).alters_nothing


def encoded(value: int) -> bytes:
    """An unsigned integer as mysql::serialization writes it."""
    for extra in range(8):
        if value < 1 << (7 * (extra + 1)):
            return (value << extra + 1 | (1 << extra) - 1).to_bytes(extra + 1, "little")
    return b"\xff" + value.to_bytes(8, "little")


@given(st.integers(0, (1 << 64) - 1))
def test_variable_length_integers(value: int) -> None:
    raw = encoded(value)
    reader = Varlen(raw, 0, len(raw))
    assert reader.unsigned() == value
    assert reader.at == len(raw)


def query(text: bytes, schema: bytes = b"", variables: bytes = b"") -> bytes:
    return HEADER + struct.pack("<IIBHH", 1, 0, len(schema), 0, len(variables)) + variables + schema + b"\0" + text


@given(st.text(max_size=50), st.text(max_size=10))
def test_query(text: str, schema: str) -> None:
    data = query(text.encode(), schema.encode())
    assert events.parse_query(data, len(data)) == Statement(text, schema)


@pytest.mark.parametrize(
    ("number", "codec"), [(8, "cp1252"), (28, "gbk"), (45, "utf8"), (255, "utf8"), (13, "sjis"), (0xFFFF, "utf-8")]
)
def test_query_in_the_clients_character_set(number: int, codec: str) -> None:
    variables = b"\0\1\2\3\4" + b"\1" + bytes(8) + b"\6\3std" + b"\3" + bytes(4)
    variables += b"\4" + number.to_bytes(2, "little") + bytes(4) + b"\5\6SYSTEM"
    text = "DROP TABLE ü" if codec in ("cp1252", "utf8") else "DROP TABLE x"
    data = query(text.encode(codec), b"s", variables)
    assert events.parse_query(data, len(data)) == Statement(text, "s")


def test_xa_prepare() -> None:
    data = HEADER + struct.pack("<?iII", True, -1, 2, 1) + b"abc"
    assert events.parse_xa_prepare(data, len(data)) == Prepared("-1,6162,63", True)
    with pytest.raises(DataError):
        events.parse_xa_prepare(data[:-1], len(data) - 1)


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_raise_our_own_error(body: bytes) -> None:
    data = HEADER + body
    for parse in (
        events.parse_gtid,
        events.parse_tagged_gtid,
        events.parse_mariadb_gtid,
        events.parse_query,
        events.parse_xa_prepare,
    ):
        with contextlib.suppress(DataError):
            parse(data, len(data))
