"""The source's binlog files as the stream meets them: one that was begun anew, and places where positions are places.

An event's header has only the lower four bytes of the offset at which it ends. Transactions that are larger than that
exist, and the file ends after one. Used by ``transactions``.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

from ferry_core.binlog.events import unreadable
from ferry_core.errors import DataError
from ferry_core.mysql.file_position import FilePosition, numbered
from ferry_core.reasons import Reason

if TYPE_CHECKING:
    from ferry_core.binlog.counters import Counters

_WRAP = 1 << 32
_HEAD = 4  # where a file's first event begins


class Places:
    """Computes where events end in the binlog, for one connection to a source that is followed by file and offset."""

    def __init__(self, counters: "Counters") -> None:
        self._counters = counters
        self._file, self._offset, self._bytes = "", 0, 0

    def behind(self, event: bytes) -> FilePosition:
        """The place where an event ends, exact if less than 2 GiB of the stream were not in the file (heartbeats)."""
        counters = self._counters
        if self._file != counters.file:
            position = counters.processed.position
            assert isinstance(position, FilePosition)
            self._file, self._offset = counters.file, position.offset if position.file == counters.file else _HEAD
            self._bytes = counters.bytes - len(event)
        low = int.from_bytes(event[14:18], "little")
        expected = self._offset + counters.bytes - self._bytes
        self._offset, self._bytes = low + max(0, round((expected - low) / _WRAP)) * _WRAP, counters.bytes
        return FilePosition(self._file, self._offset)

    def resumable(self, event: bytes) -> FilePosition | None:
        """The place where a transaction's last event ends. None if a dump cannot be requested from there."""
        place = self.behind(event)
        return place if place.offset < _WRAP else None


def enter(counters: "Counters") -> None:
    """A file begins, between two transactions. Its first place is the position, so that older files may be purged."""
    processed, file = counters.processed, counters.file
    position = processed.position
    if not isinstance(position, FilePosition) or position.file == file:
        return
    if numbered(position.file)[0] != numbered(file)[0]:
        raise unreadable(f"{file} follows {position.file}: another log_bin, by whose file names places have no order")
    if numbered(file) > numbered(position.file):
        counters.processed = replace(processed, position=FilePosition(file, _HEAD))


def refuse_begun_anew(counters: "Counters", begun: int) -> None:
    """A source that was reset counts files and transactions from 1 again: new ones may look like known ones."""
    if counters.newest is not None:
        last, when = counters.newest
        known, now = numbered(last), numbered(counters.file)
        if known[0] == now[0] and (now[1:] < known[1:] or (now == known and begun != when)):
            raise DataError(
                Reason.SOURCE_HISTORY_LOST,
                f"the source began its binlog {counters.file} again from the start although this run had read up "
                f"to {last}: it was reset, or is another server. Rows may differ without any event about them: "
                "start over with a fresh copy",
            )
    counters.newest = counters.file, begun
