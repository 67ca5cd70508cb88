"""Reads packets of a running dump directly from the connection's buffered file. Called by ``follow`` for every event.

mysql-replication's own loop wraps each packet in three objects and decodes 4,000 rows a second; this loop needs two
reads per packet. The first byte of an event's packet is 0, so the event begins at offset 1 of what ``next_event``
returns.
"""

from collections.abc import Callable

from ferry_core.binlog.source_errors import SourceRefusal, StreamLost

_WHOLE = 0xFFFFFF
_ERROR = 0xFF
_END = 0xFE
_EVENT = 0


class Frames:
    """Returns packets in order. At the end of the stream it raises."""

    def __init__(self, read: Callable[[int], bytes], sequence: int = 1) -> None:
        self._read = read
        self._sequence = sequence

    def next_event(self) -> bytes:
        """The next event, preceded by one 0 byte. Continuation packets of 16 MiB are joined."""
        try:
            header = self._read(4)
            size = int.from_bytes(header[:3], "little")
            data = self._read(size)
        except (OSError, ValueError) as error:
            raise StreamLost("silence" if isinstance(error, TimeoutError) else "broken", str(error)) from error
        if len(header) < 4 or len(data) < size:
            raise StreamLost("closed", "the source closed the connection")
        if header[3] != self._sequence:
            raise StreamLost("sequence", f"packet {header[3]} came where {self._sequence} was due")
        self._sequence = (self._sequence + 1) & 0xFF
        if size == _WHOLE:
            data += self._rest()
        first = data[0] if data else _END
        if first == _EVENT:
            return data
        raise self._refusal(first, data)

    def _rest(self) -> bytes:
        parts = []
        while True:
            try:
                header = self._read(4)
                size = int.from_bytes(header[:3], "little")
                parts.append(self._read(size))
            except (OSError, ValueError) as error:
                raise StreamLost("broken", str(error)) from error
            if len(header) < 4 or len(parts[-1]) < size:
                raise StreamLost("closed", "the source closed the connection in the middle of an event")
            self._sequence = (self._sequence + 1) & 0xFF
            if size < _WHOLE:
                return b"".join(parts)

    @staticmethod
    def _refusal(first: int, data: bytes) -> Exception:
        if first == _ERROR:
            code = int.from_bytes(data[1:3], "little")
            text = data[9:] if data[3:4] == b"#" else data[3:]
            return SourceRefusal(code, text.decode("utf-8", "replace"))
        if first == _END:
            return StreamLost("ended", "the source ended the dump")
        return StreamLost("protocol", f"a packet begins with byte {first:#x}")
