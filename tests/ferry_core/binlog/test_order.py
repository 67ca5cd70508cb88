"""A MariaDB source whose GTIDs are out of order: a reconnect reads everything, a new run reads everything or is
refused.
"""

import dataclasses

import pytest

from ferry_core.binlog.sink import StreamMark
from ferry_core.errors import DataError
from tests.conftest import ServerFactory
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.stream import Streaming, ids
from tests.support.tables import describe

AGAIN = "SET SESSION gtid_seq_no = {}"


@pytest.fixture
def source(make_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("ferry_core.binlog.streamer.AHEAD_PATIENCE_SECONDS", 1.0)
    server = make_server("mariadb")
    server.execute("SET GLOBAL gtid_strict_mode = OFF", "RESET MASTER")
    server.execute("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY)", "INSERT INTO s.t VALUES (1)")
    return server


def write(source: Server, number: int, *ids_: int) -> None:
    """Write transactions with GTID numbers from this one on."""
    source.execute(
        *(
            statement
            for at, row in enumerate(ids_)
            for statement in (AGAIN.format(number + at), f"INSERT INTO s.t VALUES ({row})")
        )
    )


@pytest.mark.parametrize("rotated", [False, True])
@pytest.mark.parametrize("outgrown", [False, True])
def test_a_reconnect_reads_transactions_numbered_out_of_order(source: Server, rotated: bool, outgrown: bool) -> None:
    """Outgrown: the source knows the position's number again, in a file after transactions that were not read."""
    with Proxy(source.host, source.port) as proxy:
        endpoint = dataclasses.replace(source.endpoint(), port=proxy.port)
        with Streaming(source, [describe(source, "s", "t")], login=lambda: endpoint) as stream:
            source.execute("INSERT INTO s.t VALUES (2)")
            stream.wait(lambda: ids(stream) == [2], "row")
            proxy.refuse()
            proxy.cut()
            write(source, 1, 3)
            if rotated:
                source.execute("FLUSH BINARY LOGS")
            if outgrown:
                write(source, 2, *range(4, 10))
            proxy.accept()
            wanted = list(range(2, 10 if outgrown else 4))
            stream.wait(lambda: ids(stream) == wanted, f"rows {wanted}")


@pytest.mark.parametrize("outgrown", [False, True])
def test_a_new_run_that_would_skip_transactions_numbered_out_of_order_is_refused(
    source: Server, outgrown: bool
) -> None:
    with Streaming(source, [describe(source, "s", "t")]) as stream:
        source.execute("INSERT INTO s.t VALUES (2)")
        stream.wait(lambda: ids(stream) == [2], "row")
        read = stream.sink.processed[-1]
    write(source, 1, 3)
    source.execute("FLUSH BINARY LOGS")
    if outgrown:
        write(source, 2, *range(4, 10))
    tables = [describe(source, "s", "t")]
    with Streaming(source, tables, start=StreamMark(0, read.position, last_read=read.last_read)) as stream:
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "GtidsOutOfOrder", failure
    assert "gtid_strict_mode=ON" in failure.message
    assert not stream.sink.keys
