"""A source whose binlog was reset: what was written since the old position cannot be known, so the stream ends."""

import dataclasses

import pytest

from ferry_core.errors import DataError
from ferry_core.mysql.gtid import parse_position
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.stream import Streaming
from tests.support.tables import describe

RESET = {Family.MYSQL: "RESET BINARY LOGS AND GTIDS", Family.MARIADB: "RESET MASTER"}
POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}
MANY = [f"INSERT INTO s.t VALUES ({number})" for number in range(100, 140)]


@pytest.fixture(params=list(Family))
def source(request: pytest.FixtureRequest, make_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("ferry_core.binlog.streamer.AHEAD_PATIENCE_SECONDS", 1.0)
    family: Family = request.param
    server = make_server(family.value)
    server.execute("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY)", "INSERT INTO s.t VALUES (1), (2)")
    return server


def refused(stream: Streaming, *words: str) -> None:
    failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SourceHistoryLost", failure
    for word in (*words, "start over with a fresh copy"):
        assert word in failure.message
    assert stream.streamer.status().lag_seconds is None
    print(failure.message)


def test_a_reset_while_not_connected(source: Server) -> None:
    """An idle source. MariaDB would take an unknown domain for another server's, and send nothing."""
    start = parse_position(source.flavor, source.value(POSITION[source.family]))
    source.execute(RESET[source.family])
    with Streaming(source, [describe(source, "s", "t")], start=start) as stream:
        refused(stream, str(start))


@pytest.mark.parametrize("rotated", [False, True])
def test_a_reset_while_the_connection_was_lost(source: Server, rotated: bool) -> None:
    """By then the new history is longer than the old one: judged by its GTIDs alone, nothing happened."""
    if rotated:
        source.execute("FLUSH BINARY LOGS")
    with Proxy(source.host, source.port) as proxy:
        endpoint = dataclasses.replace(source.endpoint(), port=proxy.port)
        with Streaming(source, [describe(source, "s", "t")], login=lambda: endpoint) as stream:
            source.execute("INSERT INTO s.t VALUES (3)")
            stream.wait(lambda: stream.sink.keys == [("3",)], "row")
            proxy.refuse()
            proxy.cut()
            # A file records its creation time in whole seconds.
            source.execute("DO SLEEP(1.1)", RESET[source.family], *MANY)
            proxy.accept()
            refused(stream, f"binlog.00000{1 + rotated}")
