"""Counters of one stream.

Written by ``transactions`` in the streamer's thread; the streamer's status is computed from them.
"""

from typing import TYPE_CHECKING

from ferry_core.binlog.sink import StreamMark

if TYPE_CHECKING:
    from ferry_core.mysql.gtid import Position


class Counters:
    """Counts since the start of the run. Only the streamer's thread writes them; any thread may read."""

    def __init__(self, start: StreamMark) -> None:
        self.processed = start
        self.events = [0] * 256
        self.bytes = 0
        self.transactions = 0
        self.row_changes = 0
        self.last_event: float | None = None
        self.last_commit: float | None = None  # source clock
        self.caught_up = False
        self.in_sink = False
        self.file = ""
        self.newest: tuple[str, int] | None = None  # the newest file, and when the source created it
        self.end: tuple[str, int] | None = None  # end of the last processed event; None: unknown, or beyond 4 bytes
        # the position after which GTIDs no longer identify places, see ``order``
        self.out_of_order: Position | None = None
        self.place = b""  # end of the last event in ``file``: 4 bytes as in the header
