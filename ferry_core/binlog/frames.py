"""Reads packets of a running dump directly from the connection's buffered file. Called by ``follow`` for every event.

mysql-replication's own loop wraps each packet in three objects and decodes 4,000 rows a second; this loop needs two
reads per packet. The first byte of an event's packet is 0, so the event begins at offset 1 of what ``next_event``
returns.
"""

from collections.abc import Callable

from ferry_core.binlog.source_errors import SourceRefusal, StreamLost
from ferry_core.errors import DataError, ServerRole
from ferry_core.mysql.guarded import most_bytes
from ferry_core.reasons import Reason

_WHOLE = 0xFFFFFF
_ERROR = 0xFF
_END = 0xFE
_EVENT = 0
_SHORTEST = 20  # the leading byte and an event's header


class Frames:
    """Returns packets in order. At the end of the stream it raises."""

    def __init__(self, read: Callable[[int], bytes], sequence: int = 1) -> None:
        self._read = read
        self._sequence = sequence
        self._most = most_bytes()

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
        self._advance(header[3])
        if size == _WHOLE:
            data += self._rest()
        first = data[0] if data else _END
        if first != _EVENT:
            raise self._refusal(first, data)
        if len(data) < _SHORTEST:
            raise StreamLost("protocol", f"an event of {len(data)} bytes")
        return data

    def _advance(self, sequence: int) -> None:
        if sequence != self._sequence:
            raise StreamLost("sequence", f"packet {sequence} came where {self._sequence} was due")
        self._sequence = (self._sequence + 1) & 0xFF

    def _rest(self) -> bytes:
        parts: list[bytes] = []
        while True:
            try:
                header = self._read(4)
                size = int.from_bytes(header[:3], "little")
                parts.append(self._read(size))
            except (OSError, ValueError) as error:
                raise StreamLost("broken", str(error)) from error
            if len(header) < 4 or len(parts[-1]) < size:
                raise StreamLost("closed", "the source closed the connection in the middle of an event")
            self._advance(header[3])
            if size < _WHOLE:
                return b"".join(parts)
            if len(parts) * _WHOLE > self._most:
                raise DataError(
                    Reason.ANSWER_TOO_LARGE,
                    f"the source sent an event of more than {self._most >> 20} MiB; if its events are that large, give "
                    "the copier more memory",
                    server=ServerRole.SOURCE,
                )

    @staticmethod
    def _refusal(first: int, data: bytes) -> Exception:
        if first == _ERROR:
            code = int.from_bytes(data[1:3], "little")
            text = data[9:] if data[3:4] == b"#" else data[3:]
            return SourceRefusal(code, text.decode("utf-8", "replace"))
        if first == _END:
            return StreamLost("ended", "the source ended the dump")
        return StreamLost("protocol", f"a packet begins with byte {first:#x}")
