"""The change buffer: the streamer adds changed keys, the flusher takes them. Bounded and thread-safe.

The streamer's thread calls the ChangeSink methods, the flusher's thread ``take``, ``committed`` and ``returned``, any
thread the read-only ones. There is one lock. The streamer blocks in ``changed`` while the buffer is full. This bounds
memory even within one huge transaction, and during a pause the stream is read up to this limit.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from ferry_core.binlog.sink import KeyDecoder, RowKey, StreamMark
from ferry_core.consistency.pending import Generation, PendingKey, PendingKeys
from ferry_core.consistency.positions import safe_mark
from ferry_core.consistency.prepared import PreparedTransactions
from ferry_core.moves.move import TableMove
from ferry_core.schema.cascades import Reference
from ferry_core.tables.table import ALL_ROWS, ALL_ROWS_RAW, KeyLiterals

CAPACITY_BYTES = 16 << 20
"""Limit of waiting keys: about 130,000 keys of 8 bytes. With the generation in flight the copier stays under 200 MB."""

ChangeListener = Callable[[TableMove, Sequence[RowKey], KeyDecoder | None], None]


class ChangeBuffer:
    """Implements ChangeSink. ``listener`` is called for every changed key, because its row is no longer verified."""

    def __init__(
        self,
        start: StreamMark,
        listener: ChangeListener | None = None,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        self._condition = threading.Condition()
        self._active: dict[TableMove, None] = {}
        """Moves with keys that wait or are in flight, in the order in which they got their first key."""
        self._bytes = 0
        self._prepared: PreparedTransactions[TableMove] = PreparedTransactions()
        self._processed = start
        self._seen = start
        self._before = start
        self._xid: str | None = None
        self._touched: set[TableMove] = set()
        self._listener = listener
        self._capacity = capacity_bytes
        self._closed = False
        self._changes = 0
        self._held: list[tuple[StreamMark, Callable[[], bool]]] = []

    # -- ChangeSink: the streamer's thread ------------------------------------------------------------------------

    def begin(self, before: StreamMark, seen: StreamMark, xid: str | None) -> None:
        with self._condition:
            self._before, self._seen, self._xid = before, seen, xid
            self._touched.clear()
            if xid is not None:
                self._prepared.begin(xid, before)

    def changed(self, followed: TableMove, keys: Sequence[bytes], decode: KeyDecoder) -> None:
        self._take_in(followed, keys, decode)

    def referenced(self, followed: TableMove, references: Sequence[Reference]) -> None:
        self._take_in(followed, *_waiting(followed, references))

    def _take_in(self, followed: TableMove, keys: Sequence[PendingKey], decode: KeyDecoder | None) -> None:
        if not keys:
            return
        with self._condition:
            if self._xid is not None:
                self._prepared.add(self._xid, followed, keys, decode)
                return
            self._add(followed, keys, decode, self._before)
            self._touched.add(followed)
            while self._bytes > self._capacity and not self._closed:
                self._condition.wait(1.0)

    def end(self, processed: StreamMark, committed_at: float | None) -> None:
        with self._condition:
            for move in self._touched:
                move.pending.date(committed_at)
            self._touched.clear()
            self._xid = None
            self._advance(processed)

    def decided(self, xid: str, committed: bool, before: StreamMark, processed: StreamMark) -> None:  # noqa: ARG002 - keys are dated by their PREPARE
        with self._condition:
            self._seen = processed
            for move, keys, decode, prepared_before in self._prepared.decide(xid):
                if committed:
                    self._add(move, keys, decode, prepared_before, frozenset({xid}))
            self._advance(processed)

    def alive(self, processed: StreamMark, source_time: float | None) -> None:  # noqa: ARG002 - the streamer's status keeps it
        with self._condition:
            self._advance(processed)

    def hold(self, until: Callable[[], bool]) -> None:
        """Keep the checkpoint from passing what is processed now, until the function returns True."""
        with self._condition:
            self._held.append((self._processed, until))

    # -- the flusher's thread -------------------------------------------------------------------------------------

    def take(self, move: TableMove, limit: int) -> Generation | None:
        """The next generation of a move; None if no key waits. The caller must hold the move's gate exclusively."""
        with self._condition:
            before = move.pending.bytes
            generation = move.pending.take(limit, self._seen)
            self._recount(move, before)
            return generation

    def derived(self, move: TableMove, keys: Sequence[KeyLiterals]) -> None:
        """References of the move's generation have led to these keys, which it reads and writes, too."""
        with self._condition:
            move.pending.derived(keys)
            if self._listener is not None:
                self._listener(move, keys, None)

    def refer(self, move: TableMove, references: Sequence[Reference], generation: Generation) -> None:
        """A generation of another move has read rows that rows of this one may have followed."""
        with self._condition:
            keys, decode = _waiting(move, references)
            self._add(move, keys, decode, generation.since, of_event=False)

    def suspect(self, move: TableMove, keys: Sequence[KeyLiterals]) -> None:
        """These rows on the target may differ although no event names them. Blocks while the buffer is full."""
        with self._condition:
            waiting, decode = _waiting(move, keys)
            self._add(move, waiting, decode, self._processed, of_event=False)
            while self._bytes > self._capacity and not self._closed:
                self._condition.wait(1.0)

    def committed(self, move: TableMove, generation: Generation) -> None:
        with self._condition:
            move.pending.committed(generation)
            self._recount(move, move.pending.bytes)
            self._condition.notify_all()

    def returned(self, move: TableMove, generation: Generation) -> None:
        with self._condition:
            before = move.pending.bytes
            move.pending.returned(generation)
            self._recount(move, before)
            self._condition.notify_all()

    # -- the coordinator's thread ---------------------------------------------------------------------------------

    def forget(self, move: TableMove) -> None:
        """Drop a move that starts over or is handed on: all its rows are read again, after everything streamed so far.

        The stream must no longer follow it, and the caller must hold its gate exclusively, so no generation is in
        flight.
        """
        with self._condition:
            before = move.pending.bytes
            move.pending = PendingKeys(move.id)
            self._prepared.forget(move)
            self._touched.discard(move)
            self._recount(move, before)
            self._condition.notify_all()

    def wait_for_work(self, timeout: float, *, more: bool = False) -> None:
        """Wait until a key waits (``more``: until a key is added) or ``timeout`` seconds have passed."""
        with self._condition:
            if (more or not any(move.pending for move in self._active)) and not self._closed:
                self._condition.wait(timeout)

    # -- anybody --------------------------------------------------------------------------------------------------

    def waiting(self) -> list[tuple[TableMove, int]]:
        """Moves with waiting keys and their numbers of keys, largest first."""
        with self._condition:
            rows = [(move, len(move.pending)) for move in self._active if move.pending]
        return sorted(rows, key=lambda row: -row[1])

    def pending_keys(self, move: TableMove | None = None) -> int:
        """Number of keys not yet known to be on the target: waiting or in flight."""
        with self._condition:
            chosen = self._active if move is None else [move]
            return sum(len(one.pending) + one.pending.in_flight for one in chosen)

    def pending_by_move(self) -> Mapping[TableMove, int]:
        """``pending_keys`` of each move that has any."""
        with self._condition:
            return {move: len(move.pending) + move.pending.in_flight for move in self._active}

    def pending_snapshot(self, move: TableMove) -> tuple[list[RowKey], KeyDecoder | None]:
        """The keys of a move that wait or are in flight, and their decoder."""
        with self._condition:
            return move.pending.snapshot()

    def is_pending(self, move: TableMove, key: RowKey) -> bool:
        with self._condition:
            return move.pending.is_pending(key)

    @property
    def fullness(self) -> float:
        """Fill level from 0 to 1."""
        with self._condition:
            return self._bytes / self._capacity

    @property
    def changes(self) -> int:
        """Row changes of selected tables added since the start. During a cutover this number must not change."""
        with self._condition:
            return self._changes

    @property
    def processed(self) -> StreamMark:
        with self._condition:
            return self._processed

    def prepared_xids(self) -> list[str]:
        with self._condition:
            return self._prepared.xids()

    def undecided(self) -> dict[str, StreamMark]:
        """XA transactions whose PREPARE was read completely and that wait for their decision, by the mark before the
        PREPARE.
        """
        with self._condition:
            return {xid: mark for xid, mark in self._prepared.undecided().items() if xid != self._xid}

    def dropped(self, xid: str, before: StreamMark) -> bool:
        """One of ``undecided`` no longer exists on the source: read its keys again.

        False if its XID belongs to another one now.
        """
        with self._condition:
            if self._prepared.undecided().get(xid) is not before or xid == self._xid:
                return False
            for move, keys, decode in self._prepared.drop(xid, before):
                self._add(move, keys, decode, before)
            return True

    def checkpoint_mark(self) -> StreamMark:
        """R5: the position from which a resumed run may start. A table that is copied whole does not hold it back:

        for a changed one ``pending_keys``, asked after this, has the state say that it must be copied again.
        """
        with self._condition:
            marks = [move.pending.oldest() for move in self._active if not move.table.whole]
            self._held = [(mark, until) for mark, until in self._held if not until()]
            return safe_mark(self._processed, [*marks, self._prepared.oldest(), *(mark for mark, _ in self._held)])

    def oldest_commit(self) -> float | None:
        """Source clock, Unix seconds, of the oldest change not yet on the target.

        None if there is none or it is unknown. Tables that are copied whole do not count: they have a gate of their own
        (``whole_tables``).
        """
        with self._condition:
            times = [move.pending.oldest_commit() for move in self._active if not move.table.whole]
        return min((at for at in times if at is not None), default=None)

    def wait_empty(self, deadline: float) -> bool:
        """Wait until no key waits or is in flight; False after ``deadline`` (time.monotonic)."""
        with self._condition:
            return self._wait(lambda: not self._active, deadline)

    def wait_flushed(self, move: TableMove, deadline: float, up_to: StreamMark | None = None) -> bool:
        """Wait until every key of this move known at this moment is on the target; False after ``deadline``
        (time.monotonic). Who waits again and again gives ``up_to``, what was ``processed`` at the first time.

        Keys added meanwhile are not waited for, because a busy table always has some, unless they follow from what the
        stream has delivered by then.
        """
        with self._condition:
            now = up_to or self._processed

            def flushed() -> bool:
                marks = [one.pending.oldest() for one in (move, *move.above)]
                return not any(mark is not None and mark < now for mark in marks)

            return self._wait(flushed, deadline)

    def wake(self) -> None:
        """Have who waits for work look again at what is due."""
        with self._condition:
            self._condition.notify_all()

    def close(self) -> None:
        """Release all waiting threads: the run ends."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    # -- under the lock -------------------------------------------------------------------------------------------

    def _add(
        self,
        move: TableMove,
        keys: Sequence[PendingKey],
        decode: KeyDecoder | None,
        before: StreamMark,
        xids: frozenset[str] = frozenset(),
        *,
        of_event: bool = True,
    ) -> None:
        if move.let_go:
            return  # all its rows are read again
        bytes_before = move.pending.bytes
        move.pending.add(keys, decode, before, xids)
        self._recount(move, bytes_before)
        rows = [key for key in keys if not isinstance(key, Reference)]
        self._changes += len(rows) if of_event else 0
        if self._listener is not None and rows:
            self._listener(move, rows, decode)
        self._condition.notify_all()

    def _advance(self, processed: StreamMark) -> None:
        self._processed = processed
        self._seen = max(self._seen, processed)
        self._condition.notify_all()

    def _recount(self, move: TableMove, bytes_before: int) -> None:
        """Update the totals after a change of a move's keys.

        The cost of an event must not depend on the number of tables.
        """
        self._bytes += move.pending.bytes - bytes_before
        if move.pending or move.pending.in_flight:
            self._active[move] = None
        else:
            self._active.pop(move, None)

    def _wait(self, satisfied: Callable[[], bool], deadline: float) -> bool:
        while not satisfied():
            remaining = deadline - time.monotonic()
            if remaining <= 0 or self._closed:
                return False
            self._condition.wait(min(remaining, 1.0))
        return True


def _waiting(move: TableMove, keys: Sequence[PendingKey]) -> tuple[Sequence[PendingKey], KeyDecoder | None]:
    """What waits for these: all rows, if nothing names single ones."""
    return ([ALL_ROWS_RAW], lambda _: ALL_ROWS) if move.table.whole and keys else (keys, None)
