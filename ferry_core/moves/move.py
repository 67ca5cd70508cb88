"""TableMove: one selected table and everything that a run knows about it, in one object.

Made by ``MoveSet``, used by all packages above this one. Each part has one owner, whose lock guards it:

    table, ours, state, started, definition, above       the coordinator
    let_go                                               the lock of ``MoveSet``
    deferred, held                                       the thread that adds its indexes (``workers.index_builds``)
    counts_from, shape                                   the streamer, between two transactions
    pending                                              the change buffer's lock
    gate                                                 itself
    chunks                                               the chunk source's lock
    flushed_at, calm                                     the flusher's thread
    copy_seconds, flushed_at of a table without a key    whoever is inside of its gate
    compare_seconds                                      the verification's pass
    json_changed                                         the status reporter's lock
    unproven                                             the lock of ``verify.unproven``
    compared_to, compared_behind                         the streamer's thread
    progress                                             the report's lock
"""

from enum import StrEnum
from typing import TYPE_CHECKING

from ferry_core.consistency.gate import TableGate
from ferry_core.consistency.pending import PendingKeys
from ferry_core.moves.progress import TableProgress
from ferry_core.moves.unproven import UnprovenTable
from ferry_core.rows.chunks import TableChunks
from ferry_core.tables.table import Table

if TYPE_CHECKING:
    from ferry_core.binlog.ending import BinlogEnd
    from ferry_core.binlog.sink import StreamMark
    from ferry_core.binlog.table_map import WireColumn

ALL_ROWS = "TRUE"


class MoveState(StrEnum):
    """How far one table is. Not to be confused with a run's phase."""

    WAITING = "Waiting"  # no row has been read, no event counts
    COPYING = "Copying"  # has unread chunks, or chunks under way
    FINISHING = "Finishing"  # all rows are copied; indexes and constraints are still to come
    FOLLOWING = "Following"  # updated by events only
    RESTARTING = "Restarting"  # its copied rows are being removed


class TableMove:
    """Compared by identity. A table that is copied again gets another move (``workers.starting``)."""

    def __init__(self, table: Table, chunks: TableChunks, counts_from: "StreamMark | None" = None) -> None:
        """``counts_from`` None: from where the run's stream begins."""
        self.table = table
        self.ours = ALL_ROWS
        """SQL condition for the rows of the target's table that belong to this Ferry."""
        self.state = MoveState.FOLLOWING if chunks.done else MoveState.COPYING
        self.started = False
        """Whether there is a durable record of its start (R2)."""
        self.let_go = False
        """Whether the stream has stopped to follow it for good, because its table must be copied again."""
        self.definition = ""
        """Digest of the relevant parts of the source's definition when it started.

        Empty in the state of an older version.
        """
        self.counts_from = counts_from
        """Ignore events up to this stream position: its chunks are read after them."""
        self.shape: tuple[WireColumn, ...] | None = None
        """Columns of its events so far."""
        self.above: tuple[TableMove, ...] = ()
        """Moves whose changes may change rows of this one without an event, directly or through others."""
        self.deferred = False
        """Whether the target's table still lacks indexes that are added after its rows."""
        self.held = False
        """Whether its changes wait for an index."""
        self.gate = TableGate()
        self.pending = PendingKeys(table.id)
        self.chunks = chunks
        self.flushed_at = 0.0
        """When its last generation ended (time.monotonic)."""
        self.copy_seconds = 0.0
        """How long its last copy took, of a table that is copied whole; 0: none has ended yet."""
        self.compare_seconds = 0.0
        """The same of its last comparison."""
        self.calm = 0
        """How many more generations have their batches one by one."""
        self.json_changed = 0
        """Rows copied in this run whose JSON changed when it was parsed again."""
        self.unproven = UnprovenTable()
        self.compared_to: BinlogEnd | None = None
        """End of the binlog when its definition was last compared. None: when the run began."""
        self.compared_behind: StreamMark | None = None
        """The DDL statement that caused the last comparison."""
        self.progress = TableProgress()

    @property
    def id(self) -> str:
        """The name that state, metrics and messages use."""
        return self.table.id

    @property
    def copied(self) -> bool:
        """Whether all its rows are copied. From then on only events change it."""
        return self.state in (MoveState.FINISHING, MoveState.FOLLOWING)

    def __repr__(self) -> str:
        return f"<{self.table.id}: {self.state}>"
