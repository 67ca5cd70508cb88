"""R2: the steps before the first chunk of a table may be read, in this order, repeated at every resume.

    raise the epoch                             this run becomes the only writer
    empty the table's rows on the target        only rows that the lease says may be ours, without a recorded start
    track from stream position s, record it     durably: a crash after this resumes, a crash before it empties again
    wait until everything up to s is visible    R1
    wait for statements that execute XA PREPARE it may be in the binlog before s, and not in XA RECOVER yet
    wait for every XID of XA RECOVER            its XA COMMIT will contain no keys, so chunks must read its rows
    wait up to the binlog's end                 R1 once more, or locking reads
    wait for statements that hold table locks   R1 for tables without transactions
    check keys that may be NULL, or promised    ``tables.nullable``

Called by the coordinator, in its thread.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from ferry_core.binlog.sink import StreamMark
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.table_locks import wait_for_rows
from ferry_core.consistency.visibility import Visibility
from ferry_core.errors import DataError, Interrupted, RetriableError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.mysql.xa import Applied, being_prepared, prepared_xids
from ferry_core.reasons import Reason
from ferry_core.tables.nullable import refuse_unusable
from ferry_core.tables.table import Table

T = TypeVar("T")

XA_SECONDS = 600.0
XA_POLL_SECONDS = 0.2
EMPTY_ROWS = 20_000
"""Rows that one DELETE removes. Transactions stay short, so that a successor's new epoch never waits long."""


class Owned(Protocol):
    """A table, and which rows on the target are ours."""

    @property
    def table(self) -> Table: ...
    @property
    def ours(self) -> str: ...


def empty_tables(
    fence: Fence, session: Session, owned: Sequence[Owned], wait_while_paused: Callable[[], object]
) -> int:
    """Delete our rows of tables without a record of a start: ghost rows of an earlier run whose state is lost.

    Uses DELETE in fenced transactions, not TRUNCATE: DDL of a superseded run would empty its successor's table.
    """
    deleted = 0
    for one in owned:
        left = True
        while left:
            wait_while_paused()
            try:
                with fence.transaction(session):
                    rows = session.execute(f"DELETE FROM {one.table.target.sql} WHERE {one.ours} LIMIT {EMPTY_ROWS}")
            except Interrupted:
                continue  # a rolled-back DELETE restores its rows: only a commit tells how many are left
            left = rows == EMPTY_ROWS
            deleted += rows
    return deleted


def make_readable(
    session: Session,
    visibility: Visibility,
    tables: Sequence[Table],
    start: StreamMark,
    streamed_to_the_end: Callable[[], StreamMark | None],
    cancelled: Callable[[], bool],
    say: Callable[[str], None],
) -> bool:
    """The waits of a table's start, repeated at every resume with unread chunks. False when cancelled.

    ``streamed_to_the_end`` returns the mark once the streamer has read up to the current end of the binlog; None when
    cancelled. ``say`` reports what is waited for.
    """
    if not visibility.wait(session, start, cancelled):
        return False
    if not wait_for_prepares(session, cancelled, say):
        return False
    if not _wait_for_decisions(session, cancelled, say):
        return False
    end = streamed_to_the_end()
    if end is None or not wait_for_rows(session, visibility, tables, end, cancelled):
        return False
    refuse_unusable(session, tables, visibility.lock_clause)
    return True


def wait_for_prepares(session: Session, cancelled: Callable[[], bool], say: Callable[[str], None]) -> bool:
    """Wait until each XA PREPARE that is being executed is over, so that XA RECOVER lists it. False when cancelled.

    Without it, a PREPARE whose flush to the disk takes long is missed by the stream, which begins after it, and by XA
    RECOVER: its rows are neither in chunks nor among changed keys.
    """
    where = session.endpoint.where
    for left, late in _left(lambda: being_prepared(session), cancelled):
        connections = ", ".join(str(ident) for ident, _ in sorted(left))
        if late:
            raise RetriableError(
                Reason.VISIBILITY_STALLED,
                f"{where} has been executing XA PREPARE for {XA_SECONDS:.0f} s (connections {connections}), as if its "
                "disk were stalled: look at that disk",
            )
        say(f"waiting until XA PREPARE of connections {connections} on {where} is over")
    return not cancelled() and (session.flavor is not Flavor.MARIADB or _wait_for_applied(session, cancelled, say))


def _wait_for_applied(session: Session, cancelled: Callable[[], bool], say: Callable[[str], None]) -> bool:
    """The same for an XA PREPARE that replication executes: wait for all that it has written to the binlog."""
    where = session.endpoint.where
    for left, late in _left(Applied(session).missing, cancelled):
        gtids = ", ".join(f"{number} of domain {domain}" for domain, number in sorted(left))
        if late:
            raise RetriableError(
                Reason.VISIBILITY_STALLED,
                f"{where} has been applying replicated transactions for {XA_SECONDS:.0f} s (sequence number {gtids}), "
                "as if its disk were stalled: look at that disk, and at SHOW SLAVE STATUS",
            )
        say(f"waiting until {where} has applied replicated transactions that are in its binlog: number {gtids}")
    return not cancelled()


def _wait_for_decisions(session: Session, cancelled: Callable[[], bool], say: Callable[[str], None]) -> bool:
    """Wait until each XA transaction that was prepared at the first check is decided."""
    for left, late in _left(lambda: prepared_xids(session), cancelled):
        xids = ", ".join(sorted(left))
        if late:
            raise DataError(
                Reason.XA_UNDECIDED,
                f"XA transactions stayed prepared for {XA_SECONDS:.0f} s on {session.endpoint.address}: {xids} "
                "(formatID,gtrid,bqual); their rows cannot be copied before that; run XA COMMIT or XA ROLLBACK for "
                "each, then start the Ferry again",
            )
        say(f"waiting for XA transactions prepared before the copy began: {xids}")
    return not cancelled()


def _left(look: Callable[[], Iterable[T]], cancelled: Callable[[], bool]) -> Iterator[tuple[set[T], bool]]:
    """Of what the first look finds, what is left at each later one, and whether that is for too long.

    Ends when nothing is left, or when cancelled.
    """
    left, deadline = set(look()), time.monotonic() + XA_SECONDS
    while left and not cancelled():
        yield left, time.monotonic() > deadline
        time.sleep(XA_POLL_SECONDS)
        left &= set(look())
