"""XA transactions that are open when writes are stopped: MySQL's super_read_only lets them be prepared and committed.

Measured on MySQL 9.7 as an ordinary user under super_read_only: XA PREPARE and XA COMMIT of a transaction that has
changed rows succeed. Every statement that changes rows is refused, and so are COMMIT and XA COMMIT ... ONE PHASE. So no
new ones can appear after the lock, and the existing ones end. MariaDB's read_only refuses XA COMMIT too. Called by
``source_lock``, which the attempt asks under the lock.

performance_schema shows who is in an XA transaction, at any moment. If it is off or not readable, every transaction
that has changed rows may be one: information_schema.innodb_trx is a copy that is refreshed at most every 100 ms, and
never while somebody reads it more often than that (storage/innobase/trx/trx0i_s.cc). So it counts only if it shows a
transaction that began after the lock: our own.
"""

import threading
import time
from collections.abc import Collection

from ferry_core.errors import ConfigError
from ferry_core.mysql.session import Session

FRESH_SECONDS = 1.0
"""How long to wait for a copy of innodb_trx that is newer than the lock."""

_LOOK_SECONDS = 0.11

_OPEN = """
SELECT CONCAT('connection ', h.processlist_id, ' (', h.processlist_user, '@', h.processlist_host,
              ') has an open XA transaction, ', t.xa_state)
FROM performance_schema.events_transactions_current t JOIN performance_schema.threads h USING (thread_id)
WHERE t.state = 'ACTIVE' AND t.xa_state IN ('ACTIVE', 'IDLE', 'ROLLBACK ONLY') AND h.processlist_id IS NOT NULL
ORDER BY t.timer_start"""

_WATCHED = """
SELECT (SELECT COUNT(*) = 3 FROM performance_schema.setup_consumers WHERE enabled = 'YES'
        AND name IN ('global_instrumentation', 'thread_instrumentation', 'events_transactions_current'))
   AND (SELECT COUNT(*) = 1 FROM performance_schema.setup_instruments WHERE enabled = 'YES' AND name = 'transaction')
   AND (SELECT COUNT(*) = 0 FROM performance_schema.threads
        WHERE instrumented = 'NO' AND processlist_user IS NOT NULL)"""

_CHANGED = "SELECT trx_mysql_thread_id, trx_rows_modified FROM information_schema.innodb_trx"


def open_xa(session: Session) -> list[str]:
    """One line for each foreign session that is, or may be, in an XA transaction. ``session`` begins none of its own.

    Raises ConfigError without PROCESS if performance_schema cannot be read.
    """
    try:
        found = [(row[0] or b"").decode() for row in session.query(_OPEN)]
        if session.number(_WATCHED):
            return found
    except ConfigError:
        found = []  # no SELECT on performance_schema
    return found or [_doubtful(ident) for ident in _changers(session)]


def _changers(session: Session) -> Collection[int]:
    """Connections whose transaction has changed rows. XA RECOVER lists prepared ones without a connection."""
    pause = threading.Event()
    end = time.monotonic() + FRESH_SECONDS
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    try:
        while True:
            changed = {int(row[0] or 0): int(row[1] or 0) for row in session.query(_CHANGED)}
            if session.connection_id in changed:
                return sorted(ident for ident, rows in changed.items() if ident and rows)
            if time.monotonic() > end:
                return [0]
            pause.wait(_LOOK_SECONDS)
    finally:
        session.rollback()


def _doubtful(ident: int) -> str:
    how_to_tell = "GRANT SELECT ON performance_schema.* to this account, or switch its transaction events on, to tell"
    if not ident:
        return f"information_schema.innodb_trx is read so often by others that its contents are stale; {how_to_tell}"
    return f"connection {ident} has changed rows and may be in an XA transaction; {how_to_tell}"
