"""The target does not match the state: rows that it lost must not count as copied."""

from pathlib import Path

import pytest

from tests.support.ferry_cli import FerryCli
from tests.support.servers import Pair


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    """Copied, then killed. Nothing would be compared before the cutover."""
    pair.source.execute(
        f"USE `{schema}`",
        *("CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)"),
        *("CREATE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1), (2)"),
    )
    unverified = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
    bench = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"}, **unverified)
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    bench.spec["cutover"]["mode"] = "Automatic"
    return bench


def test_a_table_that_was_dropped(bench: FerryCli) -> None:
    target, schema = bench.pair.target, bench.schema
    target.execute(f"DROP TABLE `{schema}`.a")
    bench.run().refused(65, "TargetTableLost", "target 127.0.0.1", f"{schema}.a", "start over")
    assert [name for _, name in bench.target_tables()] == ["b"]


def test_another_server(bench: FerryCli) -> None:
    """It even has the tables, but no records of this Ferry."""
    target, schema = bench.pair.target, bench.schema
    target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{bench.uid}'")
    target.execute(f"TRUNCATE `{schema}`.a", f"TRUNCATE `{schema}`.b")
    bench.run().refused(64, "StateOfOtherTarget", "state file", "target", "127.0.0.1")
    assert bench.lease() == []
    # The advice in the message starts over.
    bench.state.unlink()
    ended = bench.run()
    assert (ended.code, "moved 4 rows of 2 tables" in ended.stdout) == (0, True), ended


def test_a_target_from_a_backup(bench: FerryCli) -> None:
    """Taken before this run began: it has the lease of an earlier run, and marks of no checkpoint."""
    bench.pair.target.execute(
        f"UPDATE mysql_ferry.lease SET epoch = epoch - 1 WHERE ferry_uid = '{bench.uid}'",
        f"DELETE FROM mysql_ferry.checkpoint WHERE ferry_uid = '{bench.uid}'",
    )
    bench.run().refused(64, "StateOfOtherTarget", "restored from a backup")
