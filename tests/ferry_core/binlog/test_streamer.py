"""The stream on real servers of both families: transactions, XA, silence, cuts, restarts."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from ferry_core.binlog import handshake
from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.frames import Frames
from ferry_core.errors import DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, source_position
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.stream import Streaming, ids, make
from tests.support.tables import describe

FAMILIES = [family.value for family in Family]
MANY = "WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i, REPEAT('x', 100) FROM n"


def deep(server: Server) -> str:
    name = "cte_max_recursion_depth" if server.flavor is Flavor.MYSQL else "max_recursive_iterations"
    return f"SET SESSION {name} = 100000000"


def test_transactions_begin_and_end_as_on_the_source(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    make(pair.source, schema, "other")
    tables = [describe(pair.source, schema, "t")]
    with Streaming(pair.source, tables) as stream:
        pair.source.execute(
            f"USE `{schema}`",
            "BEGIN",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
            "SAVEPOINT one",
            "INSERT INTO t VALUES (3, 'c')",
            "ROLLBACK TO one",
            "INSERT INTO other VALUES (1, 'a')",
            "UPDATE t SET id = 9 WHERE id = 2",
            "COMMIT",
            "INSERT INTO other VALUES (2, 'a')",
            "BEGIN",
            "INSERT INTO t VALUES (7, 'never')",
            "ROLLBACK",
            "REPLACE INTO t VALUES (1, 'z')",
            "CREATE TABLE made AS SELECT * FROM t",
            "INSERT INTO made VALUES (5, '')",
            "CREATE TABLE myisam (id INT PRIMARY KEY) ENGINE=MyISAM",
            "INSERT INTO myisam VALUES (1)",
            "DELETE FROM t WHERE id = 9",
        )
        stream.caught_up()
        with stream.control() as session:
            assert stream.streamer.status().processed.position == source_position(session)
    assert [[int(key[0]) for _, key in change.keys] for change in stream.sink.changes] == [[1, 2, 2, 9], [1], [9]]
    sequences = [mark.sequence for mark in stream.sink.processed]
    assert sequences == sorted(sequences)
    now = time.time()
    assert all(change.committed_at and abs(now - change.committed_at) < 60 for change in stream.sink.changes)
    assert all(change.seen.position.contains(change.before.position) for change in stream.sink.changes)
    assert not any(change.before.position.contains(change.seen.position) for change in stream.sink.changes)


def test_statements_that_may_make_a_table_are_counted_and_transactions_are_not(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:

        def counted(*statements: str) -> int:
            before = stream.streamer.definitions
            pair.source.execute(f"USE `{schema}`", *statements)
            stream.caught_up()
            return stream.streamer.definitions - before

        rows = ("INSERT INTO t VALUES (1, 'a')", "BEGIN", "INSERT INTO t VALUES (2, 'b')", "SAVEPOINT one", "COMMIT")
        assert counted(*rows, "XA START 'x'", "DELETE FROM t", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'") == 0
        for statement in (
            *(
                "CREATE TABLE a LIKE t",
                "CREATE TABLE b AS SELECT * FROM t",
                "CREATE /* c */ TABLE IF NOT EXISTS c (i INT)",
            ),
            *("RENAME TABLE a TO d", "ALTER TABLE b RENAME TO e"),
        ):
            assert counted(statement), statement


def test_a_table_that_is_not_transactional_is_streamed_too(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.m (id INT PRIMARY KEY) ENGINE=MyISAM")
    with Streaming(pair.source, [describe(pair.source, schema, "m")]) as stream:
        pair.source.execute(
            f"INSERT INTO `{schema}`.m VALUES (1), (2)", "BEGIN", f"INSERT INTO `{schema}`.m VALUES (3)", "ROLLBACK"
        )
        stream.caught_up()
    assert ids(stream) == [1, 2, 3]


def test_xa_transactions_are_reported_with_xid_and_decision(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        for number, xid in enumerate(("'kept','b',3", "'dropped'", "X'00ff27',X'5c00',2147483647")):
            with contextlib.closing(pair.source.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"XA START {xid}")
                cursor.execute(f"INSERT INTO `{schema}`.t VALUES ({number}, 'xa')")
                cursor.execute(f"XA END {xid}")
                cursor.execute(f"XA PREPARE {xid}")
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (50, 'between')")
        for decision in ("XA COMMIT 'kept','b',3", "XA ROLLBACK 'dropped'", "XA COMMIT X'00ff27',X'5c00',2147483647"):
            pair.source.decide_xa(decision)
        pair.source.execute(
            "XA START 'at once'", f"INSERT INTO `{schema}`.t VALUES (60, '')", "XA END 'at once'",
            "XA COMMIT 'at once' ONE PHASE",
        )  # fmt: skip
        stream.caught_up()
    kept, dropped, odd = "3,6b657074,62", f"1,{b'dropped'.hex()},", "2147483647,00ff27,5c00"
    with_xid = [(change.xid, [key[0] for _, key in change.keys]) for change in stream.sink.changes]
    assert with_xid[:4] == [(kept, ["0"]), (dropped, ["1"]), (odd, ["2"]), (None, ["50"])]
    assert with_xid[4][1] == ["60"]
    at_once = f"1,{b'at once'.hex()},"
    one_phase = [(at_once, True)] if pair.flavor is Flavor.MYSQL else []  # MariaDB logs a plain transaction
    assert stream.sink.decisions == [(kept, True), (dropped, False), (odd, True), *one_phase]
    assert with_xid[4][0] == (at_once if one_phase else None)


def test_an_idle_source_is_known_to_be_caught_up(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        assert stream.streamer.status().lag_seconds is None
        stream.wait(lambda: stream.sink.heartbeats >= 3, "heartbeats")
        status = stream.streamer.status()
        assert status.caught_up
        assert status.lag_seconds == 0
        assert status.connected
        assert status.file
    assert stream.streamer.status().lag_seconds is None


def test_heartbeats_while_the_source_skips_known_transactions_are_not_the_end(pair: Pair, schema: str) -> None:
    """The source reads its first binlog from the start to find our place; it must not count as idle meanwhile."""
    make(pair.source, schema)
    pair.source.execute(*[f"INSERT INTO `{schema}`.t VALUES ({n}, '')" for n in range(50)])
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
        stream.wait(lambda: stream.streamer.status().caught_up, "end of the binlog")
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (100, '')")
        stream.wait(lambda: stream.sink.keys, "row")
    assert ids(stream) == [100]


def test_the_end_of_the_binlog_is_reached_only_when_it_was_read(pair: Pair, schema: str) -> None:
    """Although the last heartbeat still says "caught up"."""
    make(pair.source, schema)
    entered, go_on = threading.Event(), threading.Event()

    def stall(_: int) -> None:
        entered.set()
        assert go_on.wait(180)

    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream, stream.control() as session:
        stream.wait(lambda: stream.streamer.status().caught_up, "end of the binlog")
        assert stream.streamer.reached(end_of_binlog(session))
        stream.sink.on_changed = stall
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, '')")
        end = end_of_binlog(session)
        stream.wait(entered.is_set, "row")
        stream.streamer._counters.caught_up = True
        assert not stream.streamer.reached(end)
        go_on.set()
        stream.wait(lambda: stream.streamer.reached(end), "end of the binlog")
        assert stream.sink.changes[-1].ended


def test_a_silent_connection_is_replaced_and_the_stream_continues(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.binlog.handshake.SILENCE_SECONDS", 2.0)
    make(pair.source, schema)
    with Proxy(pair.source.host, pair.source.port) as proxy:
        endpoint = dataclasses.replace(pair.source.endpoint(), port=proxy.port)
        with Streaming(pair.source, [describe(pair.source, schema, "t")], login=lambda: endpoint) as stream:
            stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
            proxy.pause()
            pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, '')")
            stream.wait(lambda: stream.streamer.status().reconnects.get("silence"), "reconnect")
            assert stream.streamer.status().lag_seconds is None
            proxy.resume()
            stream.caught_up()
    assert ids(stream) == [1]


def test_a_transaction_that_is_cut_off_is_read_again(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    rows = 150_000
    with Proxy(pair.source.host, pair.source.port) as proxy:
        endpoint = dataclasses.replace(pair.source.endpoint(), port=proxy.port)
        with Streaming(pair.source, [describe(pair.source, schema, "t")], login=lambda: endpoint) as stream:
            stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
            cuts = iter([5_000, 70_000])
            due = [next(cuts)]

            def cut(_: int) -> None:
                if due and len(stream.sink.changes[-1].keys) >= due[0]:
                    due[:] = [*cuts][:1]
                    proxy.cut()

            stream.sink.on_changed = cut
            pair.source.execute(deep(pair.source), f"INSERT INTO `{schema}`.t " + MANY.format(rows))
            pair.source.execute(f"DELETE FROM `{schema}`.t WHERE id = 1")
            stream.caught_up()
            status = stream.streamer.status()
    assert stream.sink.begins >= 4
    assert sum(status.reconnects.values()) >= 2
    assert [len(change.keys) for change in stream.sink.changes] == [rows, 1]
    assert ids(stream) == [*range(1, rows + 1), 1]


def test_the_stream_continues_after_a_restart_of_the_source(make_server: ServerFactory, pair: Pair) -> None:
    server = make_server(pair.family.value)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    with Streaming(server, [describe(server, "s", "t")]) as stream:
        server.execute("INSERT INTO s.t VALUES (1, '')")
        stream.caught_up()
        server.restart()
        server.execute("INSERT INTO s.t VALUES (2, '')")
        stream.caught_up()
    assert ids(stream) == [1, 2]
    assert stream.streamer.status().reconnects


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
def test_checksums_on_off_and_changed_while_streaming(make_server: ServerFactory, family: str, checksum: str) -> None:
    server = make_server(family, binlog_checksum=checksum)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    other = "CRC32" if checksum == "NONE" else "NONE"
    with Streaming(server, [describe(server, "s", "t")]) as stream:
        start = stream.streamer.status().processed.position
        server.execute("INSERT INTO s.t VALUES (1, '')")
        stream.caught_up()
        server.execute(f"SET GLOBAL binlog_checksum = {other}", "INSERT INTO s.t VALUES (2, '')")
        stream.caught_up()
    assert ids(stream) == [1, 2]
    with Streaming(server, [describe(server, "s", "t")], start=start) as again:
        again.caught_up()
    assert ids(again) == [1, 2]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("checksum", ["NONE", "CRC32"])
def test_checksums_changed_while_connecting(
    make_server: ServerFactory, family: str, checksum: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first event precedes the one that tells whether events have checksums."""
    server = make_server(family, binlog_checksum=checksum)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    begin = handshake._begin
    changes = iter(["CRC32" if checksum == "NONE" else "NONE"])

    def begin_after_a_change(*arguments: Any) -> None:
        for other in changes:
            server.execute(f"SET GLOBAL binlog_checksum = {other}", "FLUSH BINARY LOGS")
        begin(*arguments)

    monkeypatch.setattr(handshake, "_begin", begin_after_a_change)
    with Streaming(server, [describe(server, "s", "t")]) as stream:
        for number in (1, 2):
            server.execute(f"INSERT INTO s.t VALUES ({number}, '')")
            stream.caught_up()
    assert ids(stream) == [1, 2]
    assert stream.streamer.status().file.rpartition(".")[2].isdigit()
    print(stream.streamer.status().reconnects)


def test_tagged_gtids_are_streamed(mysql_pair: Pair, schema: str) -> None:
    source = mysql_pair.source
    make(source, schema)
    tables = [describe(source, schema, "t")]
    with Streaming(source, tables) as stream:
        source.execute(
            "SET gtid_next = 'AUTOMATIC:blue'", *[f"INSERT INTO `{schema}`.t VALUES ({n}, '')" for n in (1, 2)]
        )
        stream.caught_up()
    position = stream.streamer.status().processed.position
    assert isinstance(position, GtidSet)
    assert any(key.endswith(":blue") for key in position.intervals)
    with Streaming(source, tables, start=position) as stream:
        source.execute(f"INSERT INTO `{schema}`.t VALUES (3, '')", "SET gtid_next = 'AUTOMATIC:red'")
        source.execute("SET gtid_next = 'AUTOMATIC:red'", f"INSERT INTO `{schema}`.t VALUES (4, '')")
        stream.caught_up()
    assert ids(stream) == [3, 4]


def damage(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Change one byte of each event with the text "damaged on the way", the first ``times`` times."""
    left = [times]

    def damaging(read: Callable[[int], bytes]) -> Frames:
        def damaged(size: int) -> bytes:
            found = read(size)
            if left[0] and b"damaged on the way" in found:
                left[0] -= 1
                return found.replace(b"damaged", b"Damaged")
            return found

        return Frames(damaged)

    monkeypatch.setattr(handshake, "Frames", damaging)


def test_an_event_that_is_damaged_on_the_way_is_read_again(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(pair.source, schema)
    damage(monkeypatch, 2)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, 'damaged on the way')")
        stream.caught_up()
        assert stream.streamer.status().reconnects["corrupt"] == 2
    assert ids(stream) == [1]


def test_an_event_that_is_damaged_each_time_ends_the_run(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(pair.source, schema)
    damage(monkeypatch, -1)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (1, 'damaged on the way')")
        error = stream.failed()
    assert isinstance(error, DataError)
    assert error.reason == "BinlogCorrupt"
    assert "does not match its checksum, each of the 3 times that it was read" in error.message
