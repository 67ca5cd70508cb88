"""Counters of one stream.

Written by ``transactions`` in the streamer's thread; the streamer's status is computed from them.
"""

import struct
from typing import TYPE_CHECKING

from ferry_core.binlog.sink import StreamMark

if TYPE_CHECKING:
    from ferry_core.mysql.file_position import FilePosition
    from ferry_core.mysql.gtid import Position

_place = struct.Struct("<I").unpack_from
_WRAP = 1 << 32


class Counters:
    """Counts since the start of the run. Only the streamer's thread writes them; any thread may read."""

    def __init__(self, start: StreamMark) -> None:
        self.processed = start
        self.events = [0] * 256
        self.bytes = 0
        self.transactions = 0
        self.row_changes = 0
        self.definitions = 0  # statements that may have made, altered or renamed any table
        self.last_event: float | None = None
        self.last_commit: float | None = None  # source clock
        self.caught_up = False
        self.in_sink = False
        self.file = ""
        self.newest: tuple[str, int] | None = None  # the newest file, and when the source created it
        self.end: FilePosition | None = None  # end of the last processed event; None: unknown, or not dumpable
        # the position after which GTIDs no longer identify places, see ``order``
        self.out_of_order: Position | None = None
        self.offset = 0
        """Where the last event ended in ``file``. Too low if the source has skipped more than 4 GiB of a file."""
        self.least = 0
        """The least offset of the next transaction of ``file``. While the source skips, heartbeats have lower ones."""

    def skipped(self) -> None:
        """The source has ended skipping: what follows in ``file`` is not before ``least``."""
        self.offset, self.least = max(self.offset, self.least), 0

    def end_of(self, event: bytes) -> int:
        """Where the next event of ``file`` ends: its header has only the lower four bytes of that offset."""
        low: int = _place(event, 14)[0]
        read = self.offset
        if low >= read:
            return low
        wraps = (read >> 32) + ((read & (_WRAP - 1)) - low > _WRAP // 2)
        return wraps << 32 | low

    def end_of_heartbeat(self, event: bytes) -> int:
        """The same of a heartbeat. At an unchanged place nothing is skipped any more."""
        if self.end_of(event) == self.offset:
            self.skipped()
        return self.end_of(event)

    def begin_of(self, event: bytes) -> int:
        """Where the next event of ``file`` begins."""
        return self.end_of(event) - (len(event) - 1)
