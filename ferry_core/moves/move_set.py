"""MoveSet: the tables of a run. One can join, start over, or be handed on while all threads continue.

Read by every thread, changed by the coordinator. The streamer checks ``version`` between two transactions: which tables
it follows, and from where, is decided in its thread alone.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ferry_core.binlog.sink import StreamMark
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.rows.chunk_size import ChunkTarget, Pace
from ferry_core.rows.chunks import StoredFrontier, TableChunks
from ferry_core.schema.cascades import Cascade
from ferry_core.tables.table import Table


class MoveSet:
    """Thread-safe. Keeps the order in which the moves joined."""

    def __init__(self, chunk_target: ChunkTarget) -> None:
        self.chunk_target = chunk_target
        """Target size of chunks, for all moves."""
        self._changed = threading.Condition()
        self._moves: tuple[TableMove, ...] = ()  # replaced, never modified: iterating needs no lock
        self._followed: frozenset[TableMove] = frozenset()
        self._beginning: dict[TableMove, StreamMark | None] = {}
        self._version = 0
        self._seen = 0
        self.cascades: Sequence[Cascade] = ()
        """Foreign keys by which the source changes rows without logging them."""

    @classmethod
    def of(
        cls,
        tables: Iterable[Table],
        pace: Pace,
        states: Mapping[str, StoredFrontier] | None = None,
        counts_from: Mapping[str, StreamMark] | None = None,
    ) -> "MoveSet":
        """The moves that a run begins with; ``states`` and ``counts_from`` by table id, from a checkpoint."""
        moves = cls(ChunkTarget.of(pace))
        moves._moves = tuple(
            TableMove(table, moves.chunks(table, (states or {}).get(table.id)), (counts_from or {}).get(table.id))
            for table in tables
        )
        moves._followed = frozenset(moves._moves)
        return moves

    def chunks(self, table: Table, state: StoredFrontier | None = None) -> TableChunks:
        return TableChunks(table, self.chunk_target, state)

    def __iter__(self) -> Iterator[TableMove]:
        return iter(self._moves)

    def __len__(self) -> int:
        return len(self._moves)

    def follow_cascades(self, cascades: Sequence[Cascade]) -> None:
        """Call it before anything is streamed."""
        self.cascades = cascades
        for move in self._moves:
            above: list[Table] = []
            reached = [move.table]
            for table in reached:
                parents = dict.fromkeys(one.parent for one in cascades if one.child is table)
                above += [parent for parent in parents if parent not in above]
                reached += [parent for parent in parents if parent not in reached]
            move.above = tuple(other for other in self._moves if other.table in above)

    # -- changes: the coordinator's thread ------------------------------------------------------------------------

    def join(self, table: Table) -> TableMove:
        """Add a waiting move. Starting it is a separate step (``workers.starting``)."""
        move = TableMove(table, self.chunks(table))
        move.state = MoveState.WAITING
        with self._changed:
            self._moves = (*self._moves, move)
        return move

    def hand_on(self, move: TableMove) -> None:
        """Remove a move that is no longer followed, because another process continues with it."""
        with self._changed:
            self._moves = tuple(other for other in self._moves if other is not move)

    def unfollow(self, move: TableMove) -> int:
        """Stop counting the move's events. Returns the version to wait for (``wait_seen``)."""
        with self._changed:
            self._followed -= {move}
            return self._bump()

    def wait_seen(self, version: int, seconds: float) -> bool:
        """Wait until the streamer uses this version; False if it does not within that time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._seen >= version, seconds)

    def follow(self, move: TableMove) -> None:
        """Have the stream follow the move from its current place, which ``begun`` returns."""
        with self._changed:
            self._beginning[move] = None
            self._bump()

    def begun(self, move: TableMove, seconds: float) -> StreamMark | None:
        """The place from which the move's events count; None if the streamer does not get there within that time."""
        with self._changed:
            self._changed.wait_for(lambda: self._beginning.get(move) is not None, seconds)
            mark = self._beginning.get(move)
            if mark is not None:
                del self._beginning[move]
            return mark

    def _bump(self) -> int:
        self._version += 1
        return self._version

    # -- the streamer's thread ------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Version of the set of followed tables. The streamer calls ``followed`` again when it changes."""
        return self._version

    def followed(self, processed: StreamMark) -> Sequence[TableMove]:
        """What is followed from now on. Called between two transactions; the last one ended at ``processed``."""
        with self._changed:
            for move, begun in self._beginning.items():
                if begun is None:
                    move.counts_from, move.shape = processed, None
                    self._beginning[move] = processed
                    self._followed |= {move}
            self._seen = self._version
            self._changed.notify_all()
            return [move for move in self._moves if move in self._followed]
