"""The interface through which the streamer reports changes. It separates the stream (which rows changed) from
``changes`` (what to do).

Called in the streamer's thread only. The change buffer is the production implementation; tests have others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ferry_core.binlog.last_read import LastRead
from ferry_core.mysql.gtid import Position
from ferry_core.schema.cascades import Reference
from ferry_core.tables.table import KeyLiterals

KeyDecoder = Callable[[bytes], KeyLiterals]
"""Turns the raw key bytes of a row image into SQL literals."""

RowKey = bytes | KeyLiterals
"""A key as an event contains it, or as a server rendered it."""


Place = tuple[int, str, int]
"""Length of a binlog file's name, the name, an offset in it. Compares in binlog order (999999 before 1000000)."""


def literals_of(key: RowKey, decode: KeyDecoder | None) -> KeyLiterals:
    """The SQL literals of a key of either form."""
    if isinstance(key, tuple):
        return key
    assert decode is not None, "raw keys come with their decoder"
    return decode(key)


@dataclass(frozen=True)
class StreamMark:
    """A place in this run's stream. ``sequence`` orders places of one run; a checkpoint stores ``position``."""

    sequence: int
    position: Position
    place: Place | None = field(default=None, compare=False)
    """MariaDB: a place inside the mark's last transaction. None on MySQL, and for the mark that a run resumes from."""
    last_read: LastRead | None = field(default=None, compare=False)
    """The furthest place read up to this mark. Not set on the mark of an unfinished transaction."""

    def __lt__(self, other: "StreamMark") -> bool:
        return self.sequence < other.sequence

    def contains(self, other: "StreamMark") -> bool:
        """Whether everything up to ``other``, which may be a mark of another run, comes before or at this mark.

        Places decide if both are known, because a MariaDB source may log GTIDs out of order.
        """
        if self.place is not None and other.place is not None:
            return self.place >= other.place
        return self.position.contains(other.position)


F = TypeVar("F")
F_contra = TypeVar("F_contra", contravariant=True)


@dataclass(frozen=True)
class Altered(Generic[F]):
    """A DDL statement that may have changed a selected table."""

    followed: F
    seen: StreamMark
    """Position that includes the statement."""
    statement: str
    alone: bool
    """Whether no other statement altered the table before the comparison. Only then does the comparison prove anything.
    """


class ChangeSink(Protocol[F_contra]):
    """Each transaction is one ``begin``, any number of ``changed``, one ``end``; ``decided`` comes between
    transactions.

    If a connection breaks within a transaction, ``begin`` is called again for the same transaction without an ``end``
    before it.
    """

    def begin(self, before: StreamMark, seen: StreamMark, xid: str | None) -> None:
        """Events of a transaction follow. ``before`` excludes it, ``seen`` includes it (R1 waits for ``seen``).

        ``xid`` identifies an XA transaction as "formatID,hex gtrid,hex bqual", the common form of XA RECOVER CONVERT
        XID and the binlog. Its rows count from its decision on, dated by this ``before``.
        """

    def changed(self, followed: F_contra, keys: Sequence[bytes], decode: KeyDecoder) -> None:
        """Rows with these raw keys changed (an UPDATE reports the old and the new key).

        May block to apply back-pressure.
        """

    def referenced(self, followed: F_contra, references: Sequence[Reference]) -> None:
        """Rows of ``followed`` that reference these values may have changed without an event of their own."""

    def end(self, processed: StreamMark, committed_at: float | None) -> None:
        """The transaction is complete.

        ``committed_at``: source clock, Unix seconds; None if the event does not contain it.
        """

    def decided(self, xid: str, committed: bool, before: StreamMark, processed: StreamMark) -> None:
        """XA COMMIT or XA ROLLBACK of an XID prepared earlier, perhaps before the start of the stream."""

    def alive(self, processed: StreamMark, source_time: float | None) -> None:
        """A heartbeat, or a transaction without selected tables: nothing to do up to ``processed``."""
