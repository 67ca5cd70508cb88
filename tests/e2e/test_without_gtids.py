"""A MySQL source with its stock setting, gtid_mode=OFF: followed by file and offset, to an exact end."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.server_faults import binlog_end, lose_tail
from tests.support.servers import Pair, Server, ServerPool
from tests.support.waits import wait_until

ANONYMOUS = "SHOW STATUS LIKE 'Ongoing_anonymous_transaction_count'"
HELD_SECONDS = 12
"""Longer than --retry-for in the test of locked rows."""
STEPS = ("OFF_PERMISSIVE", "ON_PERMISSIVE", "ON")


@pytest.fixture(scope="module")
def pair(make_module_server: ServerFactory, server_pool: ServerPool) -> Pair:
    source = make_module_server("mysql", gtid_mode=False, enforce_gtid_consistency=False)
    return Pair(source, server_pool.pair(Family.MYSQL).target)


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        "RESET BINARY LOGS AND GTIDS",  # so that its binlog is in the first file, as after the next reset
        f"USE `{schema}`",
        *("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"),
    )
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})


def switch_on(source: Server, read: Callable[[str], object] = bool) -> None:
    """As the manual says, while applications write. ``read``: whether replicas have reached a file."""
    source.execute("SET GLOBAL enforce_gtid_consistency = ON")
    for mode in STEPS:
        if mode == "ON":
            wait_until(lambda: source.query(ANONYMOUS)[0][1] == "0", "anonymous transactions have ended")
            source.execute("FLUSH BINARY LOGS")
            newest = binlog_end(source).file
            wait_until(lambda: read(newest), "they are replicated")  # noqa: B023 - called in this round
        source.execute(f"SET GLOBAL gtid_mode = {mode}")


def switch_off(source: Server) -> None:
    for mode in (*reversed(STEPS[:-1]), "OFF"):
        source.execute(f"SET GLOBAL gtid_mode = {mode}")
    source.execute("SET GLOBAL enforce_gtid_consistency = OFF")


@pytest.mark.slow
def test_to_the_cutover(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Killed while copying and while streaming, its source restarted, and GTIDs switched on: all under writes."""
    source = pair.source

    def read(file: str) -> bool:
        return bool(under_load.state()["position"].startswith(file))

    with FerryUnderLoad(pair, schema, tmp_path, rows=4000, odd=3, copy={"chunkTargetBytes": "64Ki"}) as under_load:
        ferry = under_load.ferry
        with under_load.writers() as writers:
            ferry.start().wait_stage("Copying")
            wait_until(lambda: under_load.moved() > 0, "a chunk")
            ferry.kill()
            ferry.start().wait_stage("ReadyForCutover")
            status = ferry.wait_status(lambda status: bool(status["replication"]["position"]))
            assert status["replication"]["position"].startswith("binlog.0"), status["replication"]
            assert status["replication"]["gtidSet"] is None
            ferry.kill()
            source.stop()
            source.start()
            ferry.start().wait_stage("ReadyForCutover")
            source.stop()
            source.start()
            writers.wait_for_every_kind()
            switch_on(source, read)
            try:
                writers.wait_for_every_kind()
                ferry.kill()
                ferry.start()
                under_load.finish(writers=writers)
            finally:
                source.execute("SET GLOBAL read_only = OFF")
                switch_off(source)


def test_gtids_switched_on_before_everything_was_read(cli: FerryCli) -> None:
    """The source no longer sends what has no GTID. It is not lost: the way out is one statement."""
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
        source.execute(f"INSERT INTO {rows} VALUES (3)")
        switch_on(source)
        try:
            process.start()
            assert process.wait_end() == 65, process.tail()
            assert "GtidModeChanged" in process.tail()
            source.execute("SET GLOBAL gtid_mode = ON_PERMISSIVE", f"INSERT INTO {rows} VALUES (4)")
            process.start().wait_stage("ReadyForCutover")
            process.post("cutover")
            assert process.wait_end() == 0, process.tail()
            assert assert_equal_schemas(source, cli.pair.target, cli.schema).rows == 4
        finally:
            source.execute("SET GLOBAL read_only = OFF")
            switch_off(source)


def test_gtids_switched_on_while_nothing_was_written(cli: FerryCli) -> None:
    """The last transaction without a GTID was read, and is not sent again: a later file proves the history."""
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(f"INSERT INTO {rows} VALUES (3)")
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM {rows}") == 3, "row on the target")
        switch_on(source, lambda file: cli.stored()["position"] == f"{file}:4")
        try:
            process.kill()
            process.start().wait_stage("ReadyForCutover")
            process.post("cutover")
            assert process.wait_end() == 0, process.tail()
            assert assert_equal_schemas(source, cli.pair.target, cli.schema).rows == 3
        finally:
            source.execute("SET GLOBAL read_only = OFF")
            switch_off(source)


@pytest.mark.parametrize("when", ["connected", "down"])
def test_a_crash_that_loses_what_was_read(cli: FerryCli, when: str) -> None:
    """A power cut with sync_binlog=0: the source lost what the target has, and wrote other rows."""
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        end = binlog_end(source)
        source.execute(f"INSERT INTO {rows} VALUES (3)")
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM {rows}") == 3, "row on the target")
        if when == "down":
            read = "{}:{}".format(*binlog_end(source))
            wait_until(lambda: cli.stored()["position"] == read, "checkpoint")
            process.kill()
        lose_tail(source, end)
        source.execute(*[f"INSERT INTO {rows} VALUES ({number})" for number in range(100, 110)])
        if when == "down":
            process.start()
        assert process.wait_end() == 65, process.tail()
        assert "SourceHistoryLost" in process.tail()
    assert cli.lease()[0][1] != "Completed"


def test_a_reset_while_streaming(cli: FerryCli) -> None:
    """The dump continues, with heartbeats that say that there is nothing new."""
    source = cli.pair.source
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute("RESET BINARY LOGS AND GTIDS", f"INSERT INTO `{cli.schema}`.t VALUES (3)")
        process.post("cutover")
        status = process.wait_status(lambda status: bool(status["cutover"]["lastResult"]))
        assert status["cutover"]["lastResult"] == "SourceHistoryLost", status
    assert source.value("SELECT @@global.read_only") == 0
    assert cli.lease()[0][1] != "Completed"


def test_a_reset_between_stop_and_resume(cli: FerryCli) -> None:
    """By then the place of the checkpoint exists again."""
    source = cli.pair.source
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    others = [f"INSERT INTO `{cli.schema}`.t VALUES ({number})" for number in range(100, 130)]
    source.execute("DO SLEEP(1.1)", "RESET BINARY LOGS AND GTIDS", *others)
    cli.run().refused(65, "SourceHistoryLost", "start over with a fresh copy")


def test_an_idle_source_that_rotates_and_purges(cli: FerryCli) -> None:
    """What was read last is in a file that is gone: the newest file that the stream has entered proves the history."""
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(f"INSERT INTO {rows} VALUES (3)", "FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
        newest = binlog_end(source).file
        wait_until(lambda: cli.stored()["position"] == f"{newest}:4", "the stream is in the newest file")
        process.kill()
        source.execute(f"PURGE BINARY LOGS TO '{newest}'", f"INSERT INTO {rows} VALUES (4)")
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        assert process.wait_end() == 0, process.tail()
    assert assert_equal_schemas(source, cli.pair.target, cli.schema).rows == 4
    source.execute("SET GLOBAL read_only = OFF")


def test_purged_changes(cli: FerryCli) -> None:
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    source.execute(f"INSERT INTO {rows} VALUES (3)", "FLUSH BINARY LOGS")
    source.execute(f"PURGE BINARY LOGS TO '{binlog_end(source).file}'")
    cli.run().refused(65, "SourceBinlogPurged", "its position is 'binlog.000001:", "the oldest file is binlog.000002")


@contextlib.contextmanager
def row_locked(source: Server, rows: str, key: int) -> Iterator[int]:
    """An application's idle transaction that has locked one row; gives its thread id."""
    with contextlib.closing(source.connect()) as link, link.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM {rows} WHERE id = {key} FOR UPDATE")
        yield link.thread_id()  # type: ignore[no-untyped-call]


def waits_and_lets_others_write(process: FerryProcess, source: Server, rows: str, holder: int) -> None:
    """The read that waits for the last row has locked all rows before that one."""
    since, slowest = time.monotonic(), 0.0
    while time.monotonic() - since < HELD_SECONDS:
        began = time.monotonic()
        source.execute(f"UPDATE {rows} SET v = v + 1 WHERE id = 1")
        slowest = max(slowest, time.monotonic() - began)
    assert slowest < 8, f"a writer waited for {slowest:.0f} s"
    process.wait_status(lambda status: "LockConflict: waiting for rows" in status["message"])
    process.wait_status(lambda status: f"connection {holder} " in status["message"])


def test_locked_rows(cli: FerryCli) -> None:
    """An idle transaction on the source stops neither the run nor other applications, however long it is open."""
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    more = ",".join(f"({number}, 0)" for number in range(3, 1001))
    source.execute(f"ALTER TABLE {rows} ADD v INT NOT NULL DEFAULT 0", f"INSERT INTO {rows} VALUES {more}")
    with cli.process("--retry-for", "5s") as process:
        with row_locked(source, rows, 1000) as holder:
            process.start().wait_stage("Copying")
            waits_and_lets_others_write(process, source, rows, holder)
        process.wait_stage("ReadyForCutover")
        process.post("pause")
        process.wait_status(lambda status: status["phase"] == "Paused")
        source.execute(f"UPDATE {rows} SET v = 7")
        with row_locked(source, rows, 1000) as holder:
            process.post("resume")
            waits_and_lets_others_write(process, source, rows, holder)
        process.wait_status(lambda status: "LockConflict" not in status["message"])
        process.post("cutover")
        assert process.wait_end() == 0, process.tail()
    assert assert_equal_schemas(source, cli.pair.target, cli.schema).rows == 1000
    source.execute("SET GLOBAL read_only = OFF")
