"""``ferry verify -f``: compares two servers without a run, and changes nothing."""

import json
from pathlib import Path

import pytest

from tests.support.ferry_cli import Ended, FerryCli, ferry
from tests.support.servers import Pair

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
    assert (equal.code, equal.stdout) == (0, "compared 6 rows of 2 tables: source and target are equal\n"), equal

    target.execute(f"USE `{schema}`", "UPDATE t SET v = 'two ' WHERE id = 2", "DELETE FROM t WHERE id = 3")
    target.execute(f"INSERT INTO `{schema}`.t VALUES (9, 'nine')", f"DELETE FROM `{schema}`.log WHERE v = 'x' LIMIT 1")
    differ = verify(cli, "--full")
    assert differ.code == 65, differ
    for text in ("(id=2): different values on the target", "(id=3): missing on the target", "(id=9): on the target"):
        assert text in differ.stdout
    assert f"{schema}.log (copied whole): 1 rows are missing" in differ.stdout
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
