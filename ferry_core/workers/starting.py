"""Starts one move while the run continues: a table that joins, or one that starts over.

This is rule R2 (``consistency.table_start``) for one table, with its own position s in the stream:

    stop counting its events        the streamer drops it between two transactions
    close its windows               hold its gate exclusively: no chunk or generation of it is in progress
    forget it                       pending keys, keys of undecided XA transactions, proofs, chunks
    clear its record                durably: a run that dies from here on starts it again
    create its table, empty it      only our rows
    count its events from s on      the streamer reports the position s
    record s                        durably: a run that dies from here on ignores its events up to s
    compare its definition          with the one after s; the stream reports later changes
    make its rows readable          R1, every prepared XA transaction decided, R1
    copy                            its chunks are handed out

The other moves continue meanwhile. Nothing of a run uses it yet: a run that copies a table again begins again from its
checkpoint (``run.copy_again``).
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.consistency.table_start import empty_tables, make_readable
from ferry_core.errors import Terminated
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table
from ferry_core.text import counted
from ferry_core.workers.engine import Engine

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class StartSteps:
    """What a start needs from the rest of the run. All are called in the caller's thread."""

    save: Callable[[Iterable[TableMove]], None]
    """Save a checkpoint, with a record of the start of these moves."""
    tick: Callable[[], object]
    """Called all the time; raises what ends the run."""
    make: Callable[[Table], None]
    """Create the table on the target with this definition. This may delete its rows."""
    compare: Callable[[Table], None]
    """Raise SchemaChanged if the source's table differs from this definition."""
    unproven: Callable[[TableMove], None]
    """The move is unproven as a whole from now on."""
    say: Callable[[str], None] = log.info


class MoveStarter:
    """``join`` and ``start_over``, for one move at a time."""

    def __init__(self, engine: Engine, steps: StartSteps) -> None:
        self._engine = engine
        self._reader, self._writer, _ = engine.flow
        self._steps = steps

    def join(self, table: Table) -> TableMove:
        """Add a table to a running run: it is copied beside the others, and followed from its own position."""
        move = self._engine.moves.join(table)
        self._steps.save([])
        self._prepare(move)
        self._begin(move)
        return move

    def start_over(self, move: TableMove, table: Table) -> None:
        """Copy a move again, with the current definition ``table``."""
        move.state = MoveState.RESTARTING
        seen = self._engine.moves.unfollow(move)
        self._wait(lambda: self._engine.moves.wait_seen(seen, LOOK_SECONDS))
        with move.gate.flush(self._ended) as closed:
            if not closed:
                raise Terminated(Reason.STOPPED, "the run is stopping")
            self._engine.buffer.forget(move)
            self._engine.chunks.start_over(move, table)
            self._steps.unproven(move)
            move.started = False
            self._steps.save([])
            self._prepare(move)
        self._begin(move)

    def _prepare(self, move: TableMove) -> None:
        self._steps.make(move.table)
        with self._writer.rows() as session:
            deleted = empty_tables(self._writer.fence, session, [move], self._steps.tick)
        if deleted:
            log.info("%s: deleted %s on the target before its copy", move.id, counted(deleted, "row"))

    def _begin(self, move: TableMove) -> None:
        """Follow, record, wait, copy."""
        moves = self._engine.moves
        moves.follow(move)
        while (start := moves.begun(move, LOOK_SECONDS)) is None:
            self._steps.tick()
        self._steps.save([move])
        self._steps.compare(move.table)
        with self._reader.control() as session:
            visibility, say = self._reader.visibility, self._steps.say
            make_readable(session, visibility, [move.table], start, self._streamed_to_the_end, self._ended, say)
        move.state = MoveState.COPYING
        self._engine.start_copying()
        log.info("%s: copied from stream position %s on", move.id, start.position)

    def _streamed_to_the_end(self) -> StreamMark:
        with self._reader.control() as session:
            end = end_of_binlog(session)
        self._wait(lambda: self._engine.streamer.reached(end))
        return self._engine.buffer.processed

    def _wait(self, until: Callable[[], bool]) -> None:
        while not until():
            self._steps.tick()
            self._engine.ending.wait(LOOK_SECONDS / 10)

    def _ended(self) -> bool:
        self._steps.tick()
        return self._engine.ending.is_set()
