"""What the status reporter reads of the threads that move data. ``workers`` and ``run`` implement it."""

from typing import Protocol

from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet


class DataMovement(Protocol):
    """One set of threads with what they share."""

    @property
    def buffer(self) -> ChangeBuffer: ...

    @property
    def moves(self) -> MoveSet: ...

    @property
    def streamer(self) -> BinlogStreamer[TableMove]: ...

    @property
    def workers(self) -> tuple[int, int]:
        """Copy workers with a chunk in hand, and those that wait for one."""
