"""``schema.onNewTable``: tables that match the selection and appear while the run goes on."""

import contextlib
import itertools
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import Ended, FerryCli, FerryProcess
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import meanwhile, wait_until

STREAMING = ("Streaming", "ReadyForCutover")
ROWS = 500


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))",
        f"INSERT INTO t VALUES {', '.join(f'({number}, {number})' for number in range(ROWS))}",
    )
    made = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"})
    made.spec["schema"] = {"onNewTable": "Copy"}
    return made


def writing(cli: FerryCli, *tables: str) -> AbstractContextManager[None]:
    """Rows appear and go in these tables from their creation on."""

    def write(over: threading.Event) -> None:
        for number in itertools.count(ROWS):
            if over.wait(0.01):
                return
            for table in tables:
                with contextlib.suppress(Exception):  # it does not exist yet
                    cli.pair.source.execute(
                        f"USE `{cli.schema}`",
                        f"INSERT INTO {table} VALUES ({number}, 'w')",
                        f"UPDATE {table} SET v = 'x' WHERE id = {number - 3}",
                        f"DELETE FROM {table} WHERE id = {number - 7}",
                    )

    return meanwhile(write)


def copied(process: FerryProcess) -> dict[str, int]:
    tables = process.get("/api/v1/tables")["tables"]
    return {table["name"].partition(".")[2]: table["rowsCopied"] for table in tables}


def cut_over(process: FerryProcess) -> Ended:
    process.wait_stage("ReadyForCutover")
    process.post("cutover")
    ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    return ended


def test_a_new_table_is_copied_and_the_others_keep_their_rows(cli: FerryCli) -> None:
    """One by CREATE, one by RENAME with its rows, one with a foreign key; not gh-ost's, nor what is dropped again."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    source.execute(f"CREATE DATABASE `{schema}_aside`", f"CREATE TABLE `{schema}_aside`.moved LIKE `{schema}`.t")
    source.execute(f"INSERT INTO `{schema}_aside`.moved SELECT * FROM `{schema}`.t")
    with cli.process() as process:
        with writing(cli, "t", "fresh"):
            process.start().wait_stage(*STREAMING)
            before = copied(process)["t"]
            source.execute(
                f"USE `{schema}`", "CREATE TABLE _t_gho (id INT PRIMARY KEY)", "INSERT INTO _t_gho VALUES (1)",
                "CREATE TABLE passing (id INT PRIMARY KEY)", "DROP TABLE passing",
                "CREATE TABLE fresh (id INT PRIMARY KEY, v VARCHAR(20))", "INSERT INTO fresh VALUES (1, 'first')",
                f"RENAME TABLE `{schema}_aside`.moved TO moved",
            )  # fmt: skip
            source.execute(
                f"USE `{schema}`",
                "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES moved (id))",
                "INSERT INTO child VALUES (1, 1)",
            )
            wait_until(lambda: target.query(f"SHOW TABLES FROM `{schema}` LIKE 'child'"), "it is created")
            process.wait_stage("ReadyForCutover")
        assert copied(process)["t"] == before
        left_out = [line for line in process.log.read_text().splitlines() if "not moved, because" in line]
        assert f"not moved, because they were created after the start: {schema}._t_gho" in "".join(left_out)
        assert not any("fresh" in line.partition("not moved, because")[2] for line in left_out)
        conditions = {one["type"]: one["message"] for one in process.status()["conditions"]}
        said = f"created after the start and moved too: {schema}.child, {schema}.fresh, {schema}.moved"
        assert said in conditions["ReadyForCutover"]
        assert not target.query(f"SHOW TABLES FROM `{schema}` LIKE '\\_t%'")
        source.execute(f"DROP TABLE `{schema}`._t_gho", f"DROP DATABASE `{schema}_aside`")
        cut_over(process)
    assert_equal_schemas(source, target, schema)


def test_a_run_that_is_killed_while_it_makes_the_table(cli: FerryCli) -> None:
    """The table is dropped and made anew by a query before the next start; another appears outside of the binlog."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        with cli.process() as process:
            process.start().wait_stage(*STREAMING)
            proxy.hold(f"CREATE TABLE `{schema}`.`fresh`".encode())
            source.execute(
                f"USE `{schema}`", "CREATE TABLE fresh (id INT PRIMARY KEY)", "INSERT INTO fresh VALUES (1)",
                "CREATE TABLE going (id INT PRIMARY KEY)",
            )  # fmt: skip
            proxy.wait_held()
            process.kill()
            assert not cli.stored()["tables"][f"{schema}.fresh"]["started"]
            proxy.release()
            source.execute(
                f"USE `{schema}`", "DROP TABLE fresh, going",
                "CREATE TABLE fresh (PRIMARY KEY (id)) SELECT id, 2 AS w FROM t", "SET SESSION sql_log_bin = 0",
                "CREATE TABLE unlogged (id INT PRIMARY KEY)", "SET SESSION sql_log_bin = 1",
                "INSERT INTO unlogged VALUES (1)", "UPDATE t SET v = 'later' WHERE id < 50",
            )  # fmt: skip
            process.start()
            said = cut_over(process).stderr
    assert f"perhaps left on the target, because they are not moved any more: {schema}.going" in said
    assert_equal_schemas(source, target, schema)


def test_a_new_table_that_is_altered_while_the_run_makes_it(cli: FerryCli) -> None:
    """Twice: before the stream follows it, and while its rows are copied. Of another table it would end the run."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        with cli.process() as process:
            process.start().wait_stage(*STREAMING)
            process.post("throttle", {"maxRowsPerSecond": 100})
            proxy.hold(f"CREATE TABLE `{schema}`.`fresh`".encode())
            source.execute(f"CREATE TABLE `{schema}`.fresh LIKE `{schema}`.t")
            source.execute(f"INSERT INTO `{schema}`.fresh SELECT * FROM `{schema}`.t")
            proxy.wait_held()
            source.execute(f"ALTER TABLE `{schema}`.fresh ADD a INT NOT NULL DEFAULT 1")
            proxy.release()
            wait_until(lambda: copied(process).get("fresh"), "some of its rows are copied")
            source.execute(f"ALTER TABLE `{schema}`.fresh ADD b INT NOT NULL DEFAULT 2")
            wait_until(lambda: process.log.read_text().count("dropped on the target") == 2, "it is copied again")
            process.post("throttle", {"maxRowsPerSecond": None})
            cut_over(process)
    assert_equal_schemas(source, target, schema)


def test_a_table_created_during_a_cutover_attempt(cli: FerryCli) -> None:
    """The drain waits for a row of another table; the attempt is undone, and made again by itself."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["cutover"] |= {"sourceLock": "None", "deadline": "5m", "maxLag": "60s"}
    with cli.process() as process, contextlib.closing(target.connect(autocommit=False)) as holder:
        process.start().wait_stage("ReadyForCutover")
        holder.cursor().execute(f"SELECT * FROM `{schema}`.t WHERE id = 1 FOR UPDATE")
        source.execute(f"UPDATE `{schema}`.t SET v = 'held' WHERE id = 1")
        process.post("cutover")
        process.wait_stage("CuttingOver")
        source.execute(
            f"CREATE TABLE `{schema}`.fresh (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.fresh VALUES (1)"
        )
        holder.rollback()
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    assert f"NewTable: created on the source since the start, and copied too: {schema}.fresh" in ended.stderr
    assert_equal_schemas(source, target, schema)


def test_a_new_table_ends_the_run_if_it_must_not_appear(cli: FerryCli) -> None:
    """The next start refuses it too, until it may be ignored."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["schema"] = {"onNewTable": "Fail"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(f"CREATE TABLE `{schema}`.fresh (id INT PRIMARY KEY)")
        Ended(process.wait_end(), "", process.log.read_text()).refused(65, "NewTable", f"{schema}.fresh")
        process.start()
        again = Ended(process.wait_end(), "", process.log.read_text().rpartition("--- start")[2])
        again.refused(65, "NewTable", f"{schema}.fresh")
    assert source.value("SELECT @@global.read_only") == 0
    cli.spec["schema"] = {"onNewTable": "Ignore"}
    with cli.process() as process:
        process.start()
        log = cut_over(process).stderr
    assert f"not moved, because they were created after the start: {schema}.fresh" in log
    assert not target.query(f"SHOW TABLES FROM `{schema}` LIKE 'fresh'")


def test_a_new_table_whose_name_on_the_target_has_rows_of_others(cli: FerryCli) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        target.execute(
            f"CREATE TABLE `{schema}`.fresh (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.fresh VALUES (9)"
        )
        source.execute(f"CREATE TABLE `{schema}`.fresh (id INT PRIMARY KEY)")
        Ended(process.wait_end(), "", process.log.read_text()).refused(64, "TargetNotEmpty", f"{schema}.fresh")
        assert target.query(f"SELECT * FROM `{schema}`.fresh") == [(9,)]
        target.execute(f"DELETE FROM `{schema}`.fresh")
        process.start()
        cut_over(process)
    assert_equal_schemas(source, target, schema)
