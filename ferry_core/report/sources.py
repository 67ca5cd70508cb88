"""What the status reporter reads from the threads that move data. Implemented by ``workers`` and ``run``."""

from typing import Protocol

from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet


class DataMovement(Protocol):
    """One set of threads and what they share."""

    @property
    def buffer(self) -> ChangeBuffer: ...

    @property
    def moves(self) -> MoveSet: ...

    @property
    def streamer(self) -> BinlogStreamer[TableMove]: ...

    @property
    def workers(self) -> tuple[int, int]:
        """Number of copy workers with a chunk, and of those waiting for one."""
