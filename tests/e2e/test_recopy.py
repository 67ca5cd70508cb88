"""``schema.onChange: Recopy``: DDL has that table copied again, whenever it comes; the others keep their rows."""

import contextlib
import itertools
import threading
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import Ended, FerryCli, FerryProcess
from tests.support.ferry_under_load import condition
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import meanwhile, wait_until

STREAMING = ("Streaming", "ReadyForCutover")
ROWS = 3000
PARTITIONED = "PARTITION BY RANGE (id) (PARTITION low VALUES LESS THAN (100), PARTITION high VALUES LESS THAN MAXVALUE)"


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        f"USE `{schema}`",
        f"CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20), KEY (v)) {PARTITIONED}",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (200, 'two hundred')",
        "CREATE TABLE other (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO other VALUES {', '.join(f'({number}, {number})' for number in range(ROWS))}",
        "CREATE TABLE parent (id INT PRIMARY KEY, v INT)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1, 1), (2, 2), (3, 3)",
        "INSERT INTO child VALUES (1, 1), (2, 2), (3, 3), (4, 3)",
    )
    made = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})
    made.spec["schema"] = {"onChange": "Recopy", "onNewTable": "Copy"}
    return made


def writing(cli: FerryCli) -> AbstractContextManager[None]:
    """Writes to the table that stays, and to ``t`` as far as its definition allows it at the moment."""

    def write(over: threading.Event) -> None:
        for number in itertools.count():
            if over.wait(0.01):
                return
            cli.pair.source.execute(
                f"UPDATE `{cli.schema}`.other SET v = 'w{number}' WHERE id = {number % ROWS}",
                f"INSERT INTO `{cli.schema}`.other VALUES ({ROWS + number}, 'new')",
            )
            with contextlib.suppress(Exception):  # the table may be away, or of another form
                cli.pair.source.execute(f"REPLACE INTO `{cli.schema}`.t (id, v) VALUES ({1000 + number}, 'w{number}')")

    return meanwhile(write)


def chunks(process: FerryProcess) -> dict[str, Any]:
    return {table["name"].partition(".")[2]: table for table in process.get("/api/v1/tables")["tables"]}


def copies(process: FerryProcess) -> int:
    """How often the run has begun to copy again."""
    return process.log.read_text().count("to be copied again")


def seen(process: FerryProcess) -> int:
    """How many statements it has met that have a table start over while the run goes on."""
    return process.log.read_text().count("the run goes on while these tables are copied")


def cut_over(cli: FerryCli, process: FerryProcess) -> None:
    process.wait_stage("ReadyForCutover")
    process.post("cutover")
    ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert_equal_schemas(cli.pair.source, cli.pair.target, cli.schema)


SHADOW = "CREATE TABLE {name} (id INT PRIMARY KEY, v VARCHAR(40), w INT DEFAULT 5)"
CHANGES = {
    "column": ["ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1 FIRST", "UPDATE t SET w = id"],
    "values": ["ALTER TABLE t MODIFY v VARBINARY(20)", "ALTER TABLE t MODIFY v VARCHAR(20)"],
    "truncate": ["TRUNCATE TABLE t", "INSERT INTO t VALUES (7, 'seven')"],
    "renamed away and back": [
        "RENAME TABLE t TO away", "INSERT INTO away VALUES (8, 'unseen')", "RENAME TABLE away TO t",
    ],
    "gh-ost": [
        SHADOW.format(name="_t_gho"), "INSERT INTO _t_gho (id, v) SELECT * FROM t",
        "RENAME TABLE t TO _t_del, _t_gho TO t", "UPDATE t SET w = 9 WHERE id = 1", "DROP TABLE _t_del",
    ],
    "pt-osc": [
        SHADOW.format(name="_t_new"), "INSERT INTO _t_new (id, v) SELECT * FROM t",
        "RENAME TABLE t TO _t_old, _t_new TO t", "DROP TABLE _t_old",
    ],
    "partition dropped": ["ALTER TABLE t DROP PARTITION low"],
    "made again": ["DROP TABLE t", "CREATE TABLE t (a VARCHAR(9) PRIMARY KEY, v INT)", "INSERT INTO t VALUES ('x', 1)"],
    "key": ["ALTER TABLE t REMOVE PARTITIONING", "ALTER TABLE t DROP PRIMARY KEY, ADD PRIMARY KEY (v)"],
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_table_is_copied_again_and_the_others_are_not(cli: FerryCli, change: str) -> None:
    source, schema = cli.pair.source, cli.schema
    with cli.process() as process:
        with writing(cli):
            process.start().wait_stage(*STREAMING)
            before = chunks(process)["other"]["rowsCopied"]
            source.execute(f"USE `{schema}`", *CHANGES[change])
            wait_until(lambda: copies(process), "the table is copied again")
            process.wait_stage(*STREAMING)
        assert chunks(process)["other"]["rowsCopied"] == before
        cut_over(cli, process)


@pytest.mark.always
def test_the_other_tables_go_on_while_one_starts_over(cli: FerryCli) -> None:
    """It stands still between its old rows and its new ones; meanwhile the other is copied and flushed."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["throttle"] = {"maxRowsPerSecond": 200}
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        with cli.process() as process:
            process.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 200)
            proxy.hold(f"DROP TABLE IF EXISTS `{schema}`.`t`".encode())
            source.execute(f"ALTER TABLE `{schema}`.t DROP COLUMN v, ADD COLUMN w INT NOT NULL DEFAULT 1 FIRST")
            proxy.wait_held()
            copied = target.value(f"SELECT COUNT(*) FROM `{schema}`.other")
            source.execute(f"UPDATE `{schema}`.other SET v = 'flushed' WHERE id = 0", f"DELETE FROM `{schema}`.t")
            flushed = f"SELECT COUNT(*) FROM `{schema}`.other WHERE v = 'flushed'"
            wait_until(lambda: target.value(flushed), "it is flushed")
            wait_until(lambda: target.value(f"SELECT COUNT(*) FROM `{schema}`.other") > copied + 100, "it is copied")
            source.execute(f"INSERT INTO `{schema}`.t VALUES (3, 300)")
            proxy.release()
            process.post("throttle", {"maxRowsPerSecond": None})
            cut_over(cli, process)
            assert "resuming from the checkpoint" not in process.log.read_text()


@pytest.mark.always
def test_a_second_table_changes_while_the_first_one_starts_over(cli: FerryCli) -> None:
    """The start of the first is recorded, and waits for a prepared transaction of others."""
    source, schema = cli.pair.source, cli.schema
    xid = f"'{schema[-12:]}'"
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        with contextlib.closing(source.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"XA START {xid}")
            cursor.execute(f"UPDATE `{schema}`.parent SET v = 9 WHERE id = 1")
            cursor.execute(f"XA END {xid}")
            cursor.execute(f"XA PREPARE {xid}")
        source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT NOT NULL DEFAULT 1 FIRST")
        process.wait_status(lambda status: "waiting for XA transactions" in status["message"])
        source.execute(f"ALTER TABLE `{schema}`.other ADD COLUMN w INT NOT NULL DEFAULT 1 FIRST")
        wait_until(lambda: seen(process) == 2, "the second one starts over, too")
        source.decide_xa(f"XA COMMIT {xid}")
        cut_over(cli, process)


def test_a_table_that_changes_during_a_pause_keeps_its_rows_on_the_target_until_it_is_over(cli: FerryCli) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        process.post("pause")
        process.wait_status(lambda status: condition(status, "Paused")["status"] == "True")
        source.execute(f"TRUNCATE TABLE `{schema}`.t", f"INSERT INTO `{schema}`.t VALUES (7, 'seven')")
        wait_until(lambda: seen(process), "the statement is seen")
        begun = time.monotonic()
        while time.monotonic() < begun + 2:
            assert target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 3
        process.post("resume")
        cut_over(cli, process)


def test_ten_statements_in_ten_seconds_while_rows_are_copied(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    cli.spec["throttle"] = {"maxRowsPerSecond": 300}
    with cli.process() as process:
        with writing(cli):
            process.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 300)
            before = chunks(process)["other"]["rowsCopied"]
            for number in range(10):
                source.execute(
                    f"ALTER TABLE `{schema}`.t ADD COLUMN c{number} INT NOT NULL DEFAULT {number}",
                    f"UPDATE `{schema}`.t SET c{number} = id",
                )
                threading.Event().wait(1)  # the pace that the test is about
            assert chunks(process)["other"]["rowsCopied"] >= before
            process.post("throttle", {"maxRowsPerSecond": None})
            process.wait_stage("ReadyForCutover")
        cut_over(cli, process)


@pytest.mark.always
@pytest.mark.parametrize("moment", ["DROP TABLE IF EXISTS", "CREATE TABLE"])
def test_a_run_that_is_killed_while_it_makes_the_table_again(cli: FerryCli, moment: str) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        with cli.process() as process:
            process.start().wait_stage(*STREAMING)
            proxy.hold(f"{moment} `{schema}`.`t`".encode())
            source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT NOT NULL DEFAULT 1")
            proxy.wait_held()
            process.kill()
            assert not cli.stored()["tables"][f"{schema}.t"]["started"]
            assert cli.stored()["tables"][f"{schema}.other"]["walked"]
            source.execute(f"UPDATE `{schema}`.t SET w = 5", f"DELETE FROM `{schema}`.other WHERE id = 3")
            proxy.release()
            process.start()
            cut_over(cli, process)


def test_a_table_changed_while_the_run_was_stopped(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        process.kill()
        source.execute(
            f"USE `{schema}`", "SET SESSION sql_log_bin = 0", "ALTER TABLE t ADD COLUMN w INT NOT NULL DEFAULT 1",
            "SET SESSION sql_log_bin = 1", "UPDATE t SET w = 7", "UPDATE other SET v = 'later' WHERE id < 50",
        )  # fmt: skip
        process.start()
        cut_over(cli, process)
        assert "is copied again" in process.log.read_text()


@pytest.mark.parametrize(
    "change",
    [
        ["ALTER TABLE late MODIFY v VARCHAR(40)", "UPDATE late SET v = REPEAT('x', 40)"],
        ["ALTER TABLE late DROP COLUMN v"],
    ],
)
def test_a_statement_that_meets_the_new_definition_before_the_stream_does(cli: FerryCli, change: list[str]) -> None:
    source, schema = cli.pair.source, cli.schema
    source.execute(
        f"CREATE TABLE `{schema}`.late (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO `{schema}`.late SELECT id, v FROM `{schema}`.other",
    )
    cli.spec["throttle"] = {"maxRowsPerSecond": 300}
    with cli.process() as process:
        process.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 300)
        source.execute(f"USE `{schema}`", "SET SESSION sql_log_bin = 0", *change)
        wait_until(lambda: copies(process), "the table is copied again")
        process.wait_stage("Copying")
        process.post("throttle", {"maxRowsPerSecond": None})
        cut_over(cli, process)


@pytest.mark.always
def test_a_change_that_a_start_finds_is_recorded_before_the_table_is_dropped(cli: FerryCli) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        with cli.process() as process:
            process.start().wait_stage(*STREAMING)
            process.kill()
            source.execute(f"USE `{schema}`", "SET SESSION sql_log_bin = 0", "ALTER TABLE t ADD COLUMN w INT")
            proxy.hold(f"DROP TABLE IF EXISTS `{schema}`.`t`".encode())
            process.start()
            proxy.wait_held()
            process.kill()
            assert not cli.stored()["tables"][f"{schema}.t"]["started"]
            proxy.release()
            source.execute(f"USE `{schema}`", "SET SESSION sql_log_bin = 0", "ALTER TABLE t DROP COLUMN w")
            process.start()
            cut_over(cli, process)


def test_a_start_after_the_cutover_does_not_mind_later_changes_of_the_source(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    cli.spec["cutover"] |= {"sourceLock": "None"}
    with cli.process() as process:
        process.start()
        cut_over(cli, process)
        source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT")
        process.start()
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert "is copied again" not in ended.stderr
    assert "was cut over already" in ended.stderr


def test_a_table_changed_outside_of_the_binlog_is_found_before_the_attempt(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(f"USE `{schema}`", "SET SESSION sql_log_bin = 0", "ALTER TABLE t ADD COLUMN w INT DEFAULT 1")
        process.post("cutover")  # the approval stays: the attempt that follows is made by itself
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert ended.stderr.count("to be copied again") == 1
    assert_equal_schemas(source, cli.pair.target, schema)


@pytest.mark.always
def test_a_table_changed_during_a_cutover_attempt(cli: FerryCli) -> None:
    """The drain waits for a row of another table; the statement ends the attempt, which is made again by itself."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["cutover"] |= {"sourceLock": "None", "deadline": "5m", "maxLag": "60s"}
    with cli.process() as process, contextlib.closing(target.connect(autocommit=False)) as holder:
        process.start().wait_stage("ReadyForCutover")
        holder.cursor().execute(f"SELECT * FROM `{schema}`.other WHERE id = 1 FOR UPDATE")
        source.execute(f"UPDATE `{schema}`.other SET v = 'held' WHERE id = 1")
        process.post("cutover")
        process.wait_stage("CuttingOver")
        source.execute(
            f"ALTER TABLE `{schema}`.t ADD COLUMN w INT NOT NULL DEFAULT 1", f"UPDATE `{schema}`.t SET w = 3"
        )
        process.wait_stage("Validating", "Copying", *STREAMING)
        holder.rollback()
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert_equal_schemas(source, target, schema)


def test_children_of_a_changed_parent_are_copied_again_where_cascades_leave_no_events(cli: FerryCli) -> None:
    """Rows of the child go by a cascade of an event that the stream ignores: the parent begins again behind it."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        with cli.process() as process:
            process.start().wait_stage(*STREAMING)
            proxy.hold(f"DROP TABLE IF EXISTS `{schema}`.`parent`".encode())
            source.execute(f"USE `{schema}`", "ALTER TABLE parent ADD COLUMN w INT", "DELETE FROM parent WHERE id = 3")
            proxy.wait_held()
            source.execute(f"DELETE FROM `{schema}`.parent WHERE id = 2")
            proxy.release()
            cut_over(cli, process)
    assert target.query(f"SELECT id FROM `{schema}`.child") == [(1,)]


def test_a_dropped_table_ends_the_run_with_its_name(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        source.execute(f"DROP TABLE `{schema}`.t")
        process.wait_status(lambda status: "come back" in status["message"])
        ended = Ended(process.wait_end(), "", process.log.read_text())
    ended.refused(65, "SchemaChanged", f"{schema}.t", "any more")
    assert source.value("SELECT @@global.read_only") == 0


@pytest.mark.always
def test_a_table_that_somebody_else_has_made_is_not_dropped(cli: FerryCli) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    target.execute(
        f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4",
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20), KEY mine (v)) {PARTITIONED}",
    )
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        source.execute(f"TRUNCATE TABLE `{schema}`.t", f"INSERT INTO `{schema}`.t VALUES (5, 'five')")
        wait_until(lambda: target.query(f"SELECT id FROM `{schema}`.t") == [(5,)], "its rows are copied again")
        process.wait_stage(*STREAMING)
        source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT")
        ended = Ended(process.wait_end(), "", process.log.read_text())
        ended.refused(64, "TargetTableDiffers", f"{schema}.t", "the column w is missing")
        assert "mine" in str(target.query(f"SHOW CREATE TABLE `{schema}`.t"))
        target.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT")
        process.start()
        process.wait_stage("ReadyForCutover")
        process.post("cutover")
        assert process.wait_end() == 0
