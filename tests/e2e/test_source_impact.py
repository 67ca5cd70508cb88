"""What a move costs a source that applications write to: connections, locks, the age of its read views."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.servers import Family
from tests.e2e.test_accounts import PASSWORD, documented
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair, Server
from tests.support.waits import meanwhile, wait_until

USER = "mover"
WORKERS = 4
MOST = WORKERS + 3
"""As docs/sizing.md says."""
OLDEST_SECONDS = 20
"""Of a read view. A read of a chunk takes a second or less, but the machine of the tests may be busy."""
SESSIONS = f"SELECT id, command, state, info FROM information_schema.processlist WHERE user = '{USER}'"
TRANSACTIONS = (
    "SELECT COALESCE(MAX(TIMESTAMPDIFF(SECOND, trx_started, NOW())), 0), COALESCE(MAX(trx_rows_locked), 0)"
    " FROM information_schema.innodb_trx JOIN information_schema.processlist ON id = trx_mysql_thread_id"
    f" WHERE user = '{USER}'"
)


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


@contextmanager
def watched(source: Server) -> Iterator[Impact]:
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
            impact.looks += 1

    with meanwhile(look):
        yield impact


def test_a_move_is_light_on_the_source(pair: Pair, schema: str, tmp_path: Path) -> None:
    source = pair.source
    source.execute(f"DROP USER IF EXISTS {USER}@'%'")
    for statement in documented(pair, schema)[0]:
        source.execute(statement.replace("ferry@", f"{USER}@").replace("'ferry'", f"'{USER}'"))
    with FerryUnderLoad(pair, schema, tmp_path, rows=4000, odd=2, copy={"workers": WORKERS}) as ferry, ferry.writers(2):
        ferry.login("source", USER, PASSWORD)
        with watched(source) as copying:
            ferry.ferry.start().wait_stage("Copying")
            wait_until(lambda: ferry.ferry.status()["progress"]["rowsCopied"] > 0, "rows are copied")
            ferry.ferry.kill()
        wait_until(lambda: not source.query(SESSIONS), "no session is left behind", 60)
        with watched(source) as streaming:
            ferry.ferry.start().wait_stage("ReadyForCutover")
            ferry.ferry.cut_over()
    print(f"copying {copying}, until the end {streaming}")
    assert 0 < copying.sessions <= MOST
    assert streaming.sessions <= MOST + 1, "one that was closed may still be listed"
    assert streaming.lasting <= MOST
    for impact in (copying, streaming):
        assert impact.looks > 1
        assert impact.oldest_seconds <= OLDEST_SECONDS
        if pair.family is Family.MYSQL:
            assert impact.rows_locked == 0
    ferry.equal()
