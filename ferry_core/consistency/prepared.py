"""Keeps the keys of XA transactions between XA PREPARE and their decision. They hold the checkpoint back (R5).

XA COMMIT contains no keys: they came with the PREPARE, perhaps days and many checkpoints ago. So they are kept by XID,
dated by the PREPARE, also after the decision. Not thread-safe by itself: the change buffer's lock guards it.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ferry_core.binlog.sink import KeyDecoder, StreamMark
from ferry_core.consistency.pending import PendingKey
from ferry_core.errors import DataError
from ferry_core.reasons import Reason

LIMIT_KEYS = 2_000_000
"""Maximum number of keys of all undecided XA transactions: about 300 MB."""


K = TypeVar("K", bound=Hashable)
"""What a key belongs to: a move."""


@dataclass
class _Prepared(Generic[K]):
    before: StreamMark
    dropped: bool = False  # gone from the source without a decision: its keys are pending in case none ever comes
    keys: dict[K, tuple[KeyDecoder | None, dict[PendingKey, None]]] = field(default_factory=dict)


class PreparedTransactions(Generic[K]):
    """XID -> keys that wait for its decision."""

    def __init__(self) -> None:
        self._held: dict[str, _Prepared[K]] = {}
        self._keys = 0

    def __len__(self) -> int:
        return len(self._held)

    def xids(self) -> list[str]:
        return list(self._held)

    def begin(self, xid: str, before: StreamMark) -> None:
        """The transaction's rows follow. A second call, after a broken connection, starts it over."""
        self._released(self._held.pop(xid, None))
        self._held[xid] = _Prepared(before)

    def add(self, xid: str, of: K, keys: Sequence[PendingKey], decode: KeyDecoder | None) -> None:
        of_xid = self._held[xid].keys
        known, held = of_xid.get(of, (None, {}))
        of_xid[of] = decode or known, held
        before = len(held)
        held.update(dict.fromkeys(keys))
        self._keys += len(held) - before
        if self._keys > LIMIT_KEYS:
            raise DataError(
                Reason.XA_TOO_LARGE,
                f"undecided XA transactions change more than {LIMIT_KEYS} rows: {', '.join(self._held)} "
                "(formatID,gtrid,bqual); decide them (XA COMMIT or XA ROLLBACK), then start the Ferry again",
            )

    def _released(self, prepared: _Prepared[K] | None) -> None:
        if prepared is not None:
            self._keys -= sum(len(keys) for _, keys in prepared.keys.values())

    def forget(self, of: K) -> None:
        """Forget the keys of one move. Whoever reads its rows again must first wait for every decision (R2)."""
        for prepared in self._held.values():
            _, keys = prepared.keys.pop(of, (None, {}))
            self._keys -= len(keys)

    def decide(self, xid: str) -> Iterator[tuple[K, list[PendingKey], KeyDecoder | None, StreamMark]]:
        """Forget the XID and return its keys, dated by its PREPARE.

        None for an XID prepared before the stream's start.
        """
        prepared = self._held.pop(xid, None)
        self._released(prepared)
        if prepared is not None:
            for of, (decode, keys) in prepared.keys.items():
                yield of, list(keys), decode, prepared.before

    def undecided(self) -> dict[str, StreamMark]:
        """Undecided transactions, by the mark before their PREPARE."""
        return {xid: held.before for xid, held in self._held.items() if not held.dropped}

    def drop(self, xid: str, before: StreamMark) -> Iterator[tuple[K, list[PendingKey], KeyDecoder | None]]:
        """Make the keys of a lost transaction pending, but keep the transaction.

        None if another one has its XID now.
        """
        held = self._held.get(xid)
        if held is not None and held.before is before and not held.dropped:
            held.dropped = True
            for of, (decode, keys) in held.keys.items():
                yield of, list(keys), decode

    def oldest(self) -> StreamMark | None:
        """The mark before the oldest undecided PREPARE."""
        return min(self.undecided().values(), key=lambda mark: mark.sequence, default=None)
