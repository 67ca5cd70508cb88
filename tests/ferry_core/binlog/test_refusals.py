"""Conditions that end a stream with one clear error, on real servers: changes that it must not skip, lost history."""

import contextlib
import dataclasses
import time

import pytest

from ferry_core.errors import DataError, FerryError, LoginRefused, ServerRole
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import parse_position, source_position
from ferry_core.mysql.identity import KnownServer
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.stream import Streaming, ids, make
from tests.support.tables import describe

FAMILIES = [family.value for family in Family]
FOR_GOOD = "no run can stream past this event: "
"""Part of the message, because the setting that caused the event may be corrected by the time somebody reads it."""


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE {}.t ADD COLUMN extra INT",
        "TRUNCATE {}.t",
        "RENAME TABLE {}.t TO {}.u",
        "DROP TABLE {}.t",
        "CREATE INDEX i ON {}.t (v)",
    ],
)
def test_ddl_on_a_selected_table_stops_the_stream(pair: Pair, schema: str, statement: str) -> None:
    make(pair.source, schema)
    text = statement.format(schema, schema)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, '')", text)
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SchemaChanged"
    assert schema in failure.message
    assert ids(stream) == [1]
    advice = "let applications use DELETE until the cutover, " if "TRUNCATE" in text else "start over with a fresh copy"
    assert f"{FOR_GOOD}{advice}" in failure.message
    with stream.control() as session:
        assert not stream.streamer.status().processed.position.contains(source_position(session))


@pytest.mark.parametrize(
    "statements", [["CREATE TABLE m (id INT PRIMARY KEY) ENGINE=MERGE UNION=(t)"], ["ALTER TABLE hollow UNION=(t)"]]
)
def test_a_merge_table_over_a_selected_one_stops_the_stream(pair: Pair, schema: str, statements: list[str]) -> None:
    """Preflight cannot know of it. What is written through it afterwards is logged as rows of the MERGE table."""
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM",
        "CREATE TABLE hollow (id INT PRIMARY KEY) ENGINE=MERGE",
    )
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        pair.source.execute(f"USE `{schema}`", "INSERT INTO t VALUES (1)", *statements)
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SchemaChanged"
    assert "UNION" in failure.message


@pytest.fixture(scope="module")
def native(make_module_server: ServerFactory) -> Server:
    """A server whose InnoDB executes cascades itself, like MariaDB's and older MySQL's, without logging them."""
    return make_module_server("mysql", innodb_native_foreign_keys=True)


@pytest.mark.parametrize("selected", ["pc", "c"], ids=["parent and child", "child"])
@pytest.mark.parametrize("change", ["DELETE FROM p WHERE id = 1", "UPDATE p SET id = 9 WHERE id = 1"])
def test_cascades_that_are_not_logged_stop_the_stream(
    native: Server, mysql_pair: Pair, change: str, selected: str
) -> None:
    """The setting may have been different during preflight. MariaDB has no such setting, and is refused beforehand."""
    told: BaseException | None = None
    for server in (mysql_pair.source, native):
        server.execute(
            "DROP DATABASE IF EXISTS t_cascades",
            "CREATE DATABASE t_cascades",
            "USE t_cascades",
            "CREATE TABLE p (id INT PRIMARY KEY)",
            "CREATE TABLE c (id INT PRIMARY KEY, p INT, "
            "FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "INSERT INTO p VALUES (1), (2), (3)",
            "INSERT INTO c VALUES (10, 1), (20, 2)",
        )
        tables = [
            dataclasses.replace(
                describe(server, "t_cascades", name),
                definition=server.query(f"SHOW CREATE TABLE t_cascades.{name}")[0][1],
            )
            for name in selected
        ]
        with Streaming(server, tables) as stream:
            server.execute(
                "USE t_cascades",
                "SET foreign_key_checks = 0",
                "DELETE FROM p WHERE id = 3",
                "SET foreign_key_checks = 1",
            )
            server.execute("USE t_cascades", "INSERT INTO c VALUES (11, 1)", "UPDATE c SET p = 2 WHERE id = 11", change)
            if server is native:
                told = stream.failed()
            else:
                server.execute("INSERT INTO t_cascades.c VALUES (77, 2)")
                stream.wait(lambda: 77 in ids(stream), "the last row is seen")
                assert ids(stream).count(10) == 1
        server.execute("DROP DATABASE t_cascades")
    assert isinstance(told, DataError)
    assert told.reason == "ForeignKeyCascades"
    assert "t_cascades.p" in told.message


def test_a_session_in_statement_format_stops_the_stream(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        pair.source.execute(
            "SET SESSION binlog_format = 'STATEMENT'",
            f"USE `{schema}`",
            "INSERT INTO t VALUES (LAST_INSERT_ID() + 1, 'ünï')",
        )
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "StatementFormat"
    assert "ünï" not in failure.message, "a value of a row"
    assert f"{FOR_GOOD}see that every session has binlog_format=ROW" in failure.message


def test_a_statement_is_decoded_in_its_clients_charset(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.`tä` (id INT PRIMARY KEY)")
    with Streaming(pair.source, [describe(pair.source, schema, "tä")]) as stream:
        with contextlib.closing(pair.source.connect(charset="latin1")) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE `{schema}`.`tä` ADD c INT")
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SchemaChanged"
    assert "tä" in failure.message


@pytest.mark.parametrize("family", FAMILIES)
def test_the_message_about_purged_binlogs_names_our_place_and_the_oldest_left(
    make_server: ServerFactory, family: str
) -> None:
    server = make_server(family)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    with Streaming(server, [describe(server, "s", "t")]) as stream:
        start = stream.streamer.status().processed.position
    server.execute("INSERT INTO s.t VALUES (1, '')", "FLUSH BINARY LOGS", "INSERT INTO s.t VALUES (2, '')")
    server.execute("FLUSH BINARY LOGS")
    newest = server.query("SHOW BINARY LOGS")[-1][0]
    deadline = time.monotonic() + 180
    while server.query("SHOW BINARY LOGS")[0][0] != newest:  # a dump thread that is ending may still hold the file
        server.execute(f"PURGE BINARY LOGS TO '{newest}'")
        assert time.monotonic() < deadline
    with Streaming(server, [describe(server, "s", "t")], start=start) as stream:
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SourceBinlogPurged", failure
    assert f"'{start}'" in failure.message
    assert newest in failure.message
    print(failure.message)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_source_without_what_we_have_read_is_refused(
    make_server: ServerFactory, family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.binlog.streamer.AHEAD_PATIENCE_SECONDS", 1.0)
    server = make_server(family)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    if server.flavor is Flavor.MYSQL:
        start = parse_position(server.flavor, f"{server.value('SELECT @@server_uuid')}:1-999")
    else:
        start = parse_position(server.flavor, f"0-{server.value('SELECT @@server_id')}-999")
    with Streaming(server, [describe(server, "s", "t")], start=start) as stream:
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SourceHistoryLost", failure
    print(failure.message)


def test_another_server_behind_the_address_is_refused(pair: Pair, make_server: ServerFactory) -> None:
    other = make_server(pair.family.value)
    pair.source.execute("CREATE DATABASE IF NOT EXISTS moved")
    pair.source.execute("CREATE TABLE IF NOT EXISTS moved.t (id INT PRIMARY KEY)")
    proxy = Proxy(pair.source.host, pair.source.port)
    known = KnownServer(ServerRole.SOURCE, 1.0)
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        known.learn(session.identity)
    try:
        logins = [dataclasses.replace(pair.source.endpoint(), port=proxy.port, known=known)]
        with Streaming(pair.source, [describe(pair.source, "moved", "t")], login=lambda: logins[-1]) as stream:
            stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
            logins.append(dataclasses.replace(other.endpoint(), known=known))
            proxy.cut()
            failure = stream.failed()
    finally:
        proxy.close()
        pair.source.drop_schemas("moved")
    assert isinstance(failure, DataError)
    assert failure.reason == "SourceReplaced"


def test_a_second_stream_with_our_server_id_is_noticed(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    tables = [describe(pair.source, schema, "t")]
    with Streaming(pair.source, tables) as older:
        older.wait(lambda: older.sink.heartbeats, "heartbeat")
        with Streaming(pair.source, tables) as newer:
            newer.wait(lambda: newer.sink.heartbeats, "heartbeat")
            failure = older.failed()
            newer.wait(lambda: newer.sink.heartbeats > 2, "heartbeats")
    assert isinstance(failure, FerryError)
    assert failure.reason == "ServerIdClash"


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stream_from_the_empty_position(make_server: ServerFactory, family: str) -> None:
    """An empty position means everything, not "from now on"."""
    server = make_server(family)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    with Streaming(server, [describe(server, "s", "t")], start=parse_position(server.flavor, "")) as stream:
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SchemaChanged"  # it saw the CREATE TABLE


def test_a_wrong_password_ends_the_stream(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    endpoint = dataclasses.replace(pair.source.endpoint(), password="wrong")
    with Streaming(pair.source, [describe(pair.source, schema, "t")], login=lambda: endpoint) as stream:
        failure = stream.failed()
    assert isinstance(failure, FerryError)
    assert failure.reason == "AccessDenied"


def test_a_source_that_refuses_a_known_login_is_retried_for_a_while(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A changed password reaches the server and the Secret at different times."""
    make(pair.source, schema)
    with Proxy(pair.source.host, pair.source.port) as proxy:
        good = dataclasses.replace(pair.source.endpoint(), port=proxy.port, accepted=True)
        logins = [good]
        with Streaming(pair.source, [describe(pair.source, schema, "t")], login=lambda: logins[-1]) as stream:
            stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
            logins.append(dataclasses.replace(good, password="old"))
            proxy.cut()
            stream.wait(lambda: stream.streamer.status().reconnects.get("connect", 0) > 2, "refused logins")
            pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, '')")
            logins.append(good)
            stream.caught_up()
            assert ids(stream) == [1]
            monkeypatch.setattr("ferry_core.binlog.streamer.LOGIN_PATIENCE_SECONDS", 0.5)
            logins.append(dataclasses.replace(good, password="old"))
            proxy.cut()
            failure = stream.failed()
    assert isinstance(failure, LoginRefused)
    assert failure.reason == "AccessDenied"
