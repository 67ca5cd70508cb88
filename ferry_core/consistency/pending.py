"""R4: a changed key leaves the buffer only when a generation that read its row after the change has committed.

A key that changes again while it is in flight stays for the next generation. The marks kept here tell how far a
checkpoint may go (R5). Not thread-safe by itself: the change buffer's lock guards it.
"""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import islice

from ferry_core.binlog.sink import KeyDecoder, RowKey, StreamMark, literals_of
from ferry_core.schema.cascades import Reference
from ferry_core.tables.table import KeyLiterals

KEY_OVERHEAD_BYTES = 120
"""Measured cost of a key in a dict besides its own bytes: object header, hash table slot (CPython 3.11)."""
LITERAL_OVERHEAD_BYTES = 110
"""Measured cost of a literal besides its own characters: its text and its share of two tuples."""


PendingKey = RowKey | Reference
"""What waits: a key, or the reference by which keys are still to be found."""


@dataclass(frozen=True)
class Generation:
    """Keys of one move taken together. ``seen`` is everything streamed when they were taken (what R1 waits for)."""

    keys: Collection[PendingKey]
    decode: KeyDecoder | None
    seen: StreamMark
    since: StreamMark
    committed_at: float | None
    xids: frozenset[str] = frozenset()
    """XA transactions that some of the keys may belong to (a MariaDB snapshot does not prove those visible)."""

    def literals(self) -> list[KeyLiterals]:
        return [literals_of(key, self.decode) for key in self.keys if not isinstance(key, Reference)]

    def references(self) -> list[Reference]:
        return [key for key in self.keys if isinstance(key, Reference)]


class PendingKeys:
    """The changed keys of one table that are not known to be on the target."""

    def __init__(self, of: str) -> None:
        self._of = of
        self._keys: dict[PendingKey, None] = {}
        self._since: StreamMark | None = None
        self._committed_at: float | None = None
        self._xids: frozenset[str] = frozenset()
        self._in_flight: Generation | None = None
        self._derived: dict[KeyLiterals, None] = {}
        """Keys in flight that references of the generation have led to."""
        self._decode: KeyDecoder | None = None
        self.bytes = 0
        self.changed_at = 0.0
        """When a key was added last (time.monotonic)."""

    def __len__(self) -> int:
        """Number of waiting keys; keys in flight are not counted."""
        return len(self._keys)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight.keys) + len(self._derived) if self._in_flight else 0

    def add(
        self,
        keys: Iterable[PendingKey],
        decode: KeyDecoder | None,
        before: StreamMark,
        xids: frozenset[str] = frozenset(),
    ) -> None:
        """Keys changed by a transaction that begins right after ``before``; ``xids`` identify it if it is an XA
        transaction.
        """
        self._decode = decode or self._decode
        self.changed_at = time.monotonic()
        self._xids |= xids
        if self._since is None or before < self._since:
            self._since = before
        held = self._keys
        for key in keys:
            if key not in held:
                held[key] = None
                self.bytes += _size(key)

    def date(self, committed_at: float | None) -> None:
        """Set the commit time of the oldest waiting change, for the lag.

        Only the first call after a take has an effect.
        """
        if self._committed_at is None and self._keys:
            self._committed_at = committed_at

    def take(self, limit: int, seen: StreamMark) -> Generation | None:
        """Take the oldest ``limit`` keys as the next generation. At most one generation is in flight."""
        if self._in_flight is not None:
            raise AssertionError(f"{self._of} has a generation in flight")
        if not self._keys or self._since is None:
            return None
        taken = dict.fromkeys(islice(self._keys, limit))
        self._in_flight = Generation(taken, self._decode, seen, self._since, self._committed_at, self._xids)
        if len(taken) == len(self._keys):
            self._keys = {}
            self._since = self._committed_at = None
            self._xids = frozenset()
            self.bytes = 0
        else:
            for key in taken:
                del self._keys[key]
                self.bytes -= _size(key)
        return self._in_flight

    def committed(self, generation: Generation) -> None:
        """Every batch of the generation has committed: now its keys may be forgotten."""
        if generation is not self._in_flight:
            raise AssertionError(f"{self._of}: not the generation in flight")
        self._in_flight = None
        self._derived = {}

    def derived(self, keys: Iterable[KeyLiterals]) -> None:
        """Keys that the generation in flight reads and writes, too: its references have led to them."""
        self._derived = dict.fromkeys(keys)

    def returned(self, generation: Generation) -> None:
        """The generation failed: all its keys wait again, with their old dates."""
        self.committed(generation)
        changed_at = self.changed_at
        self.add(generation.keys, generation.decode, generation.since, generation.xids)
        self.changed_at = changed_at
        if generation.committed_at is not None:
            self._committed_at = min(generation.committed_at, self._committed_at or generation.committed_at)

    def snapshot(self) -> tuple[list[RowKey], KeyDecoder | None]:
        """All keys, waiting and in flight, and their decoder (None before the first raw key)."""
        held = [*self._keys, *(self._in_flight.keys if self._in_flight else ()), *self._derived]
        return [key for key in held if not isinstance(key, Reference)], self._decode

    def is_pending(self, key: RowKey) -> bool:
        return key in self._keys or key in self._derived or bool(self._in_flight and key in self._in_flight.keys)

    def oldest(self) -> StreamMark | None:
        """The mark that a checkpoint must not pass (R5)."""
        marks = [self._since, self._in_flight.since if self._in_flight else None]
        return min((mark for mark in marks if mark is not None), key=lambda mark: mark.sequence, default=None)

    def oldest_commit(self) -> float | None:
        """Source clock, Unix seconds, of the oldest change not on the target. None if none waits or it is unknown."""
        if self._in_flight is not None and self._in_flight.committed_at is not None:
            return self._in_flight.committed_at
        return self._committed_at


def _size(key: PendingKey) -> int:
    if isinstance(key, bytes):
        return len(key) + KEY_OVERHEAD_BYTES
    literals = key.values if isinstance(key, Reference) else key
    return sum(len(literal) + LITERAL_OVERHEAD_BYTES for literal in literals) + KEY_OVERHEAD_BYTES
