"""The source was reset or lost the end of its binlog, so nobody knows what the run has missed: no cutover."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli
from tests.support.server_faults import binlog_end, lose_tail
from tests.support.servers import Pair
from tests.support.waits import wait_until

RESET = {Family.MYSQL: "RESET BINARY LOGS AND GTIDS", Family.MARIADB: "RESET MASTER"}

POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        RESET[pair.family],  # so that its binlog is in the first file, as after the next reset
        f"USE `{schema}`",
        *("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"),
    )
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})


def test_reset_under_a_stream(bench: FerryCli) -> None:
    """The dump continues, with heartbeats that say that there is nothing new."""
    source = bench.pair.source
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(RESET[bench.pair.family], f"INSERT INTO `{bench.schema}`.t VALUES (3)")
        process.post("cutover")
        status = process.wait_status(lambda status: bool(status["cutover"]["lastResult"]))
        assert status["cutover"]["lastResult"] == "SourceHistoryLost", status
        assert "start over with a fresh copy" in process.tail()
    assert source.value("SELECT @@global.read_only") == 0
    assert bench.lease()[0][1] != "Completed"


@pytest.mark.parametrize("pair", ["mariadb"], indirect=True)
def test_reset_between_stop_and_resume(bench: FerryCli) -> None:
    """MariaDB would accept the old position, and stay silent until somebody writes. MySQL refuses it by itself."""
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    bench.pair.source.execute(RESET[bench.pair.family])
    bench.run().refused(65, "SourceHistoryLost", "source 127.0.0.1", "its gtid_binlog_state is ''")


def test_reset_between_stop_and_resume_and_outgrown(bench: FerryCli) -> None:
    """By then every GTID that the run has read exists again, as another transaction."""
    source = bench.pair.source
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    others = [f"INSERT INTO `{bench.schema}`.t VALUES ({number})" for number in range(100, 130)]
    source.execute("DO SLEEP(1.1)", RESET[bench.pair.family], *others)
    bench.run().refused(65, "SourceHistoryLost", "start over with a fresh copy")


@pytest.mark.parametrize(("when", "lost"), [("connected", 1), ("connected", 2), ("down", 1)])
def test_numbers_given_again_after_a_crash(bench: FerryCli, when: str, lost: int) -> None:
    """A power cut with sync_binlog=0: the source lost what the target has, and reused the GTIDs for other rows.

    Also if it is the first transaction since the run began, right after the end of the binlog at that time.
    """
    source, rows = bench.pair.source, f"`{bench.schema}`.t"
    others = [f"INSERT INTO {rows} VALUES ({number})" for number in range(100, 110)]
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        end = binlog_end(source)
        source.execute(*[f"INSERT INTO {rows} VALUES ({number})" for number in range(3, 3 + lost)])
        wait_until(lambda: bench.pair.target.value(f"SELECT COUNT(*) FROM {rows}") == 2 + lost, "rows on the target")
        if when == "down":
            # A checkpoint is up to a second behind what was read; verification finds losses within that second.
            wait_until(lambda: bench.stored()["position"] == source.value(POSITION[bench.pair.family]), "checkpoint")
            process.kill()
        lose_tail(source, end)
        source.execute(*others)
        if when == "down":
            process.start()
        assert process.wait_end(120) == 65, process.tail()
        assert "SourceHistoryLost" in process.tail()
    assert bench.lease()[0][1] != "Completed"


def test_numbers_given_again_that_no_checkpoint_knows(bench: FerryCli) -> None:
    """The state file cannot be written while they are read, but the same process remembers them when it resumes."""
    source, rows = bench.pair.source, f"`{bench.schema}`.t"
    bench.spec.update(verify={"mode": "None"}, acknowledge=["Unverified"])
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        end = binlog_end(source)
        with contextlib.closing(sqlite3.connect(bench.state, isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            source.execute(f"INSERT INTO {rows} VALUES (3)", f"INSERT INTO {rows} VALUES (4)")
            wait_until(lambda: bench.pair.target.value(f"SELECT COUNT(*) FROM {rows}") == 4, "rows on the target")
            lose_tail(source, end)
            source.execute(*[f"INSERT INTO {rows} VALUES ({number})" for number in range(100, 110)])
            wait_until(lambda: "going on from the checkpoint" in process.log.read_text(), "a second beginning")
        assert process.wait_end(120) == 65, process.tail()
        assert "SourceHistoryLost" in process.tail()
    assert bench.lease()[0][1] != "Completed"


def test_resume_from_an_empty_position(bench: FerryCli) -> None:
    """A source without any transaction, at the start and at the stop: writes while the run is down must be found."""
    source = bench.pair.source
    source.execute(RESET[bench.pair.family])
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
        source.execute(f"INSERT INTO `{bench.schema}`.t VALUES (3)")
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, bench.pair.target, bench.schema)
