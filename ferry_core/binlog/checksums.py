"""The checksums of a connection's events: whether they have one, and whether it matches. Used by ``transactions``."""

from zlib import crc32

from ferry_core.binlog import events
from ferry_core.binlog.counters import Counters
from ferry_core.binlog.source_errors import CorruptEvent, StreamLost


class Checksums:
    """``present``: what the connection asked for. Each format description says it anew."""

    def __init__(self, counters: Counters, *, present: bool) -> None:
        self._counters = counters
        self._present = present
        self._announced = False

    def checked(self, data: bytes, kind: int) -> int:
        """Offset of the body's end; raises if the checksum does not match."""
        if kind == events.FORMAT_DESCRIPTION:
            # The checksum was computed without the flag that marks a file as still being written.
            plain = data[1:18] + bytes([data[18] & ~events.IN_USE_FLAG]) + data[19:-4]
            self._present = events.parse_format(data).checksums
            self._announced = True
        elif not self._announced and events.has_checksum(data) is not self._present:
            raise StreamLost("checksum", "the source's binlog_checksum was changed while the stream was connecting")
        elif self._present:
            plain = data[1:-4]
        else:
            return len(data)
        if self._present and crc32(plain) != int.from_bytes(data[-4:], "little"):
            raise CorruptEvent(f"an event of type {events.NAMES.get(kind, kind)} in {self._counters.file}")
        return len(data) - 4
