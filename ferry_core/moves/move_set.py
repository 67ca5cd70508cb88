"""MoveSet: the tables of a run. One can join, start over, or be handed on while all threads continue.

Read by every thread, changed by the coordinator. The streamer checks ``version`` between two transactions: which tables
it follows, and from where, is decided in its thread alone. At a statement after which a table must be copied again it
lets go of that table by itself, before it says that it has processed the statement: so a checkpoint from behind the
statement never counts the table's rows.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ferry_core.binlog.sink import StreamMark
from ferry_core.errors import DataError
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.rows.chunk_size import ChunkTarget, Pace
from ferry_core.rows.chunks import StoredFrontier, TableChunks
from ferry_core.schema.cascades import Cascade
from ferry_core.schema.definition import cascading_parents, follows_parents
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
        self._let_go: list[DataError] = []
        self._lets_go = False
        self.times_let_go = 0
        """How often the streamer has let go of tables."""
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

    def replace(self, move: TableMove, table: Table) -> TableMove:
        """A waiting move with the definition ``table`` in the place of one that nothing is left of."""
        new = TableMove(table, self.chunks(table))
        new.state = MoveState.WAITING
        with self._changed:
            self._moves = tuple(new if other is move else other for other in self._moves)
        return new

    def hand_on(self, move: TableMove) -> None:
        """Remove a move that is no longer followed, because another process continues with it."""
        with self._changed:
            self._moves = tuple(other for other in self._moves if other is not move)

    def unfollow(self, move: TableMove) -> int:
        """Stop counting the move's events, for good. Returns the version to wait for (``wait_seen``)."""
        with self._changed:
            self._drop([move])
            return self._version

    def allow_letting_go(self, allowed: bool) -> None:
        """Whether the streamer may let go of tables. Otherwise it ends at a statement that changes one."""
        with self._changed:
            self._lets_go = allowed

    @property
    def news(self) -> DataError | None:
        """Why the streamer has let go of tables, unless that was taken."""
        with self._changed:
            return self._let_go[0] if self._let_go else None

    def take_news(self) -> None:
        """What the streamer has let go of so far is being copied again."""
        with self._changed:
            self._let_go.clear()

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

    def involved(self, tables: Iterable[Table]) -> bool:
        """Whether changes of one of these tables may change rows of another one, or the other way round, by a foreign
        key.
        """
        chosen = list(tables)
        parents = cascading_parents([*(move.table for move in self._moves), *chosen])
        return any(table.source in parents or follows_parents(table) for table in chosen)

    def _drop(self, moves: Sequence[TableMove]) -> None:
        for move in moves:
            move.let_go = True
            self._beginning.pop(move, None)
        self._followed -= set(moves)
        self._version += 1

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

    def let_go(self, moves: Sequence[TableMove], error: DataError) -> bool:
        """Stop following these moves, because of ``error``; the stream goes on. False: the error has to end it."""
        with self._changed:
            if not self._lets_go or self.involved([move.table for move in moves]):
                return False
            self._drop(moves)
            self._let_go.append(error)
            self.times_let_go += 1
            self._changed.notify_all()
            return True

    def wait_let_go(self, since: int, seconds: float) -> bool:
        """Wait until ``times_let_go`` is no longer ``since``; False if that takes longer. Any thread may call it."""
        with self._changed:
            return self._changed.wait_for(lambda: self.times_let_go != since, seconds)
