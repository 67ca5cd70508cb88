"""The stream on real servers of both families: transactions, XA, silence, cuts, and everything it must refuse."""

import contextlib
import dataclasses
import threading
import time

import pytest

from ferry_core.binlog.ending import end_of_binlog
from ferry_core.errors import DataError, FerryError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, parse_position, source_position
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.stream import Streaming, describe

FAMILIES = [family.value for family in Family]
MANY = "WITH RECURSIVE n AS (SELECT 1 i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT i, REPEAT('x', 100) FROM n"


def deep(server: Server) -> str:
    name = "cte_max_recursion_depth" if server.flavor is Flavor.MYSQL else "max_recursive_iterations"
    return f"SET SESSION {name} = 100000000"


def make(server: Server, schema: str, name: str = "t") -> None:
    server.execute(f"CREATE TABLE `{schema}`.`{name}` (id BIGINT PRIMARY KEY, v VARCHAR(200))")


def ids(stream: Streaming) -> list[int]:
    return [int(key[0]) for key in stream.sink.keys]


def test_transactions_keep_their_bounds(pair: Pair, schema: str) -> None:
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


def test_a_table_that_is_not_transactional_is_streamed_too(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.m (id INT PRIMARY KEY) ENGINE=MyISAM")
    with Streaming(pair.source, [describe(pair.source, schema, "m")]) as stream:
        pair.source.execute(
            f"INSERT INTO `{schema}`.m VALUES (1), (2)", "BEGIN", f"INSERT INTO `{schema}`.m VALUES (3)", "ROLLBACK"
        )
        stream.caught_up()
    assert ids(stream) == [1, 2, 3]


def test_xa_transactions_carry_their_xid_and_their_decision(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        for number, xid in enumerate(("'kept','b',3", "'dropped'", "X'00ff27',X'5c00',2147483647")):
            with contextlib.closing(pair.source.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(f"XA START {xid}")
                cursor.execute(f"INSERT INTO `{schema}`.t VALUES ({number}, 'xa')")
                cursor.execute(f"XA END {xid}")
                cursor.execute(f"XA PREPARE {xid}")
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (50, 'between')")
        pair.source.execute("XA COMMIT 'kept','b',3", "XA ROLLBACK 'dropped'", "XA COMMIT X'00ff27',X'5c00',2147483647")
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
    one_phase = [(at_once, True)] if pair.flavor is Flavor.MYSQL else []  # MariaDB writes a plain transaction
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
    """The source reads its first binlog from the start to find our place: it must not pass for an idle one."""
    make(pair.source, schema)
    pair.source.execute(*[f"INSERT INTO `{schema}`.t VALUES ({n}, '')" for n in range(50)])
    with Streaming(pair.source, [describe(pair.source, schema, "t")]) as stream:
        stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
        stream.wait(lambda: stream.streamer.status().caught_up, "end of the binlog")
        pair.source.execute(f"INSERT INTO `{schema}`.t VALUES (100, '')")
        stream.wait(lambda: stream.sink.keys, "row")
    assert ids(stream) == [100]


def test_the_end_of_the_binlog_is_reached_only_when_it_was_read(pair: Pair, schema: str) -> None:
    """Though the last heartbeat still says "caught up"."""
    make(pair.source, schema)
    entered, go_on = threading.Event(), threading.Event()

    def stall(_: int) -> None:
        entered.set()
        assert go_on.wait(30)

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


def test_silence_is_a_lost_connection_and_the_stream_goes_on(
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


def test_a_cut_in_the_middle_of_a_transaction_begins_it_again(pair: Pair, schema: str) -> None:
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
            stream.caught_up(60)
            status = stream.streamer.status()
    assert stream.sink.begins >= 4
    assert sum(status.reconnects.values()) >= 2
    assert [len(change.keys) for change in stream.sink.changes] == [rows, 1]
    assert ids(stream) == [*range(1, rows + 1), 1]


def test_a_restarted_source_is_followed_on(make_server: ServerFactory, pair: Pair) -> None:
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
def test_checksums_on_and_off_and_changed_on_the_way(make_server: ServerFactory, family: str, checksum: str) -> None:
    server = make_server(family, binlog_checksum=checksum)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    other = "CRC32" if checksum == "NONE" else "NONE"
    with stream_of(server) as stream:
        start = stream.streamer.status().processed.position
        server.execute("INSERT INTO s.t VALUES (1, '')", f"SET GLOBAL binlog_checksum = {other}")
        server.execute("INSERT INTO s.t VALUES (2, '')")
        stream.caught_up()
    assert ids(stream) == [1, 2]
    with Streaming(server, [describe(server, "s", "t")], start=start) as again:
        again.caught_up()
    assert ids(again) == [1, 2]


def stream_of(server: Server) -> Streaming:
    return Streaming(server, [describe(server, "s", "t")])


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
    with stream.control() as session:
        assert not stream.streamer.status().processed.position.contains(source_position(session))


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
    assert "'ünï'" in failure.message


def test_a_statement_in_another_charset_is_read_in_it(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.`tä` (id INT PRIMARY KEY)")
    with Streaming(pair.source, [describe(pair.source, schema, "tä")]) as stream:
        with contextlib.closing(pair.source.connect(charset="latin1")) as connection, connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE `{schema}`.`tä` ADD c INT")
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SchemaChanged"
    assert "tä" in failure.message


@pytest.mark.parametrize("family", FAMILIES)
def test_compressed_events_are_refused(make_server: ServerFactory, family: str) -> None:
    if family == "mysql":
        server = make_server(family, binlog_transaction_compression="ON")
    else:
        server = make_server(family, log_bin_compress="ON")
    server.execute("CREATE DATABASE s", "CREATE TABLE s.t (id INT PRIMARY KEY, v TEXT)")
    with stream_of(server) as stream:
        server.execute("INSERT INTO s.t VALUES (1, REPEAT('x', 1000))")
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "BinlogCompressed"


def test_partial_json_updates_are_refused(mysql_pair: Pair, schema: str) -> None:
    source = mysql_pair.source
    source.execute(f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, j JSON)")
    source.execute(f"""INSERT INTO `{schema}`.t VALUES (1, '{{"a": "long enough to be worth it", "b": 2}}')""")
    with Streaming(source, [describe(source, schema, "t")]) as stream:
        source.execute(
            "SET SESSION binlog_row_value_options = 'PARTIAL_JSON', SESSION binlog_row_image = 'MINIMAL'",
            f"UPDATE `{schema}`.t SET j = JSON_SET(j, '$.b', 3)",
        )
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "PartialRows"


@pytest.mark.parametrize("family", FAMILIES)
def test_purged_binlogs_name_our_place_and_the_oldest_left(make_server: ServerFactory, family: str) -> None:
    server = make_server(family)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    with Streaming(server, [describe(server, "s", "t")]) as stream:
        start = stream.streamer.status().processed.position
    server.execute("INSERT INTO s.t VALUES (1, '')", "FLUSH BINARY LOGS", "INSERT INTO s.t VALUES (2, '')")
    server.execute("FLUSH BINARY LOGS")
    newest = server.query("SHOW BINARY LOGS")[-1][0]
    deadline = time.monotonic() + 20
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
    try:
        logins = [dataclasses.replace(pair.source.endpoint(), port=proxy.port)]
        with Streaming(pair.source, [describe(pair.source, "moved", "t")], login=lambda: logins[-1]) as stream:
            stream.wait(lambda: stream.sink.heartbeats, "heartbeat")
            logins.append(other.endpoint())
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


@pytest.mark.parametrize("family", FAMILIES)
def test_from_the_beginning_of_time(make_server: ServerFactory, family: str) -> None:
    """An empty position means everything, not "from now on"."""
    server = make_server(family)
    server.execute("CREATE DATABASE s")
    make(server, "s")
    with Streaming(server, [describe(server, "s", "t")], start=parse_position(server.flavor, "")) as stream:
        failure = stream.failed()
    assert isinstance(failure, DataError)
    assert failure.reason == "SchemaChanged"  # it saw the table being made


def test_a_wrong_password_ends_the_stream(pair: Pair, schema: str) -> None:
    make(pair.source, schema)
    endpoint = dataclasses.replace(pair.source.endpoint(), password="wrong")
    with Streaming(pair.source, [describe(pair.source, schema, "t")], login=lambda: endpoint) as stream:
        failure = stream.failed()
    assert isinstance(failure, FerryError)
    assert failure.reason == "AccessDenied"
