"""Events as servers send them, made by hand: for streams that no healthy server sends."""

import struct
from zlib import crc32

from ferry_core.binlog import events
from ferry_core.binlog.source_errors import StreamLost

UUID = bytes(range(16))


def event(kind: int, body: bytes, *, flags: int = 0, checksum: bool = True, place: int = 0) -> bytes:
    size = 19 + len(body) + 4 * checksum
    raw = struct.pack("<IBIIIH", 1_800_000_000, kind, 7, size, place, flags) + body
    return b"\0" + raw + (crc32(raw).to_bytes(4, "little") if checksum else b"")


def description(*, checksum: bool = True, created: int = 0, in_use: bool = False) -> bytes:
    lengths = bytes([8 if kind in (23, 24, 25) else 10 if kind in (30, 31, 32) else 0 for kind in range(1, 43)])
    body = struct.pack("<H50sIB", 4, b"9.7.0", created, 19) + lengths + bytes([checksum])
    made = event(events.FORMAT_DESCRIPTION, body)
    return made[:18] + bytes([1]) + made[19:] if in_use else made


def gtid(number: int) -> bytes:
    return event(events.GTID, b"\1" + UUID + struct.pack("<Q", number) + bytes(17) + (5_000_000).to_bytes(7, "little"))


def query(text: str) -> bytes:
    return event(events.QUERY, struct.pack("<IIBHH", 1, 0, 4, 0, 0) + b"shop\0" + text.encode())


def table_map(name: str = "t", columns: bytes = b"\x02\x08\x0f\x02\x50\x00\x02") -> bytes:
    return event(
        events.TABLE_MAP, b"\1\0\0\0\0\0\0\0" + b"\4shop\0" + bytes([len(name)]) + name.encode() + b"\0" + columns
    )


def insert(identity: int, kind: int = events.WRITE_ROWS) -> bytes:
    extra = b"\2\0" if kind >= events.WRITE_ROWS else b""
    return event(kind, b"\1\0\0\0\0\0\1\0" + extra + b"\2\3\xfe" + struct.pack("<q", identity))


COMMIT = event(events.XID, bytes(8))


class Replay:
    def __init__(self, packets: list[bytes]) -> None:
        self._packets = iter(packets)

    def next_event(self) -> bytes:
        try:
            return next(self._packets)
        except StopIteration:
            raise StreamLost("ended", "") from None
