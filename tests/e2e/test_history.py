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

pytestmark = pytest.mark.always

RESET = {Family.MYSQL: "RESET BINARY LOGS AND GTIDS", Family.MARIADB: "RESET MASTER"}

POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        RESET[pair.family],  # so that its binlog is in the first file, as after the next reset
        f"USE `{schema}`",
        *("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)"),
    )
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})


def test_a_reset_while_streaming(cli: FerryCli) -> None:
    """The dump continues, with heartbeats that say that there is nothing new."""
    source = cli.pair.source
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(RESET[cli.pair.family], f"INSERT INTO `{cli.schema}`.t VALUES (3)")
        process.post("cutover")
        status = process.wait_status(lambda status: bool(status["cutover"]["lastResult"]))
        assert status["cutover"]["lastResult"] == "SourceHistoryLost", status
        wait_until(lambda: "start over with a fresh copy" in process.tail(), "what to do is logged")
    assert source.value("SELECT @@global.read_only") == 0
    assert cli.lease()[0][1] != "Completed"


@pytest.mark.parametrize("pair", ["mariadb"], indirect=True)
def test_a_reset_between_stop_and_resume(cli: FerryCli) -> None:
    """MariaDB would accept the old position, and stay silent until somebody writes. MySQL refuses it by itself."""
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    cli.pair.source.execute(RESET[cli.pair.family])
    cli.run().refused(65, "SourceHistoryLost", "source 127.0.0.1", "its gtid_binlog_state is ''")


def test_a_reset_between_stop_and_resume_whose_gtids_were_reused(cli: FerryCli) -> None:
    """By then every GTID that the run has read exists again, as another transaction."""
    source = cli.pair.source
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    others = [f"INSERT INTO `{cli.schema}`.t VALUES ({number})" for number in range(100, 130)]
    source.execute("DO SLEEP(1.1)", RESET[cli.pair.family], *others)
    cli.run().refused(65, "SourceHistoryLost", "start over with a fresh copy")


@pytest.mark.parametrize(("when", "lost"), [("connected", 1), ("connected", 2), ("down", 1)])
def test_gtids_reused_after_a_crash(cli: FerryCli, when: str, lost: int) -> None:
    """A power cut with sync_binlog=0: the source lost what the target has, and reused the GTIDs for other rows.

    Also if it is the first transaction since the run began, right after the end of the binlog at that time.
    """
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    others = [f"INSERT INTO {rows} VALUES ({number})" for number in range(100, 110)]
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        end = binlog_end(source)
        source.execute(*[f"INSERT INTO {rows} VALUES ({number})" for number in range(3, 3 + lost)])
        wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM {rows}") == 2 + lost, "rows on the target")
        if when == "down":
            # A checkpoint is up to a second behind what was read; verification finds losses within that second.
            wait_until(lambda: cli.stored()["position"] == source.value(POSITION[cli.pair.family]), "checkpoint")
            process.kill()
        lose_tail(source, end)
        source.execute(*others)
        if when == "down":
            process.start()
        assert process.wait_end() == 65, process.tail()
        assert "SourceHistoryLost" in process.tail()
    assert cli.lease()[0][1] != "Completed"


def test_reused_gtids_that_no_checkpoint_knows(cli: FerryCli) -> None:
    """The state file cannot be written while they are read, but the same process remembers them when it resumes."""
    source, rows = cli.pair.source, f"`{cli.schema}`.t"
    cli.spec.update(verify={"mode": "None"}, acknowledge=["Unverified"])
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        end = binlog_end(source)
        with contextlib.closing(sqlite3.connect(cli.state, isolation_level=None)) as held:
            held.execute("BEGIN IMMEDIATE")
            source.execute(f"INSERT INTO {rows} VALUES (3)", f"INSERT INTO {rows} VALUES (4)")
            wait_until(lambda: cli.pair.target.value(f"SELECT COUNT(*) FROM {rows}") == 4, "rows on the target")
            lose_tail(source, end)
            source.execute(*[f"INSERT INTO {rows} VALUES ({number})" for number in range(100, 110)])
            wait_until(lambda: "resuming from the checkpoint" in process.log.read_text(), "a second beginning")
        assert process.wait_end() == 65, process.tail()
        assert "SourceHistoryLost" in process.tail()
    assert cli.lease()[0][1] != "Completed"


def test_resume_from_an_empty_position(cli: FerryCli) -> None:
    """A source without any transaction, at the start and at the stop: writes while the run is down must be found."""
    source = cli.pair.source
    source.execute(RESET[cli.pair.family])
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
        source.execute(f"INSERT INTO `{cli.schema}`.t VALUES (3)")
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, cli.pair.target, cli.schema)
