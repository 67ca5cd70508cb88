"""One Ferry under load for one case: a proxy before each server, an application that writes, and its clock.

``test_cells.py`` and the torture build on it.
"""

import contextlib
import time
from pathlib import Path
from typing import Any, Self

import pymysql

from tests.support.ferry_cli import FerryProcess
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.waits import UntilStopped
from tests.support.writers import PASSWORD, USER, Pace, Writers, create_account

DEADLINE_SECONDS = 40
"""Of a cutover attempt: a busy machine must not fail each of them."""
_BULK_ROWS = 1500
_READ_ONLY = (1290, 1836)
_COMMITS = "SET SESSION autocommit = 1"  # the driver trusts what the server says of it, which is wrong on MySQL


class Clock(UntilStopped):
    """An application that counts in one row as fast as it is let, and notes how long it was refused or had to wait."""

    def __init__(self, server: Server, schema: str) -> None:
        super().__init__()
        self._server = server
        self._statement = f"UPDATE `{schema}`.clock SET n = n + 1 WHERE id = 1"
        self._refused_since: float | None = None
        self.acknowledged = 0
        self.unknown = 0
        """Updates whose answer was lost."""
        self.longest_block = 0.0
        """Seconds from the first write that read_only refused, or that waited, until one was acknowledged. The time
        of a server that accepts no connection does not count."""

    def run(self) -> None:
        while not self.stopping.wait(0.05):
            try:
                connection = self._server.connect(user=USER, password=PASSWORD, init_command=_COMMITS)
            except (pymysql.MySQLError, OSError):
                self._refused_since = None
                continue
            with contextlib.suppress(pymysql.MySQLError, OSError), contextlib.closing(connection):
                while not self.stopping.wait(0.04):
                    self._count(connection)

    def _count(self, connection: "pymysql.connections.Connection[Any]") -> None:
        since = self._refused_since or time.monotonic()
        try:
            connection.cursor().execute(self._statement)
        except (pymysql.MySQLError, OSError) as error:
            if error.args and error.args[0] in _READ_ONLY:
                self._refused_since = since
                return
            self.unknown += 1
            raise
        self.acknowledged += 1
        self.longest_block = max(self.longest_block, time.monotonic() - since)
        self._refused_since = None


class Scene(FerryUnderLoad):
    """``source_proxy`` is before the source, as ``proxy`` is before the target."""

    def __init__(
        self, pair: Pair, schema: str, folder: Path, /, *, rows: int = _BULK_ROWS, odd: int | None = 1, **spec: Any
    ) -> None:
        self.source_proxy = Proxy(pair.source.host, pair.source.port)
        cutover = {"deadline": f"{DEADLINE_SECONDS}s"} | spec.pop("cutover", {})
        super().__init__(pair, schema, folder, rows=rows, odd=odd, cutover=cutover, **spec)
        pair.source.execute(
            f"CREATE TABLE `{schema}`.clock (id INT PRIMARY KEY, n BIGINT NOT NULL)",
            f"INSERT INTO `{schema}`.clock VALUES (1, 0)",
        )
        create_account(pair.source, schema)
        self.clock = Clock(pair.source, schema)
        pace = Pace(1, 0.06, xa=False, stop_when_read_only=False)
        self.application = Writers(pair.source, schema, self.tables, self.seed, pace)

    def another(self, name: str, *, source_port: int | None = None, **spec: Any) -> FerryProcess:
        return super().another(name, source_port=source_port or self.source_proxy.port, **spec)

    def __enter__(self) -> Self:
        self.application.start()
        self.clock.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.clock.stop()
        self.application._end()
        super().__exit__(*error)
        self.source_proxy.close()

    def writable(self) -> None:
        """The source accepts an ordinary account's write."""
        before = self.clock.acknowledged
        end = time.monotonic() + 60
        while self.clock.acknowledged == before:
            assert time.monotonic() < end, "the source accepts no write of the application"
            time.sleep(0.02)

    @property
    def ended(self) -> bool:
        return self.ferry.process is None or self.ferry.process.poll() is not None
