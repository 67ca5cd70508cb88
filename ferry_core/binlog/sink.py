"""Where the streamer puts what it sees: the seam between the stream (which rows) and ``changes`` (what to do).

Called in the streamer's thread only. The change buffer is the one implementation; tests have others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ferry_core.binlog.last_read import LastRead
from ferry_core.mysql.gtid import Position
from ferry_core.tables.table import KeyLiterals

KeyDecoder = Callable[[bytes], KeyLiterals]
"""Turns the raw key bytes of a row image into SQL literals."""


Place = tuple[int, str, int]
"""Length of a binlog file's name, the name, an offset in it: ordered as the binlog is (999999 before 1000000)."""


@dataclass(frozen=True)
class StreamMark:
    """A place in this run's stream: ``sequence`` orders places of one run, ``position`` is what a checkpoint stores."""

    sequence: int
    position: Position
    place: Place | None = field(default=None, compare=False)
    """MariaDB: somewhere inside its last transaction. None at a run's start, and on MySQL."""
    last_read: LastRead | None = field(default=None, compare=False)
    """Of what was read up to here and before: the furthest place. Not on the mark of a transaction under way."""

    def __lt__(self, other: "StreamMark") -> bool:
        return self.sequence < other.sequence


F = TypeVar("F")
F_contra = TypeVar("F_contra", contravariant=True)


@dataclass(frozen=True)
class Altered(Generic[F]):
    """A DDL statement after which a selected table may be what it was."""

    followed: F
    seen: StreamMark
    """Includes the statement."""
    statement: str
    alone: bool
    """Only if no other statement altered the table before the comparison does it prove anything."""


class ChangeSink(Protocol[F_contra]):
    """One transaction is ``begin``, any number of ``changed``, ``end``; ``decided`` stands outside of them.

    A connection may break in the middle: then ``begin`` comes again for the same transaction, with no ``end`` before.
    """

    def begin(self, before: StreamMark, seen: StreamMark, xid: str | None) -> None:
        """A transaction's events follow. ``before`` excludes it, ``seen`` includes it (what R1 must wait for).

        ``xid`` (as XA RECOVER CONVERT XID and the binlog can both be normalised to: "formatID,hex gtrid,hex bqual")
        names an XA transaction: its rows count from its decision on, dated by this ``before``.
        """

    def changed(self, followed: F_contra, keys: Sequence[bytes], decode: KeyDecoder) -> None:
        """Rows with these raw keys changed (an UPDATE gives the old key and the new one). May block: back-pressure."""

    def end(self, processed: StreamMark, committed_at: float | None) -> None:
        """The transaction is over. ``committed_at``: source clock, Unix seconds; None if the event does not tell."""

    def decided(self, xid: str, committed: bool, before: StreamMark, processed: StreamMark) -> None:
        """XA COMMIT or XA ROLLBACK of an XID prepared earlier, perhaps before the stream's start."""

    def alive(self, processed: StreamMark, source_time: float | None) -> None:
        """A heartbeat or a transaction without selected tables: nothing to do up to ``processed``."""
