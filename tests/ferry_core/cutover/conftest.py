"""A source whose writes are stopped, and a client that writes to it."""

import contextlib
from collections.abc import Callable, Iterator

import pymysql
import pytest

from ferry_core.cutover.source_lock import ReadOnlyLock
from tests.support.cutover_in_process import CutoverInProcess, Link
from tests.support.servers import Pair, Server


@pytest.fixture
def server(pair: Pair) -> Iterator[Server]:
    yield pair.source
    pair.source.execute("SET GLOBAL read_only = 0")


@pytest.fixture
def lock(server: Server) -> Iterator[ReadOnlyLock]:
    lock = ReadOnlyLock(server.endpoint, server.flavor, "uid-1")
    yield lock
    lock.end()


@pytest.fixture
def table(server: Server, schema: str) -> str:
    name = f"`{schema}`.t"
    server.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT)", f"INSERT INTO {name} VALUES (1, 1), (2, 2)")
    return name


@pytest.fixture
def writer(server: Server, schema: str) -> Iterator[Callable[[], Link]]:
    """Connections of an account without administrative privileges, like an application's."""
    user = f"w{schema[-6:]}"
    host = "%"
    server.execute(
        f"CREATE USER `{user}`@'localhost' IDENTIFIED BY 'pw'",
        f"CREATE USER `{user}`@'{host}' IDENTIFIED BY 'pw'",
        f"GRANT ALL ON `{schema}`.* TO `{user}`@'localhost'",
        f"GRANT ALL ON `{schema}`.* TO `{user}`@'{host}'",
    )
    links: list[Link] = []

    def connect() -> Link:
        links.append(server.connect(user=user, password="pw"))
        return links[-1]

    yield connect
    for link in links:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            link.close()
    server.execute("SET GLOBAL read_only = 0", f"DROP USER `{user}`@'localhost'", f"DROP USER `{user}`@'{host}'")


@pytest.fixture
def cutover(pair: Pair, schema: str) -> Iterator[CutoverInProcess]:
    account = f"w{schema[-6:]}"
    hosts = ("localhost", "%")
    for host in hosts:
        pair.source.execute(
            f"CREATE USER '{account}'@'{host}' IDENTIFIED BY 'pw'",
            f"GRANT INSERT ON `{schema}`.* TO '{account}'@'{host}'",
        )
    try:
        with CutoverInProcess(pair, schema, account) as cutover:
            yield cutover
    finally:
        pair.source.execute("SET GLOBAL read_only = OFF", *(f"DROP USER '{account}'@'{host}'" for host in hosts))
