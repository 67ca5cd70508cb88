"""``ferry verify -f``: compares two servers without a run, and changes nothing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ferry_cli import Ended, FerryCli, ferry
from tests.support.servers import Pair
from tests.support.waits import wait_until

TABLES = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))",
    "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    "CREATE TABLE log (v VARCHAR(20))",
    "INSERT INTO log VALUES ('x'), ('x'), ('y')",
)


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    for server in (pair.source, pair.target):
        server.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`", f"USE `{schema}`", *TABLES)
    return FerryCli(tmp_path / "ferry", pair, schema)


def verify(cli: FerryCli, *options: str) -> Ended:
    return ferry("verify", "-f", str(cli.manifest()), *options, cwd=cli.folder)


def test_two_servers_are_compared_without_a_run(cli: FerryCli) -> None:
    target, schema = cli.pair.target, cli.schema
    equal = verify(cli)
    assert equal.code == 0, equal
    assert equal.stdout.endswith("compared 6 rows of 2 tables: source and target are equal\n"), equal
    assert "the result holds for no single moment" in equal.stdout

    target.execute(f"USE `{schema}`", "UPDATE t SET v = 'two ' WHERE id = 2", "DELETE FROM t WHERE id = 3")
    target.execute(f"INSERT INTO `{schema}`.t VALUES (9, 'nine')", f"DELETE FROM `{schema}`.log WHERE v = 'x' LIMIT 1")
    differ = verify(cli, "--full", "--settle", "3")
    assert differ.code == 65, differ
    for text in ("(id=2): different values on the target", "(id=3): missing on the target", "(id=9): on the target"):
        assert text in differ.stdout
    assert f"{schema}.log (copied whole): 1 rows are missing" in differ.stdout
    assert "only by a replication less than 3 s behind" in differ.stdout
    assert differ.stdout.endswith("compared 6 rows of 2 tables: 4 rows differ\n")

    found = json.loads(verify(cli, "--table", f"{schema}.t", "--output", "json").stdout)
    assert (found["equal"], found["rows"]) == (False, 3)
    (table,) = found["tables"]
    assert (table["name"], table["differing"], table["complete"]) == (f"{schema}.t", 3, True)
    assert {"key": ["9"], "kind": "extra"} in table["keys"]
    assert cli.lease() == []


def test_what_cannot_be_compared(cli: FerryCli) -> None:
    verify(cli, "--table", "a.b").refused(64, "PatternMatchesNothing", "not among the selected tables: a.b")
    verify(cli, "--table", "a.b", "--full").refused(64, "Usage", "leave one of them out")
    verify(cli, "--server", "http://127.0.0.1:1").refused(64, "Usage", "--server is for a Ferry that runs")
    ferry("verify", "--output", "json", cwd=cli.folder).refused(64, "Usage", "--output goes with -f")
    cli.pair.target.execute(f"DROP TABLE `{cli.schema}`.t")
    lost = verify(cli)
    assert lost.code == 65
    assert f"{cli.schema}.t" in lost.stderr


@pytest.mark.parametrize("rows", ["(2, 'two')", "(2, 'other')"])
def test_rows_of_one_key_on_a_target_without_that_key_are_not_equal(cli: FerryCli, rows: str) -> None:
    cli.pair.target.execute(
        f"ALTER TABLE `{cli.schema}`.t DROP PRIMARY KEY", f"INSERT INTO `{cli.schema}`.t VALUES {rows}"
    )
    verify(cli).refused(65, "TargetKeyMissing", f"{cli.schema}.t", "no UNIQUE index over (id)")


def test_rows_of_the_target_that_a_key_does_not_name_are_differences(cli: FerryCli) -> None:
    for server in (cli.pair.source, cli.pair.target):
        server.execute(
            f"CREATE TABLE `{cli.schema}`.n (a INT, v INT, UNIQUE (a))",
            f"INSERT INTO `{cli.schema}`.n VALUES (1, 1), (2, 2)",
        )
    assert verify(cli).code == 0
    cli.pair.target.execute(f"INSERT INTO `{cli.schema}`.n VALUES (NULL, 9)")
    differ = verify(cli, "--settle", "1")
    assert differ.code == 65, differ
    assert f"{cli.schema}.n (copied whole): 0 rows are missing" in differ.stdout
    assert "1 are on the target only" in differ.stdout


def test_an_interrupt_ends_it_while_servers_do_not_answer(cli: FerryCli) -> None:
    target = cli.pair.target
    with target.connect() as blocking, blocking.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{cli.schema}`.t WRITE")
        line = [sys.executable, "-m", "ferry_core", "verify", "-f", str(cli.manifest())]
        with subprocess.Popen(line, cwd=cli.folder, stderr=subprocess.PIPE, text=True) as process:
            waiting = "SELECT COUNT(*) FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'"
            wait_until(lambda: int(target.value(waiting)) > 0, "a comparison waits for the lock")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 143  # the server itself gives up after 30 s, and is asked again then
