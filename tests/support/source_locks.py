"""Steps of tests on a source's lock."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import pymysql

from ferry_core.cutover.source_lock import Check, SourceLock
from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint
from tests.support.proxy import Proxy
from tests.support.servers import Server

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

READ_ONLY_ERROR = 1290
Link: TypeAlias = "Connection[Cursor]"


def stop_writes(lock: SourceLock, seconds: float = 5, confirm: Check = bool) -> None:
    """As an attempt does."""
    lock.begin(seconds)
    lock.acquire(seconds, confirm)


def run(link: Link, statement: str) -> None:
    with link.cursor() as cursor:
        cursor.execute(statement)


def refused(link: Link, statement: str) -> bool:
    try:
        run(link, statement)
    except pymysql.MySQLError as error:
        if error.args[0] != READ_ONLY_ERROR:
            raise
        return True
    return False


def ident(link: Link) -> int:
    return int(link.thread_id())  # type: ignore[no-untyped-call]


def through(proxy: Proxy, server: Server) -> Endpoint:
    return Endpoint(ServerRole.SOURCE, proxy.host, proxy.port, server.user, server.password)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)


def waiting(server: Server) -> list[int]:
    rows = server.query("SHOW FULL PROCESSLIST")
    return [
        int(row[0]) for row in rows if "mysql-ferry source lock" in (row[7] or "") and str(row[6]).startswith("Wait")
    ]
