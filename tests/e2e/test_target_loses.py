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

pytestmark = pytest.mark.always

POSITION = {Family.MYSQL: "SELECT @@GLOBAL.gtid_executed", Family.MARIADB: "SELECT @@GLOBAL.gtid_binlog_pos"}


@pytest.fixture
def target(pair: Pair, make_server: ServerFactory) -> Server:
    return make_server(pair.family.value)


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, target: Server, schema: str) -> FerryCli:
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


def count(cli: FerryCli) -> int:
    return int(cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t"))


def stored_all(cli: FerryCli) -> bool:
    return bool(cli.stored()["position"] == cli.pair.source.value(POSITION[cli.pair.family]))


def test_power_cut_while_the_run_is_down(cli: FerryCli, tmp_path: Path) -> None:
    """The newest state counts the rows as copied, and the stream would not send them again."""
    source, target = cli.pair.source, cli.pair.target
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: stored_all(cli), "a checkpoint of the copy")
        disk = DurableDisk(target, tmp_path / "disk")
        for number in range(1001, 1021):
            source.execute(f"INSERT INTO `{cli.schema}`.t VALUES ({number})")
        wait_until(lambda: count(cli) == 520 and stored_all(cli), "a checkpoint with the new rows")
        process.kill()
        disk.cut_power()
        assert count(cli) == 500
        process.start().wait_stage("ReadyForCutover")
        assert "has lost its last writes" in process.log.read_text()
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, target, cli.schema)


def test_a_target_restored_from_a_snapshot(cli: FerryCli, tmp_path: Path) -> None:
    """As old as the end of the copy: the state file remembers states from then."""
    source, target = cli.pair.source, cli.pair.target
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: stored_all(cli), "a checkpoint of the copy")
        process.kill()
        disk = DurableDisk(target, tmp_path / "disk")
        source.execute(f"DELETE FROM `{cli.schema}`.t WHERE id <= 100")
        process.start()
        wait_until(lambda: count(cli) == 400 and stored_all(cli), "a checkpoint with the deletion")
        process.kill()
        disk.cut_power()
        assert count(cli) == 500
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, target, cli.schema)


def test_a_target_that_lost_the_record_of_the_cutover_is_not_copied_over(cli: FerryCli, tmp_path: Path) -> None:
    """The state file says Completed: the source stays locked, and what applications wrote to the target is kept."""
    source, target = cli.pair.source, cli.pair.target
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        disk = DurableDisk(target, tmp_path / "disk")
        process.post("cutover")
        process.succeed()
        disk.cut_power()
        target.execute(f"INSERT INTO `{cli.schema}`.t VALUES (9001)")
        for phase, cutover in (
            ("Streaming", "{}"),
            ("CuttingOver", '{"read_only": "0", "super_read_only": "0"}'),
        ):
            changed = "UPDATE mysql_ferry.lease SET phase = %s, cutover = %s WHERE ferry_uid = %s"
            target.query(changed, (phase, cutover, cli.uid))
            assert process.start().wait_end() == 64
            assert "HandOverForgotten" in process.tail()
            for verb in ("abort", "cleanup"):
                done = ferry(verb, "-f", str(cli.manifest()), "--state", str(cli.state), cwd=cli.folder)
                assert done.code == 64
                assert "HandOverForgotten" in done.stderr
            assert source.value("SELECT @@global.read_only") == 1
            assert count(cli) == 501
        target.query("UPDATE mysql_ferry.lease SET phase = 'Completed' WHERE ferry_uid = %s", (cli.uid,))
        process.start().succeed()
        assert count(cli) == 501


def test_a_start_that_finds_the_cutover_has_its_record_on_disk_before_it_says_so(cli: FerryCli) -> None:
    """The run that recorded it may have been killed before that."""
    target = cli.pair.target
    target.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
        before = tables_created(target)
        process.start().succeed()
        assert tables_created(target) == before + 1, "nothing made InnoDB flush its redo log"
    assert target.query("SHOW TABLES FROM mysql_ferry LIKE 'to_disk%'") == []


def tables_created(server: Server) -> int:
    return int(server.query("SHOW GLOBAL STATUS LIKE 'Com_create_table'")[0][1])


def test_a_locked_source_is_reported_when_the_target_lost_the_start_of_the_attempt(cli: FerryCli) -> None:
    """The lease records no attempt, so nobody may unlock: the start reports that the source is read-only, and how to
    unlock it.
    """
    source, target = cli.pair.source, cli.pair.target
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: stored_all(cli), "a checkpoint of the copy")
        process.kill()
        with contextlib.closing(sqlite3.connect(cli.state)) as database, database:
            stored = cli.stored() | {"stage": "CuttingOver"}
            database.execute("UPDATE ferry_state SET body = ?", (json.dumps(stored),))
        assert cli.lease()[0][1] == "Copying"
        source.execute("SET GLOBAL read_only = ON")
        assert process.start().wait_end() == 64
        assert "SourceLocked" in process.tail()
        assert "SET GLOBAL read_only = OFF" in process.tail()
        source.execute("SET GLOBAL read_only = OFF")
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    assert_equal_schemas(source, target, cli.schema)


def test_a_target_without_any_record_of_a_cutover_is_not_copied_over(cli: FerryCli) -> None:
    """Its helper schema is gone. The message says whether the source is locked, with the statement that unlocks it."""
    source, target = cli.pair.source, cli.pair.target
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.post("cutover")
        process.succeed()
    at = time.strftime("%F %H:", time.gmtime(cli.stored()["completed_at"]))
    target.execute("DROP DATABASE mysql_ferry", f"INSERT INTO `{cli.schema}`.t VALUES (9001)")
    known = ["--state", str(cli.state)]
    for said in ("SET GLOBAL read_only = OFF", "the source accepts writes"):
        cli.run().refused(64, "HandOverForgotten", f"cut over at {at}", "no record", said)
        for verb in ("abort", "cleanup"):
            done = ferry(verb, "-f", str(cli.manifest()), *known, cwd=cli.folder)
            done.refused(64, "HandOverForgotten", f"cut over at {at}", said)
        assert cli.state.exists()
        assert count(cli) == 501
        source.execute("SET GLOBAL read_only = OFF")


def test_a_backup_from_before_the_cutover_that_holds_the_checkpoint_too(cli: FerryCli, tmp_path: Path) -> None:
    """Only the source's read_only is left of the cutover: the start refuses, and explains what that may mean."""
    source, target = cli.pair.source, cli.pair.target
    cli.spec["checkpoint"] = {"store": "Target"}
    with cli.process() as process:
        process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: cli.lease() and checkpoint_is_copied(cli), "a checkpoint of the copy")
        disk = DurableDisk(target, tmp_path / "disk")
        source.execute(f"INSERT INTO `{cli.schema}`.t VALUES (1001)")  # the stream will send it again
        process.post("cutover")
        process.succeed()
        disk.cut_power()
        target.execute(f"INSERT INTO `{cli.schema}`.t VALUES (1001), (9001)")
        for arguments in ([], ["--restart"]):
            process.arguments = arguments
            assert process.start().wait_end() == 64
            told = process.tail()
            assert "SourceReadOnly" in told
            assert "restored from an earlier backup" in told
            if cli.pair.family is Family.MYSQL:
                assert "set by the account" in told
        assert source.value("SELECT @@global.read_only") == 1
        assert count(cli) == 502
        target.query("UPDATE mysql_ferry.lease SET phase = 'Completed' WHERE ferry_uid = %s", (cli.uid,))
        process.start().succeed()
        assert count(cli) == 502


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_abort_and_cleanup_drop_nothing_where_the_target_may_be_live(cli: FerryCli, verb: str) -> None:
    """As after a cutover whose target was restored from a backup."""
    cli.spec.update(checkpoint={"store": "Target"}, deletionPolicy="DropTarget")
    with cli.process() as process:
        process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: checkpoint_is_copied(cli), "a checkpoint of the copy")
        process.kill()
    with read_only_source(cli):
        done = ferry(verb, "-f", str(cli.manifest()), cwd=cli.folder)
        assert done.code == 0, done.stderr
        assert "applications may write there" in done.stdout
        cli.pair.target.execute(advised(done.stdout, "UPDATE"))
        again = ferry("run", "-f", str(cli.manifest()), "--listen", "none", cwd=cli.folder)
        if verb == "abort":
            assert (again.code, "was cut over already" in again.stdout) == (0, True), again
        else:
            again.refused(64, "AlreadyCutOver", "its tables are live there")
    assert count(cli) == 500


@pytest.mark.parametrize(("asked", "then"), [("read-only", "is live"), ("away", "is not live")])
def test_the_doubt_of_an_abort_keeps_a_later_cleanup_from_dropping_what_may_be_live(
    cli: FerryCli, asked: str, then: str
) -> None:
    """The abort could not rule out a cutover, and the source is away when the cleanup would have to ask it."""
    cli.spec.update(checkpoint={"store": "Target"}, deletionPolicy="DropTarget")
    with cli.process() as process:
        process.arguments = []
        process.start().wait_stage("ReadyForCutover")
        wait_until(lambda: checkpoint_is_copied(cli), "a checkpoint of the copy")
        process.kill()
    with read_only_source(cli):
        with source_away(cli) if asked == "away" else contextlib.nullcontext():
            done = ferry("abort", "-f", str(cli.manifest()), cwd=cli.folder)
        assert done.code == 0, done.stderr
        assert ("the source was not asked" if asked == "away" else "applications may write there") in done.stdout
        with source_away(cli):
            done = ferry("cleanup", "-f", str(cli.manifest()), cwd=cli.folder)
        done.refused(75, "ServerUnreachable", "Nothing was dropped or removed", "with deletionPolicy: Retain")
        assert count(cli) == 500
        if then == "is live":
            done = ferry("cleanup", "-f", str(cli.manifest()), cwd=cli.folder)
            assert (done.code, count(cli)) == (0, 500)
            assert "its tables are kept because they may be live" in done.stdout
    if then == "is not live":
        done = ferry("cleanup", "-f", str(cli.manifest()), cwd=cli.folder)
        assert (done.code, f"dropped {cli.schema}.t" in done.stdout) == (0, True), done


@pytest.mark.parametrize("way", ["run again", "by hand"])
def test_what_a_cleanup_keeps_can_be_removed_if_the_target_is_not_live(cli: FerryCli, way: str) -> None:
    """The source was read-only for another reason; the first cleanup names both ways to continue."""
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    arguments = ["cleanup", "-f", str(cli.manifest()), "--state", str(cli.state)]
    with read_only_source(cli):
        done = ferry(*arguments, cwd=cli.folder)
    assert (done.code, len(cli.lease())) == (0, 1), done
    if way == "by hand":
        cli.pair.target.execute(advised(done.stdout, "DELETE"))
    else:
        assert "run ferry cleanup again" in done.stdout
        assert ferry(*arguments, cwd=cli.folder).code == 0
    assert cli.lease() == []
    assert count(cli) == 500


@contextlib.contextmanager
def read_only_source(cli: FerryCli) -> Iterator[None]:
    cli.pair.source.execute("SET GLOBAL read_only = ON")
    try:
        yield
    finally:
        cli.pair.source.execute("SET GLOBAL read_only = OFF")


@contextlib.contextmanager
def source_away(cli: FerryCli) -> Iterator[None]:
    port, cli.spec["source"]["port"] = cli.spec["source"]["port"], 1
    try:
        yield
    finally:
        cli.spec["source"]["port"] = port


def advised(said: str, verb: str) -> str:
    """The statement on the lease table that a message contains."""
    found = re.search(rf"{verb} [A-Z ]*mysql_ferry\.lease .*?WHERE ferry_uid = '[^']+'", said)
    assert found, said
    return found[0]


def checkpoint_is_copied(cli: FerryCli) -> bool:
    rows = cli.pair.target.query("SELECT body FROM mysql_ferry.checkpoint WHERE ferry_uid = %s", (cli.uid,))
    known = json.loads(str(rows[0][0]))["tables"].values() if rows else []
    return bool(known) and all(table["walked"] for table in known)
