"""Decompresses binlog events that the source has compressed. Called by ``transactions``.

MySQL compresses whole transactions (``binlog_transaction_compression``, which a session may set), MariaDB single events
(``log_bin_compress``). Formats: libs/mysql/binlog/event/codecs of MySQL 9.7, sql/log_event.cc of MariaDB 10.11.
"""

import zlib
from collections.abc import Iterator

from ferry_core.binlog import events
from ferry_core.binlog.events import unreadable
from ferry_core.binlog.table_map import length_encoded

_HEADER = 19
_END_OF_FIELDS, _SIZE, _KIND = 0, 1, 2
_ZSTD, _NONE = 0, 255
_MARIADB_KINDS = {
    events.MARIADB_QUERY_COMPRESSED: events.QUERY,
    **dict(zip(events.MARIADB_ROWS_COMPRESSED, (23, 24, 25, 30, 31, 32), strict=True)),
}
_UPDATES = (24, 31)


def transaction(data: bytes, end: int) -> Iterator[bytes]:
    """The events in a TRANSACTION_PAYLOAD, as packets without checksums. They are never all in memory at once."""
    import zstandard

    at, size, kind = 20, 0, _ZSTD
    try:
        while (field := length_encoded(data, at))[0] != _END_OF_FIELDS:
            length, value_at = length_encoded(data, field[1])
            if field[0] in (_SIZE, _KIND):
                number = length_encoded(data, value_at)[0]
                size, kind = (number, kind) if field[0] == _SIZE else (size, number)
            at = value_at + length
        at = field[1]
        payload = data[at : at + size]
        if kind not in (_ZSTD, _NONE) or not 0 < size == len(payload) <= end - at:
            raise unreadable(f"a compressed transaction of kind {kind}")
        if kind == _NONE:
            yield from _split(iter([payload]))
        else:
            yield from _split(zstandard.ZstdDecompressor().read_to_iter(payload))
    except (IndexError, KeyError, zstandard.ZstdError) as error:
        raise unreadable(f"a malformed compressed transaction ({error})") from error


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        at = 0
        while len(held) - at >= _HEADER:
            size = int.from_bytes(held[at + 9 : at + 13], "little")
            if size < _HEADER:
                raise unreadable("a compressed transaction whose events have no size")
            if len(held) - at < size:
                break
            yield b"\0" + bytes(held[at : at + size])
            at += size
        del held[:at]
    if held:
        raise unreadable("a compressed transaction that ends within an event")


def plain(data: bytes, end: int) -> bytes:
    """MariaDB's compressed statement or rows event as an uncompressed event without a checksum."""
    try:
        kind = _MARIADB_KINDS[data[5]]
        at = _statement_at(data) if kind == events.QUERY else _rows_at(data, kind)
        head = data[at]
        if head & 0x70:
            raise unreadable(f"an event compressed by an unknown method ({head >> 4 & 7})")
        text_at = at + 1 + (head & 7)
        text = zlib.decompress(data[text_at:end])
        if len(text) != int.from_bytes(data[at + 1 : text_at], "big"):
            raise unreadable("a compressed event whose size differs from the one in its header")
    except (IndexError, KeyError, zlib.error) as error:
        raise unreadable(f"a malformed compressed event ({error})") from error
    return data[:5] + bytes([kind]) + data[6:at] + text


def _statement_at(data: bytes) -> int:
    return 33 + int.from_bytes(data[31:33], "little") + data[28] + 1


def _rows_at(data: bytes, kind: int) -> int:
    """Offset of the rows, after the bitmaps of columns."""
    at = 28 if kind <= events.DELETE_ROWS_V1 else 28 + int.from_bytes(data[28:30], "little")
    columns, at = length_encoded(data, at)
    return at + (columns + 7) // 8 * (2 if kind in _UPDATES else 1)
