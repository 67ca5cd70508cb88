"""ChunkSource, the DataIterator: hands out chunks of all moves to copy workers, the least-progressed move first.

Used by the copy workers and by the coordinator, from any thread. The chunks of one table belong to its move
(``rows.chunks``); one lock here guards all of them.
"""

import threading
from collections.abc import Callable

from ferry_core.errors import ConnectionLost
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.abandoned import end_abandoned, is_late
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import midpoint, next_bound
from ferry_core.rows.chunk_size import LARGEST, Pace
from ferry_core.rows.chunks import Chunk, Frontier, TableChunks
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import KeyLiterals, Table


class ChunkSource:
    """Thread-safe. Asks the source for bounds outside of its lock, with one thread at a time per table."""

    def __init__(self, moves: MoveSet) -> None:
        self.moves = moves
        self._changed = threading.Condition()
        self.explains: Callable[[TableMove, BaseException], bool] = lambda _move, _error: False
        """Whether a move's error has no other reason than that its table is copied again."""

    def pace(self, pace: Pace, rows: int | None) -> None:
        """Use another target size from the next chunk on. ``rows``: upper limit of a chunk."""
        target = self.moves.chunk_target
        target.seconds, target.bytes = pace.chunk_target_duration, pace.chunk_target_bytes
        target.rows = LARGEST if rows is None else rows

    def next_chunk(
        self, source: Callable[[Table], Session], allowed: Callable[[TableMove], bool] = lambda _: True
    ) -> tuple[TableMove, Chunk] | None:
        """The next chunk of the least-progressed move for which ``allowed`` is true. None if there is none now.

        ``source`` gives the session that renders a table's rows. Waits while other workers are finding out whether
        allowed moves have another chunk.
        """
        while True:
            with self._changed:
                ready = [
                    move
                    for move in self.moves
                    if move.state is MoveState.COPYING and move.chunks.left and allowed(move)
                ]
                if not ready:
                    return None
                free = [move for move in ready if move.chunks.redo or not move.chunks.walk.busy]
                if not free:
                    self._changed.wait(timeout=1)
                    continue
                move = min(free, key=lambda move: move.chunks.progress)
                chunks = move.chunks
                if chunks.redo:
                    return move, chunks.again()
                chunks.walk.busy = True
                lo, rows = chunks.step
            try:
                hi = self._bound(source(chunks.table), chunks, lo, rows)
            except BaseException as error:
                explained = self.explains(move, error)
                self._free(chunks)
                if explained:
                    return None
                raise
            with self._changed:
                chunks.walk.busy = False
                self._changed.notify_all()
                if chunks is not move.chunks:  # the move has started over meanwhile
                    return None  # not waiting here, with a session
                return move, chunks.further(rows, hi)

    def _bound(self, session: Session, chunks: TableChunks, lo: KeyLiterals | None, rows: int) -> KeyLiterals | None:
        try:
            return next_bound(session, chunks.table, lo, rows)
        except ConnectionLost as error:
            if is_late(error):
                end_abandoned(session)
                with self._changed:
                    chunks.troubled()  # the next one looks for a bound after fewer rows
            raise

    def finished(self, move: TableMove, chunk: Chunk, result: CopyResult) -> None:
        """The chunk's rows are committed on the target."""
        with self._changed:
            chunk.of.finished(chunk, result)
            if move.state is MoveState.COPYING and move.chunks.done:
                move.state = MoveState.FINISHING
            self._changed.notify_all()

    def returned(self, chunk: Chunk) -> None:
        """The chunk was not copied: it will be handed out again.

        A chunk that is not out (finished, split) is ignored.
        """
        with self._changed:
            if chunk.of.is_out(chunk):
                chunk.of.returned(chunk)
                self._changed.notify_all()

    def troubled(self, chunk: Chunk) -> None:
        """See ``TableChunks.troubled``."""
        with self._changed:
            chunk.of.troubled()

    def split(self, chunk: Chunk, session: Session) -> None:
        """See ``TableChunks.split``."""
        middle = midpoint(session, chunk.table, chunk.range)
        with self._changed:
            chunk.of.split(chunk, middle)
            self._changed.notify_all()

    def void(self, move: TableMove) -> None:
        """Nothing of the move counts as copied any more.

        The caller must hold its gate exclusively, so no chunk is between its read and its commit. Chunks that are out
        become invalid (``valid``).
        """
        with self._changed:
            move.chunks = self.moves.chunks(move.table)
            self._changed.notify_all()

    def valid(self, move: TableMove, chunk: Chunk) -> bool:
        """Whether the chunk should be copied. Ask after the gate is entered."""
        with self._changed:
            return chunk.of is move.chunks

    def state(self, move: TableMove) -> Frontier:
        """The move's current progress. Chunks handed out or to be redone count as unfinished."""
        with self._changed:
            return move.chunks.state()

    def done(self, move: TableMove) -> bool:
        """Whether every row of the table was copied."""
        with self._changed:
            return move.chunks.done

    @property
    def all_done(self) -> bool:
        """The same of all moves."""
        with self._changed:
            return all(move.chunks.done for move in self.moves)

    def _free(self, chunks: TableChunks) -> None:
        with self._changed:
            chunks.walk.busy = False
            self._changed.notify_all()
