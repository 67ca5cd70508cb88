"""Starts moves while the run continues: of tables that join, and of tables that are copied again.

This is rule R2 (``consistency.table_start``) for one table, with its own position s in the stream. A table that is
copied again gets another move. First nothing is left of the old one (``stop``):

    stop counting its events        the streamer drops it between two transactions, or has let go of it
    close its windows               hold its gate exclusively: no chunk or generation of it is in progress
    forget it                       pending keys, keys of undecided XA transactions, proofs, chunks
    clear its record                durably: a run that dies from here on starts it again

Then its table is created again (``run.in_place``), and the new move begins (``begin``):

    empty its table                 only our rows
    count its events from s on      the streamer reports the position s
    record s                        durably: a run that dies from here on ignores its events up to s
    compare its definition          with the one after s; the stream reports later changes
    make its rows readable          R1, every prepared XA transaction decided, R1
    copy                            its chunks are handed out

The other moves continue meanwhile.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.consistency.table_start import make_readable
from ferry_core.errors import Terminated
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table
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
    empty: Callable[[TableMove], None]
    """Delete our rows from its table on the target. From then on there may be some."""
    compare: Callable[[Table], None]
    """Raise SchemaChanged if the source's table differs from this definition."""
    unproven: Callable[[TableMove], None]
    """Nothing of the move is left to be proven."""
    say: Callable[[str], None] = log.info


class MoveStarter:
    """``stop`` and ``begin``, for one move at a time."""

    def __init__(self, engine: Engine, steps: StartSteps) -> None:
        self._engine = engine
        self._reader = engine.flow.reader
        self._steps = steps

    def stop(self, moves: Sequence[TableMove]) -> None:
        """End everything that is under way of these moves, and forget them."""
        for move in moves:
            move.state = MoveState.RESTARTING
            seen = self._engine.moves.unfollow(move)
            self._wait(lambda seen=seen: self._engine.moves.wait_seen(seen, LOOK_SECONDS))  # type: ignore[misc]
            with move.gate.flush(self._ended) as closed:
                if not closed:
                    raise Terminated(Reason.STOPPED, "the run is stopping")
                self._engine.buffer.forget(move)
                self._engine.chunks.void(move)
                self._steps.unproven(move)
            move.started = False
        self._steps.save([])

    def begin(self, move: TableMove) -> None:
        """Empty, follow, record, wait, copy."""
        moves = self._engine.moves
        self._steps.empty(move)
        moves.follow(move)
        while (start := moves.begun(move, LOOK_SECONDS)) is None:
            self._steps.tick()
        self._steps.save([move])
        self._steps.compare(move.table)
        with self._reader.control() as session:
            visibility, say = self._reader.visibility, self._steps.say
            if not make_readable(session, visibility, [move.table], start, self._streamed_to_the_end, self._ended, say):
                raise Terminated(Reason.STOPPED, "the run is stopping")
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
