"""Finds what prevents stopping writes: open transactions and lock holders.

Called by ``source_lock`` when an attempt has timed out, and by the attempt for its message. Reads only. Works with the
fewest privileges, and names a missing one.
"""

from ferry_core.errors import ConfigError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.processes import Process, processes
from ferry_core.mysql.session import Row, Session
from ferry_core.mysql.shown_statement import without_literals

AT_MOST = 20
"""Maximum number of lines, because they go into a message."""

_VICTIM_STATES = ("Waiting for global read lock", "Waiting for commit lock", "Waiting for backup lock")
"""These wait for the attempt's own lock: the attempt blocks them, not the other way round."""

# trx_started is in the server's system time zone, whatever the session's time zone.
_TRANSACTIONS = """
SELECT trx_mysql_thread_id, TIMESTAMPDIFF(SECOND, trx_started, CONVERT_TZ(NOW(), @@session.time_zone, 'SYSTEM')),
       trx_rows_modified
FROM information_schema.innodb_trx ORDER BY trx_started LIMIT 1000"""

# What makes SET GLOBAL super_read_only wait: a running write statement, LOCK TABLES WRITE, a stalled commit.
_MYSQL_HOLDERS = """
SELECT DISTINCT t.processlist_id FROM performance_schema.metadata_locks m
JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id
WHERE m.object_type IN ('GLOBAL', 'COMMIT') AND m.lock_type = 'INTENTION_EXCLUSIVE' AND m.lock_status = 'GRANTED'
  AND t.processlist_id IS NOT NULL AND t.processlist_id <> CONNECTION_ID() LIMIT 1000"""

_MARIADB_HOLDERS = """
SELECT DISTINCT thread_id FROM information_schema.metadata_lock_info
WHERE lock_mode LIKE 'MDL_BACKUP%' AND thread_id <> CONNECTION_ID() LIMIT 1000"""

_MARIADB_HAS_LOCK_INFO = """
SELECT COUNT(*) FROM information_schema.plugins WHERE plugin_name = 'METADATA_LOCK_INFO' AND plugin_status = 'ACTIVE'"""


def blockers(session: Session) -> list[str]:
    """One line for each foreign transaction and lock holder: certain blockers first, then by age."""
    try:
        transactions = {int(row[0] or 0): row for row in reversed(session.query(_TRANSACTIONS))}
    except ConfigError as error:
        return [f"not visible to this account ({error.message}); GRANT PROCESS ON *.* to see who is in the way"]
    connected = {process.ident: process for process in processes(session)}
    holders = _holders(session)
    own = session.connection_id
    lines = []
    for thread in [*holders, *(t for t in reversed(transactions) if t not in holders)]:
        process = connected.get(thread)
        if thread == own or (process is not None and process.state in _VICTIM_STATES):
            continue
        lines.append(_line(thread, process, transactions.get(thread), holds=thread in holders))
    if len(lines) > AT_MOST:
        return [*lines[:AT_MOST], f"and {len(lines) - AT_MOST} more"]
    return lines


def _holders(session: Session) -> list[int]:
    """Connections that hold the global write intention lock, if the server shows it and the account may read it."""
    try:
        if session.flavor is Flavor.MYSQL:
            rows = session.query(_MYSQL_HOLDERS)
        elif session.number(_MARIADB_HAS_LOCK_INFO):
            rows = session.query(_MARIADB_HOLDERS)
        else:
            return []
    except ConfigError:
        # A missing privilege on these views only costs detail.
        return []
    return sorted(int(row[0] or 0) for row in rows)


def _line(thread: int, process: Process | None, transaction: Row | None, *, holds: bool) -> str:
    if process is None:
        who = f"connection {thread}" if thread else "prepared XA transaction without a connection"
    else:
        schema = f", schema {process.schema}" if process.schema else ""
        who = f"connection {thread} ({process.user}@{process.host}{schema})"
    parts = []
    if transaction is not None:
        age, changed = int(transaction[1] or 0), int(transaction[2] or 0)
        parts.append(f"transaction open for {age} s with {changed} changed rows")
    if holds:
        parts.append("holds the global write lock" if transaction is not None else "holds write locks")
    if process is not None and process.statement:
        text = " ".join(without_literals(process.statement).split())
        parts.append(f"running for {process.seconds} s: {text[:80]}{'...' if len(text) > 80 else ''}")
    elif process is not None and process.command == "Sleep":
        parts.append(f"idle for {process.seconds} s")
    return f"{who}: {', '.join(parts)}"
