"""What a stream has read so far. Written by ``transactions`` in the streamer's thread; its status is made of it."""

from typing import TYPE_CHECKING

from ferry_core.binlog.sink import StreamMark

if TYPE_CHECKING:
    from ferry_core.mysql.gtid import Position


class Counters:
    """What has happened since the run's start; written by the streamer's thread, read by any."""

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
        self.newest: tuple[str, int] | None = None  # the last file that began, and when the source began it
        self.end: tuple[str, int] | None = None  # where what was processed ends; None: unknown, or beyond 4 bytes
        self.out_of_order: Position | None = None  # the position behind which GTIDs do not tell places, see ``order``
        self.place = b""  # where the last event ended in ``file``: 4 bytes as the header has them
