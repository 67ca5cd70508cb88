"""What a move costs a source that applications write to: connections, locks, the age of its read views."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.e2e.test_accounts import PASSWORD, documented
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair, Server
from tests.support.waits import meanwhile, wait_until

USER = "mover"
IN_AN_ATTEMPT = 6
"""So many at least, as docs/sizing.md says."""
OLDEST_SECONDS = 20
"""Of a read view. A read of a chunk takes a second or less, but the machine of the tests may be busy."""
SESSIONS = f"SELECT id, command, state, info FROM information_schema.processlist WHERE user = '{USER}'"
TRANSACTIONS = (
    "SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())), 0), COALESCE(MAX(trx_rows_locked), 0)"
    " FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id"
    f" WHERE user = '{USER}'"
)
MODIFIED = (
    "SELECT COALESCE(SUM(trx_rows_modified), 0) FROM information_schema.innodb_trx"
    f" JOIN information_schema.processlist ON id = trx_mysql_thread_id WHERE user = '{USER}'"
)
ROW_LOCKS = (
    "SELECT DISTINCT l.lock_type, l.lock_mode FROM performance_schema.data_locks l"
    f" JOIN performance_schema.threads USING (thread_id) WHERE processlist_user = '{USER}'"
)
"""MariaDB has nothing like it."""
TABLE_LOCKS = (
    "SELECT DISTINCT m.lock_type FROM performance_schema.metadata_locks m"
    " JOIN performance_schema.threads t ON t.thread_id = m.owner_thread_id"
    f" WHERE processlist_user = '{USER}' AND object_type = 'TABLE' AND object_schema = {{}}"
)
STATUS_LOCKS = re.compile(r" (\d+) row lock\(s\)(?:, undo log entries (\d+))?\n\S+ thread id (\d+)")
"""Of a transaction in SHOW ENGINE INNODB STATUS: row locks, changes, connection."""
READING = {"SHARED", "SHARED_HIGH_PRIO", "SHARED_READ"}
"""Metadata locks that let others read and write the table."""


@dataclass
class Impact:
    """The most that was seen at a moment."""

    looks: int = 0
    sessions: int = 0
    which: object = None
    lasting: int = 0
    """Sessions that two looks in a row have found: one that was closed may still be listed for a moment."""
    oldest_seconds: int = 0
    rows_locked: int = 0
    rows_modified: int = 0
    status_locks: int = 0
    """Row locks of one transaction, as SHOW ENGINE INNODB STATUS has them."""
    status_changes: int = 0
    row_locks: set[tuple[Any, ...]] = field(default_factory=set)
    table_locks: set[tuple[Any, ...]] = field(default_factory=set)
    """Metadata locks on tables of the schema."""


def look_at_locks(source: Server, schema: str, impact: Impact) -> None:
    ids = {str(session[0]) for session in source.query(SESSIONS)}
    impact.rows_modified = max(impact.rows_modified, int(source.value(MODIFIED)))
    (status,) = source.query("SHOW ENGINE INNODB STATUS")
    for rows, changes, session in STATUS_LOCKS.findall(status[2]):
        if session in ids:
            impact.status_locks = max(impact.status_locks, int(rows))
            impact.status_changes = max(impact.status_changes, int(changes or 0))
    if source.family is Family.MYSQL:
        impact.row_locks |= set(source.query(ROW_LOCKS))
    if source.value("SELECT @@performance_schema"):
        impact.table_locks |= set(source.query(TABLE_LOCKS.format(f"'{schema}'")))


@contextmanager
def watched(source: Server, schema: str) -> Iterator[Impact]:
    """Looks at the source all the time, until the block ends."""
    impact = Impact()

    def look(over: threading.Event) -> None:
        before: set[object] = set()
        while not over.wait(0.05):
            oldest, locked = source.query(TRANSACTIONS)[0]
            if len(found := source.query(SESSIONS)) > impact.sessions:
                impact.sessions, impact.which = len(found), found
            now = {session[0] for session in found}
            impact.lasting, before = max(impact.lasting, len(now & before)), now
            impact.oldest_seconds = max(impact.oldest_seconds, int(oldest))
            impact.rows_locked = max(impact.rows_locked, int(locked))
            look_at_locks(source, schema, impact)
            impact.looks += 1

    with meanwhile(look):
        yield impact


@pytest.mark.parametrize(("workers", "throttle"), [(4, {}), (1, {"query": "SELECT 0"})], ids=["4", "1 and a query"])
def test_a_move_is_light_on_the_source(
    pair: Pair, schema: str, tmp_path: Path, workers: int, throttle: dict[str, str]
) -> None:
    source, spec = pair.source, {"copy": {"workers": workers}, "throttle": throttle}
    most = workers + 3 + len(throttle)
    at_the_end = max(most, IN_AN_ATTEMPT + len(throttle))
    source.execute(f"DROP USER IF EXISTS {USER}@'%'")
    for statement in documented(pair, schema)[0]:
        source.execute(statement.replace("ferry@", f"{USER}@").replace("'ferry'", f"'{USER}'"))
    with FerryUnderLoad(pair, schema, tmp_path, rows=4000, odd=2, **spec) as ferry, ferry.writers(2):
        ferry.login("source", USER, PASSWORD)
        with watched(source, schema) as copying:
            ferry.ferry.start().wait_stage("Copying")
            wait_until(lambda: ferry.ferry.status()["progress"]["rowsCopied"] > 0, "rows are copied")
            ferry.ferry.kill()
        wait_until(lambda: not source.query(SESSIONS), "no session is left behind", 60)
        with watched(source, schema) as streaming:
            ferry.ferry.start().wait_stage("ReadyForCutover")
            ferry.ferry.cut_over()
    print(f"copying {copying}, until the end {streaming}")
    assert 0 < copying.sessions <= most
    assert streaming.sessions <= at_the_end + 1, "one that was closed may still be listed"
    assert streaming.lasting <= at_the_end
    for impact in (copying, streaming):
        assert impact.looks > 1
        assert impact.oldest_seconds <= OLDEST_SECONDS
        assert impact.rows_modified == impact.status_changes == 0
        assert impact.rows_locked == impact.status_locks == 0
        assert not impact.row_locks
        assert {kind for (kind,) in impact.table_locks} <= READING
    ferry.equal()
