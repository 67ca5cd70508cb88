"""A target loses its last seconds in a crash, or is restored from a snapshot, while the state is elsewhere."""

import contextlib
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli, ferry
from tests.support.server_faults import DurableDisk
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}


@pytest.fixture
def target(pair: Pair, make_server: ServerFactory) -> Server:
    return make_server(pair.family.value)


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, target: Server, schema: str) -> FerryCli:
    rows = ", ".join(f"({number})" for number in range(1, 501))
    pair.source.execute(f"USE `{schema}`", "CREATE TABLE t (id INT PRIMARY KEY)", f"INSERT INTO t VALUES {rows}")
    return FerryCli(
        tmp_path / "ferry",
        Pair(pair.source, target),
        schema,
        cutover={"watchFor": "0s"},
        verify={"mode": "None"},
        acknowledge=["Unverified"],
    )


def count(bench: FerryCli) -> int:
    return int(bench.pair.target.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t"))


def stored_all(bench: FerryCli) -> bool:
    return bool(bench.stored()["position"] == bench.pair.source.value(POSITION[bench.pair.family]))


def test_power_cut_while_the_run_is_down(bench: FerryCli, tmp_path: Path) -> None:
    """The newest state counts the rows as copied, and the stream would not send them again."""
    source, target = bench.pair.source, bench.pair.target
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: stored_all(bench), "a checkpoint of the copy")
        disk = DurableDisk(target, tmp_path / "disk")
        for number in range(1001, 1021):
            source.execute(f"INSERT INTO `{bench.schema}`.t VALUES ({number})")
        wait_until(lambda: count(bench) == 520 and stored_all(bench), "a checkpoint with the new rows")
        process.kill()
        disk.cut_power()
        assert count(bench) == 500
        process.start().wait_stage("ReadyForCutover")
        assert "has lost its last writes" in process.log.read_text()
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, target, bench.schema)


def test_a_snapshot_brought_back(bench: FerryCli, tmp_path: Path) -> None:
    """As old as the end of the copy: the state file remembers states from then."""
    source, target = bench.pair.source, bench.pair.target
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: stored_all(bench), "a checkpoint of the copy")
        process.kill()
        disk = DurableDisk(target, tmp_path / "disk")
        source.execute(f"DELETE FROM `{bench.schema}`.t WHERE id <= 100")
        process.start()
        wait_until(lambda: count(bench) == 400 and stored_all(bench), "a checkpoint with the deletion")
        process.kill()
        disk.cut_power()
        assert count(bench) == 500
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, target, bench.schema)


def test_a_target_that_lost_the_record_of_the_cutover_is_not_copied_over(bench: FerryCli, tmp_path: Path) -> None:
    """The state file says Completed: the source stays locked, and what applications wrote to the target is kept."""
    source, target = bench.pair.source, bench.pair.target
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        disk = DurableDisk(target, tmp_path / "disk")
        process.post("cutover")
        process.succeed()
        disk.cut_power()
        target.execute(f"INSERT INTO `{bench.schema}`.t VALUES (9001)")
        for phase, cutover in (
            ("Streaming", "{}"),
            ("CuttingOver", '{"read_only": "0", "super_read_only": "0"}'),
        ):
            changed = "UPDATE mysql_ferry.lease SET phase = %s, cutover = %s WHERE ferry_uid = %s"
            target.query(changed, (phase, cutover, bench.uid))
            assert process.start().wait_end() == 64
            assert "HandOverForgotten" in process.tail()
            for verb in ("abort", "cleanup"):
                done = ferry(verb, "-f", str(bench.manifest()), "--state", str(bench.state), cwd=bench.folder)
                assert done.code == 64
                assert "HandOverForgotten" in done.stderr
            assert source.value("SELECT @@global.read_only") == 1
            assert count(bench) == 501
        target.query("UPDATE mysql_ferry.lease SET phase = 'Completed' WHERE ferry_uid = %s", (bench.uid,))
        process.start().succeed()
        assert count(bench) == 501


def test_a_target_that_lost_the_begin_of_an_attempt_leaves_a_locked_source_said(bench: FerryCli) -> None:
    """The lease records no attempt, so nobody may unlock: the start reports that the source is read-only, and how to
    unlock it.
    """
    source, target = bench.pair.source, bench.pair.target
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: stored_all(bench), "a checkpoint of the copy")
        process.kill()
        with contextlib.closing(sqlite3.connect(bench.state)) as database, database:
            stored = bench.stored() | {"stage": "CuttingOver"}
            database.execute("UPDATE ferry_state SET body = ?", (json.dumps(stored),))
        assert bench.lease()[0][1] == "New"
        source.execute("SET GLOBAL read_only = ON")
        assert process.start().wait_end() == 64
        assert "SourceLocked" in process.tail()
        assert "SET GLOBAL read_only = OFF" in process.tail()
        source.execute("SET GLOBAL read_only = OFF")
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, target, bench.schema)


def test_a_target_without_any_record_of_a_cutover_is_not_copied_over(bench: FerryCli) -> None:
    """Its helper schema is gone. The message says whether the source is locked, with the statement that unlocks it."""
    source, target = bench.pair.source, bench.pair.target
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    at = time.strftime("%F %H:", time.gmtime(bench.stored()["completed_at"]))
    target.execute("DROP DATABASE mysql_ferry", f"INSERT INTO `{bench.schema}`.t VALUES (9001)")
    known = ["--state", str(bench.state)]
    for said in ("SET GLOBAL read_only = OFF", "the source accepts writes"):
        bench.run().refused(64, "HandOverForgotten", f"cut over at {at}", "no record", said)
        for verb in ("abort", "cleanup"):
            done = ferry(verb, "-f", str(bench.manifest()), *known, cwd=bench.folder)
            done.refused(64, "HandOverForgotten", f"cut over at {at}", said)
        assert bench.state.exists()
        assert count(bench) == 501
        source.execute("SET GLOBAL read_only = OFF")


def test_a_backup_from_before_the_cutover_that_holds_the_checkpoint_too(bench: FerryCli, tmp_path: Path) -> None:
    """Only the source's read_only is left of the cutover: the start refuses, and explains what that may mean."""
    source, target = bench.pair.source, bench.pair.target
    bench.spec["checkpoint"] = {"store": "Target"}
    with bench.process() as process:
        process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: bench.lease() and checkpoint_is_copied(bench), "a checkpoint of the copy")
        disk = DurableDisk(target, tmp_path / "disk")
        source.execute(f"INSERT INTO `{bench.schema}`.t VALUES (1001)")  # the stream will send it again
        process.post("cutover")
        process.succeed()
        disk.cut_power()
        target.execute(f"INSERT INTO `{bench.schema}`.t VALUES (1001), (9001)")
        for arguments in ([], ["--restart"]):
            process.arguments = arguments
            assert process.start().wait_end() == 64
            told = process.tail()
            assert "SourceReadOnly" in told
            assert "restored from an earlier backup" in told
            if bench.pair.family is Family.MYSQL:
                assert "set by the account" in told
        assert source.value("SELECT @@global.read_only") == 1
        assert count(bench) == 502
        target.query("UPDATE mysql_ferry.lease SET phase = 'Completed' WHERE ferry_uid = %s", (bench.uid,))
        process.start().succeed()
        assert count(bench) == 502


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_what_ends_a_ferry_drops_nothing_where_the_target_may_be_live(bench: FerryCli, verb: str) -> None:
    """As after a cutover whose target was restored from a backup."""
    bench.spec.update(checkpoint={"store": "Target"}, deletionPolicy="DropTarget")
    with bench.process() as process:
        process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: checkpoint_is_copied(bench), "a checkpoint of the copy")
        process.kill()
    with read_only_source(bench):
        done = ferry(verb, "-f", str(bench.manifest()), cwd=bench.folder)
        assert done.code == 0, done.stderr
        assert "applications may write there" in done.stdout
        bench.pair.target.execute(advised(done.stdout, "UPDATE"))
        again = ferry("run", "-f", str(bench.manifest()), "--listen", "none", cwd=bench.folder)
        if verb == "abort":
            assert (again.code, "was cut over already" in again.stdout) == (0, True), again
        else:
            again.refused(64, "AlreadyCutOver", "its tables are live there")
    assert count(bench) == 500


@pytest.mark.parametrize(("asked", "then"), [("read-only", "is live"), ("away", "is not live")])
def test_the_doubt_of_an_abort_keeps_a_later_cleanup_from_dropping_what_may_be_live(
    bench: FerryCli, asked: str, then: str
) -> None:
    """The abort could not rule out a cutover, and the source is away when the cleanup would have to ask it."""
    bench.spec.update(checkpoint={"store": "Target"}, deletionPolicy="DropTarget")
    with bench.process() as process:
        process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: checkpoint_is_copied(bench), "a checkpoint of the copy")
        process.kill()
    with read_only_source(bench):
        with source_away(bench) if asked == "away" else contextlib.nullcontext():
            done = ferry("abort", "-f", str(bench.manifest()), cwd=bench.folder)
        assert done.code == 0, done.stderr
        assert ("the source was not asked" if asked == "away" else "applications may write there") in done.stdout
        with source_away(bench):
            done = ferry("cleanup", "-f", str(bench.manifest()), cwd=bench.folder)
        done.refused(75, "ServerUnreachable", "Nothing was dropped or removed", "with deletionPolicy: Retain")
        assert count(bench) == 500
        if then == "is live":
            done = ferry("cleanup", "-f", str(bench.manifest()), cwd=bench.folder)
            assert (done.code, count(bench)) == (0, 500)
            assert "its tables are kept because they may be live" in done.stdout
    if then == "is not live":
        done = ferry("cleanup", "-f", str(bench.manifest()), cwd=bench.folder)
        assert (done.code, f"dropped {bench.schema}.t" in done.stdout) == (0, True), done


@pytest.mark.parametrize("way", ["run again", "by hand"])
def test_what_a_cleanup_keeps_of_a_target_that_is_not_live_can_be_removed(bench: FerryCli, way: str) -> None:
    """The source was read-only for another reason; the first cleanup names both ways to continue."""
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    arguments = ["cleanup", "-f", str(bench.manifest()), "--state", str(bench.state)]
    with read_only_source(bench):
        done = ferry(*arguments, cwd=bench.folder)
    assert (done.code, len(bench.lease())) == (0, 1), done
    if way == "by hand":
        bench.pair.target.execute(advised(done.stdout, "DELETE"))
    else:
        assert "run ferry cleanup again" in done.stdout
        assert ferry(*arguments, cwd=bench.folder).code == 0
    assert bench.lease() == []
    assert count(bench) == 500


@contextlib.contextmanager
def read_only_source(bench: FerryCli) -> Iterator[None]:
    bench.pair.source.execute("SET GLOBAL read_only = ON")
    try:
        yield
    finally:
        bench.pair.source.execute("SET GLOBAL read_only = OFF")


@contextlib.contextmanager
def source_away(bench: FerryCli) -> Iterator[None]:
    port, bench.spec["source"]["port"] = bench.spec["source"]["port"], 1
    try:
        yield
    finally:
        bench.spec["source"]["port"] = port


def advised(said: str, verb: str) -> str:
    """The statement on the lease table that a message contains."""
    found = re.search(rf"{verb} [A-Z ]*mysql_ferry\.lease .*?WHERE ferry_uid = '[^']+'", said)
    assert found, said
    return found[0]


def checkpoint_is_copied(bench: FerryCli) -> bool:
    rows = bench.pair.target.query("SELECT body FROM mysql_ferry.checkpoint WHERE ferry_uid = %s", (bench.uid,))
    known = json.loads(str(rows[0][0]))["tables"].values() if rows else []
    return bool(known) and all(table["walked"] for table in known)
