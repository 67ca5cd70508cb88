"""The keys whose rows have not been proven equal since they last changed.

Filled by the change path, emptied by ``verifier``.

The rule: a proof is as old as its read of the source. So every event after a proof makes its key unproven again, and a
proof removes a key only if no event for it came since the proof began (``Batch.taken_at``).

**Order of calls.** For each event the change path adds the key to the change buffer *first* and here *second*. So a key
that is found here and is not pending in the buffer has been flushed, by a generation that made its event visible
(rule R1), and a source read that starts now sees it. In the other order there would be a moment in which the event is
known here, not pending, and not visible yet: a proof would then cover the old row and remove the key of the new event.

Any thread may call any method; each holds the one lock only for a dictionary operation.
"""

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ferry_core.binlog.sink import KeyDecoder, RowKey, literals_of
from ferry_core.moves.move import TableMove
from ferry_core.tables.table import KeyLiterals

MAX_BYTES = 48 << 20
ENTRY_BYTES = 130
"""Memory of a key besides its own bytes: bytes object, integer, dictionary slot (CPython 3.11: 100 to 118)."""


def _size(key: RowKey) -> int:
    parts = [key] if isinstance(key, bytes) else key
    return sum(len(part) + ENTRY_BYTES for part in parts)


@dataclass(frozen=True)
class Batch:
    """Some unproven keys of one move, and the number of events when they were taken."""

    move: TableMove
    keys: tuple[RowKey, ...]
    decode: KeyDecoder | None
    taken_at: int

    def literals(self) -> list[KeyLiterals]:
        return [literals_of(key, self.decode) for key in self.keys]

    def only(self, keys: Iterable[RowKey]) -> "Batch":
        """The same proof over fewer keys."""
        return Batch(self.move, tuple(keys), self.decode, self.taken_at)


class UnprovenKeys:
    """For each move: either the whole table is unproven, or the keys that changed since its pass began without a later
    proof.
    """

    def __init__(self, moves: Iterable[TableMove], max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.Lock()
        self._moves = moves
        self._max_bytes = max_bytes
        self._bytes = 0
        self._events = 0

    def begin(self, move: TableMove) -> None:
        """A pass over this move is about to begin: keys are recorded from now on.

        The caller then adds the keys that are pending, *after* this call and before the first read of the pass.
        """
        with self._lock:
            held = move.unproven
            self._bytes -= held.bytes
            held.clear(whole=False)

    def add(self, move: TableMove, keys: Sequence[RowKey], decode: KeyDecoder | None) -> None:
        """These keys changed (or are pending at the begin of a pass): they are unproven."""
        with self._lock:
            held = move.unproven
            if held.whole or move.let_go:
                return
            held.decode = decode or held.decode
            self._events += 1
            before = held.bytes
            for key in keys:
                if key not in held.keys:
                    held.bytes += _size(key)
                held.keys[key] = self._events
            self._bytes += held.bytes - before
            if self._bytes > self._max_bytes:
                self._give_up_largest()

    def _give_up_largest(self) -> None:
        largest = max((move.unproven for move in self._moves), key=lambda held: held.bytes)
        self._bytes -= largest.bytes
        largest.clear(whole=True)

    def give_up(self, move: TableMove) -> None:
        """The whole table is unproven again. One that was let go is nothing any more that could be proven."""
        with self._lock:
            held = move.unproven
            self._bytes -= held.bytes
            held.clear(whole=not move.let_go)

    def rebuilt(self, move: TableMove) -> None:
        """The source's table was rebuilt, repaired or altered: the whole table is unproven again."""
        self.give_up(move)
        move.unproven.rebuilt = True

    def lost_nothing(self, move: TableMove) -> None:
        """A pass has found the whole table equal. Not if the table became unproven again meanwhile."""
        with self._lock:
            held = move.unproven
            if not held.whole:
                held.rebuilt = held.restarted = False

    def take(self, move: TableMove, limit: int) -> Batch | None:
        """Up to ``limit`` keys, those not checked for longest first. They stay unproven until ``proven`` is called."""
        with self._lock:
            held = move.unproven
            if not held.keys:
                return None
            keys = tuple(islice(held.keys, limit))
            for key in keys:
                held.keys[key] = held.keys.pop(key)
            return Batch(move, keys, held.decode, self._events)

    def proven(self, batch: Batch) -> int:
        """The batch's rows were read as equal, the source first, after it was taken.

        Returns the number of keys proven.
        """
        with self._lock:
            held = batch.move.unproven
            count = 0
            for key in batch.keys:
                if held.keys.get(key, batch.taken_at + 1) <= batch.taken_at:
                    del held.keys[key]
                    freed = _size(key)
                    held.bytes -= freed
                    self._bytes -= freed
                    count += 1
            return count

    def untouched(self, batch: Batch) -> bool:
        """Whether no event named any of the batch's keys since it was taken."""
        with self._lock:
            held = batch.move.unproven
            return all(held.keys.get(key, batch.taken_at + 1) <= batch.taken_at for key in batch.keys)

    def named(self, move: TableMove, wanted: Collection[KeyLiterals], *, by_events: bool = False) -> set[KeyLiterals]:
        """Those of ``wanted`` that are unproven now; ``by_events``: because an event contained them."""
        if not wanted:
            return set()
        with self._lock:
            held = move.unproven
            keys = [key for key in held.keys if not (by_events and isinstance(key, tuple))]
            decode = held.decode
        return {literals for key in keys if (literals := literals_of(key, decode)) in wanted}

    def left_out(self, move: TableMove, named: Collection[KeyLiterals]) -> bool:
        """Whether a pass has not judged rows of the table although no event of the source ``named`` them."""
        if move.table.whole:
            return bool(self.size(move))  # all of its rows have one key
        return len(self.named(move, named, by_events=True)) < len(named)

    def newest(self, move: TableMove, key: RowKey) -> int:
        """Number of the newest event of this key; 0: it is proven."""
        with self._lock:
            return move.unproven.keys.get(key, 0)

    def holds(self, move: TableMove, keys: Iterable[RowKey]) -> list[RowKey]:
        """Those of ``keys`` that are unproven now, in this form."""
        with self._lock:
            return [key for key in keys if key in move.unproven.keys]

    def whole_moves(self) -> list[TableMove]:
        """Moves that are unproven as a whole: they need a pass."""
        with self._lock:
            return [move for move in self._moves if move.unproven.whole]

    def size(self, move: TableMove | None = None) -> int:
        """Number of unproven keys. A table that is unproven as a whole lists none."""
        with self._lock:
            return sum(len(one.unproven.keys) for one in (self._moves if move is None else [move]))
