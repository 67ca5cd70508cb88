"""Prepared transactions that nobody knows any more, decided as a person would: rolled back after a while.

An application forgets one if the server says that it is unknown while its old session still holds it. A server that has
lost its newest binlog brings back one that was decided. A copy waits for them, and says so.
"""

import contextlib
from collections.abc import Callable

import pymysql

from tests.support.servers import Server
from tests.support.waits import UntilStopped

_LOOK_SECONDS = 3.0


class Orphans(UntilStopped):
    """From ``start`` to ``stop``. ``known``: those that the application is still going to decide."""

    def __init__(self, server: Server, known: Callable[[], set[str]]) -> None:
        super().__init__()
        self._server = server
        self._known = known
        self.decided = 0

    def run(self) -> None:
        before: set[str] = set()
        while not self.stopping.wait(_LOOK_SECONDS):
            with contextlib.suppress(pymysql.MySQLError, OSError):  # the server is down, or a session still holds it
                found = self._prepared() - self._known()
                for xid in before & found:
                    self._server.execute(f"XA ROLLBACK {xid}")
                    self.decided += 1
                before = found

    def _prepared(self) -> set[str]:
        found = ((number, size, _bytes(data)) for number, size, _, data in self._server.query("XA RECOVER"))
        return {f"X'{data[:size].hex()}',X'{data[size:].hex()}',{number}" for number, size, data in found}


def _bytes(data: str | bytes) -> bytes:
    """MariaDB gives text."""
    return data.encode() if isinstance(data, str) else data
