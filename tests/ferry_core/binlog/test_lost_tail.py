"""A source that loses the end of its binlog in a crash reuses numbers: detected before they are skipped."""

import dataclasses
from collections.abc import Iterator

import pytest

from ferry_core.binlog.last_read import LastRead
from ferry_core.binlog.sink import StreamMark
from ferry_core.errors import DataError
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.gtid import Position
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.proxy import Proxy
from tests.support.server_faults import binlog_end, lose_tail
from tests.support.servers import Server, set_global
from tests.support.stream import Streaming, ids
from tests.support.tables import describe
from tests.support.waits import wait_until

OTHERS = [f"INSERT INTO s.t VALUES ({number})" for number in range(100, 110)]


@pytest.fixture(scope="module", params=[*Family, "mysql by file"])
def server(request: pytest.FixtureRequest, make_module_server: ServerFactory) -> Server:
    flags = {} if request.param in list(Family) else {"gtid_mode": False, "enforce_gtid_consistency": False}
    server = make_module_server(request.param.partition(" ")[0], **flags)
    server.execute("CREATE DATABASE s")
    return server


@pytest.fixture
def source(server: Server) -> Iterator[Server]:
    server.execute("FLUSH BINARY LOGS", "CREATE TABLE s.t (id INT PRIMARY KEY)", "INSERT INTO s.t VALUES (1)")
    yield server
    server.execute("SET GLOBAL binlog_checksum = CRC32", "DROP TABLE s.t")


def read(source: Server, *statements: str) -> tuple[Position, LastRead]:
    """A run that reads these and ends; returns where it got to."""
    with Streaming(source, [describe(source, "s", "t")]) as stream:
        source.execute(*statements)
        stream.caught_up()
        mark = stream.streamer.status().processed
        assert mark.last_read is not None
        return mark.position, mark.last_read


def purge(source: Server) -> str:
    """Purge all files but the newest, which it returns; a file that a dump still reads stays for a moment."""
    newest = binlog_end(source).file

    def gone() -> bool:
        source.execute(f"PURGE BINARY LOGS TO '{newest}'")
        return bool(source.query("SHOW BINARY LOGS")[0][0] == newest)

    wait_until(gone, "older files are purged")
    return newest


def persisted(source: Server) -> list[str]:
    """The newest transactions in mysql.gtid_executed, which a thread of InnoDB writes asynchronously."""
    rows = source.query("SELECT CONCAT(source_uuid, ':', interval_end) FROM mysql.gtid_executed")
    return [str(gtid) for (gtid,) in rows]


def refused(stream: Streaming, *words: str) -> None:
    failure = stream.failed()
    assert isinstance(failure, DataError), failure
    assert failure.reason == "SourceHistoryLost", failure
    for word in (*words, "start over with a fresh copy"):
        assert word in failure.message
    assert not {101, 102, 109}.intersection(ids(stream))
    print(failure.message)


def test_a_crash_that_loses_events_while_connected(source: Server) -> None:
    """Its numbers have been reused when the stream reconnects: by its position they are known."""
    with Proxy(source.host, source.port) as proxy:
        endpoint = dataclasses.replace(source.endpoint(), port=proxy.port)
        with Streaming(source, [describe(source, "s", "t")], login=lambda: endpoint) as stream:
            end = binlog_end(source)
            source.execute("INSERT INTO s.t VALUES (2)", "INSERT INTO s.t VALUES (3)")
            stream.wait(lambda: ids(stream) == [2, 3], "rows")
            proxy.refuse()
            lose_tail(source, end)
            source.execute(*OTHERS)
            proxy.accept()
            refused(stream)


def test_a_crash_that_loses_events_while_connected_and_idle(source: Server) -> None:
    """Unlike during a stalled commit this is an error at once, because the transaction itself was requested."""
    with Streaming(source, [describe(source, "s", "t")]) as stream:
        end = binlog_end(source)
        source.execute("INSERT INTO s.t VALUES (2)")
        stream.wait(lambda: ids(stream) == [2], "row")
        lose_tail(source, end)
        refused(stream)


def test_a_crash_that_loses_events_while_not_connected(source: Server) -> None:
    end = binlog_end(source)
    position, last = read(source, "INSERT INTO s.t VALUES (2)", "INSERT INTO s.t VALUES (3)")
    lose_tail(source, end)
    source.execute(*OTHERS)
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, position, last_read=last)) as stream:
        refused(stream, last.file)


def test_lost_events_after_the_checkpoints_position(source: Server) -> None:
    """A checkpoint lags behind what was read and written: the loss may lie between the two."""
    position, _ = read(source, "INSERT INTO s.t VALUES (2)")
    end = binlog_end(source)
    _, last = read(source, "INSERT INTO s.t VALUES (3)")
    lose_tail(source, end)
    source.execute(*OTHERS)
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, position, last_read=last)) as stream:
        refused(stream)


@pytest.mark.parametrize("processed", [False, True])
def test_innodb_keeps_the_gtid_of_a_lost_event(source: Server, processed: bool) -> None:
    """From then on the source lists it in gtid_purged, as if it had purged a file."""
    if source.family is Family.MARIADB:
        pytest.skip("MariaDB has its GTIDs in the binlog alone")
    position, _ = read(source, "INSERT INTO s.t VALUES (2)")
    if isinstance(position, FilePosition):
        pytest.skip("it has no GTIDs")
    end = binlog_end(source)
    after, last = read(source, "INSERT INTO s.t VALUES (3)")
    wait_until(lambda: last.gtid in persisted(source), "InnoDB has stored the GTID")
    lose_tail(source, end)
    source.execute(*OTHERS)
    start = after if processed else position
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, start, last_read=last)) as stream:
        refused(stream)


@pytest.mark.parametrize("how", ["clean", "crash"])
def test_a_restart_that_loses_nothing(source: Server, how: str) -> None:
    with Streaming(source, [describe(source, "s", "t")]) as stream:
        source.execute("INSERT INTO s.t VALUES (2)")
        stream.wait(lambda: ids(stream) == [2], "row")
        source.stop() if how == "clean" else source.kill()
        source.start()
        source.execute(*OTHERS)
        stream.wait(lambda: ids(stream) == [2, *range(100, 110)], "rows of the new file")


def test_lost_events_of_a_run_that_has_read_only_a_place(source: Server) -> None:
    """On an idle source the run knows from heartbeats how far the file was written."""
    end = binlog_end(source)
    source.execute("INSERT INTO s.t VALUES (2)")
    with Streaming(source, [describe(source, "s", "t")]) as stream:
        stream.wait(lambda: stream.streamer.status().processed.last_read is not None, "heartbeat")
        lose_tail(source, end)
        refused(stream)


@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
def test_checksums_switched_before_the_reconnect(source: Server, checksum: str) -> None:
    """Events in a file keep their original checksum setting."""
    source.execute(f"SET GLOBAL binlog_checksum = {'CRC32' if checksum == 'NONE' else 'NONE'}")
    position, last = read(source, "INSERT INTO s.t VALUES (2)")
    source.execute(f"SET GLOBAL binlog_checksum = {checksum}", "INSERT INTO s.t VALUES (3)")
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, position, last_read=last)) as stream:
        stream.wait(lambda: ids(stream) == [3], "row")


@pytest.mark.parametrize("lost", [False, True])
def test_the_last_transaction_was_compressed(source: Server, lost: bool) -> None:
    """Events inside a compressed transaction have no place of their own in the file."""
    mysql = source.family is Family.MYSQL
    name = "binlog_transaction_compression" if mysql else "log_bin_compress"
    with set_global(source, f"{name} = ON", *([] if mysql else ["log_bin_compress_min_len = 10"])):
        end = binlog_end(source)
        many = ", ".join(f"({number})" for number in range(1000, 1100))
        position, last = read(source, f"INSERT INTO s.t VALUES {many}")
        if lost:
            lose_tail(source, end)
        source.execute(*OTHERS)
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, position, last_read=last)) as stream:
        if lost:
            refused(stream)
        else:
            stream.wait(lambda: ids(stream) == [*range(100, 110)], "rows")


@pytest.mark.parametrize("flushes", [1, 2])
def test_the_last_file_was_purged_without_new_writes(source: Server, flushes: int) -> None:
    """The file with the last transaction is gone; its successor shows that the transaction came before."""
    position, last = read(source, "INSERT INTO s.t VALUES (2)")
    source.execute("FLUSH BINARY LOGS")
    if flushes > 1:
        source.restart()
    newest = purge(source)
    source.execute("INSERT INTO s.t VALUES (3)")
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, position, last_read=last)) as stream:
        if flushes == 1 and not isinstance(position, FilePosition):  # nothing else tells what the file ended with
            stream.wait(lambda: ids(stream) == [3], "row")
            return
        failure = stream.failed()
        assert isinstance(failure, DataError)
        assert failure.reason == "SourceBinlogPurged"
        assert newest in failure.message


def test_the_last_file_was_rotated_and_purged(source: Server) -> None:
    """However often: the stream has seen the start of each new file."""
    with Streaming(source, [describe(source, "s", "t")]) as stream:
        source.execute("INSERT INTO s.t VALUES (2)", *["FLUSH BINARY LOGS"] * 3)
        newest = binlog_end(source).file
        stream.wait(lambda: stream.streamer.status().file == newest, "newest file")
        assert purge(source) == newest
        source.restart()
        source.execute("INSERT INTO s.t VALUES (3)")
        stream.wait(lambda: ids(stream) == [2, 3], "rows")


def test_lost_events_whose_file_was_purged(source: Server) -> None:
    """The lost numbers were reused and purged: the oldest remaining file begins before them."""
    position, last = read(source, "INSERT INTO s.t VALUES (2)")
    gone = last._replace(file=last.file.replace("binlog.00", "binlog.99"))
    with Streaming(source, [describe(source, "s", "t")], start=StreamMark(0, position, last_read=gone)) as stream:
        refused(stream, gone.file)
