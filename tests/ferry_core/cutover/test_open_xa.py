"""Who can still commit under super_read_only: only an XA transaction that has changed rows."""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pymysql
import pytest

from ferry_core.cutover.open_xa import open_xa
from ferry_core.mysql.session import Purpose, Session
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

PASSWORD = "open-Xa-1"


@pytest.fixture
def server(mysql_pair: Pair, schema: str) -> Iterator[Server]:
    """A server with one open ordinary transaction, and an account with no more privileges than preflight asks for."""
    server = mysql_pair.source
    server.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)",
        f"CREATE USER IF NOT EXISTS app IDENTIFIED BY '{PASSWORD}'",
        f"CREATE USER IF NOT EXISTS least IDENTIFIED BY '{PASSWORD}'",
        "GRANT PROCESS ON *.* TO least",
        f"GRANT ALL ON `{schema}`.* TO app",
    )
    yield server
    server.execute("SET GLOBAL read_only = 0", "DROP USER app, least")


@contextlib.contextmanager
def application(server: Server, *statements: str) -> Iterator[Any]:
    with contextlib.closing(server.connect(user="app", password=PASSWORD)) as connection:
        for statement in statements:
            connection.cursor().execute(statement)
        yield connection


def asked(server: Server, user: str) -> list[str]:
    endpoint = server.endpoint("source")
    if user != "root":
        endpoint = replace(endpoint, user=user, password=PASSWORD)
    with Session(endpoint, Purpose.CONTROL) as session:
        return open_xa(session)


@pytest.mark.parametrize("user", ["root", "least"])
@pytest.mark.parametrize("ended", [[], ["XA END 'x'"]], ids=["active", "idle"])
def test_an_open_xa_transaction_is_named_and_could_still_commit(
    server: Server, schema: str, user: str, ended: list[str]
) -> None:
    begun = ["XA START 'x'", f"INSERT INTO `{schema}`.t VALUES (1)", *ended]
    with application(server, *begun) as connection:
        server.execute("SET GLOBAL super_read_only = 1")
        found = asked(server, user)
        assert len(found) == 1
        assert f"connection {connection.thread_id()} " in found[0]
        cursor = connection.cursor()
        for statement in (*([] if ended else ["XA END 'x'"]), "XA PREPARE 'x'", "XA COMMIT 'x'"):
            cursor.execute(statement)
    assert server.query(f"SELECT id FROM `{schema}`.t") == [(1,)], "a row that nobody would have moved"
    assert asked(server, user) == []


def test_an_ordinary_transaction_is_not_listed_and_cannot_commit(server: Server, schema: str) -> None:
    with application(server, "BEGIN", f"INSERT INTO `{schema}`.t VALUES (1)") as connection:
        server.execute("SET GLOBAL super_read_only = 1")
        assert asked(server, "root") == []
        doubtful = asked(server, "least")
        assert len(doubtful) == 1
        assert "may be in an XA transaction; GRANT SELECT ON performance_schema.*" in doubtful[0]
        with pytest.raises(pymysql.OperationalError, match="read-only"):
            connection.cursor().execute("COMMIT")


def test_an_xa_transaction_without_changes_cannot_change_anything_any_more(server: Server, schema: str) -> None:
    with application(server, "XA START 'x'", f"SELECT * FROM `{schema}`.t") as connection:
        server.execute("SET GLOBAL super_read_only = 1")
        assert asked(server, "least") == []
        with pytest.raises(pymysql.OperationalError, match="read-only"):
            connection.cursor().execute(f"INSERT INTO `{schema}`.t VALUES (1)")


def test_without_transaction_instruments_every_change_counts(server: Server, schema: str) -> None:
    consumer = "UPDATE performance_schema.setup_consumers SET enabled = '{}' WHERE name = 'events_transactions_current'"
    server.execute(consumer.format("NO"))
    try:
        with application(server, "XA START 'x'", f"INSERT INTO `{schema}`.t VALUES (1)") as connection:
            found = asked(server, "root")
        assert f"connection {connection.thread_id()} " in found[0]
    finally:
        server.execute(consumer.format("YES"))


def test_an_uninstrumented_session_counts_if_it_changed_rows(server: Server, schema: str) -> None:
    with application(server) as connection:
        unwatched = "UPDATE performance_schema.threads SET instrumented = 'NO' WHERE processlist_id = {}"
        server.execute(unwatched.format(connection.thread_id()))
        for statement in ("XA START 'x'", f"INSERT INTO `{schema}`.t VALUES (1)"):
            connection.cursor().execute(statement)
        assert f"connection {connection.thread_id()} " in asked(server, "root")[0]


def test_an_outdated_list_of_transactions_is_not_trusted(
    server: Server, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A monitor that reads innodb_trx more often than every 100 ms prevents its refresh. While the machine stops all of
    them for longer, the list is refreshed and names the transaction: never is there none.
    """
    monkeypatch.setattr("ferry_core.cutover.open_xa.FRESH_SECONDS", 0.3)
    reading = "WHILE TRUE DO SELECT COUNT(*) INTO @seen FROM information_schema.innodb_trx; END WHILE"
    server.execute(f"CREATE PROCEDURE `{schema}`.monitor() BEGIN {reading}; END")
    with contextlib.ExitStack() as monitors:
        for _ in range(3):  # in the server, and several threads: a busy CPU seldom delays all of them that long
            monitors.enter_context(calling(server, f"CALL `{schema}`.monitor()"))
        with application(server, "XA START 'x'", f"INSERT INTO `{schema}`.t VALUES (1)") as connection:

            def stale() -> bool:
                (found,) = asked(server, "least")
                assert "stale" in found or f"connection {connection.thread_id()} " in found
                return "stale" in found

            wait_until(stale, "the list is stale")
            assert "has an open XA transaction, ACTIVE" in asked(server, "root")[0]


@contextlib.contextmanager
def calling(server: Server, statement: str) -> Iterator[None]:
    """While entered, an endless statement is running."""
    connection: Any = server.connect()
    thread = threading.Thread(target=_until_killed, args=(connection, statement))
    thread.start()
    try:
        runs = f"SELECT 1 FROM information_schema.processlist WHERE id = {connection.thread_id()} AND command = 'Query'"
        wait_until(lambda: server.query(runs), "it runs")
        yield
    finally:
        server.execute(f"KILL {connection.thread_id()}")
        thread.join()


def _until_killed(connection: Any, statement: str) -> None:
    with contextlib.suppress(pymysql.MySQLError):
        connection.cursor().execute(statement)
