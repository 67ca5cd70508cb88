"""What the status reporter reads of the threads that move data. ``workers`` and ``run`` implement it."""

from typing import Protocol

from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.rows.iterator import ChunkSource


class DataMovement(Protocol):
    """One set of threads with what they share."""

    @property
    def buffer(self) -> ChangeBuffer: ...

    @property
    def chunks(self) -> ChunkSource: ...

    @property
    def streamer(self) -> BinlogStreamer: ...

    @property
    def workers(self) -> tuple[int, int]:
        """Copy workers with a chunk in hand, and those that wait for one."""
