"""R1 for tables without transactions: a statement's rows may be readable only when its table lock is released.

MyISAM and Aria show rows of a concurrent insert (one that does not block readers) to others when its statement ends.
By then its events have been in the binlog for a while, its GTID is executed and snapshots are behind it. A read in
between lacks the row without waiting. LOCK TABLES ... READ waits for every statement that writes to the table, also for
concurrent inserts. Called by the flusher and the table start, after the wait of ``visibility``.
"""

import time
from collections.abc import Callable, Collection, Sequence

from ferry_core.binlog.sink import StreamMark
from ferry_core.consistency.visibility import DEADLINE_SECONDS, Visibility
from ferry_core.errors import LockConflict, RetriableError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table

FROZEN_SECONDS = 3
"""After so long without UNLOCK TABLES the server ends the session, and with it the lock that keeps writers waiting."""


def wait_for_rows(
    session: Session,
    visibility: Visibility,
    tables: Sequence[Table],
    mark: StreamMark,
    cancelled: Callable[[], bool],
    xids: Callable[[], Collection[str]] = frozenset,
) -> bool:
    """Wait until a read of these tables sees every row changed up to ``mark``. False when cancelled.

    For ``xids`` see ``Visibility.wait``.
    """
    return visibility.wait(session, mark, cancelled, xids) and _wait_for_statements(session, tables, cancelled)


def _wait_for_statements(session: Session, tables: Sequence[Table], cancelled: Callable[[], bool]) -> bool:
    """Wait until every statement that is writing to these tables now has ended. False when cancelled.

    Tables with transactions are ignored. One after another: nobody waits for one table because we wait for the next.
    """
    locked = [table for table in tables if not table.transactional]
    if not locked:
        return True
    with session.changed("wait_timeout", FROZEN_SECONDS):
        return all(_wait(session, table, cancelled) for table in locked)


def _wait(session: Session, table: Table, cancelled: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not cancelled():
        try:
            session.execute(f"LOCK TABLES {table.source.sql} READ")
        except LockConflict:
            if time.monotonic() > deadline:
                raise RetriableError(
                    Reason.VISIBILITY_STALLED,
                    f"on {session.endpoint.address} a statement or LOCK TABLES has kept {table.id} locked for "
                    f"{DEADLINE_SECONDS:.0f} s; end it (SHOW PROCESSLIST)",
                ) from None
        else:
            session.execute("UNLOCK TABLES")
            return True
    return False
