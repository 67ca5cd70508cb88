"""The target does not match the state: rows that it lost must not count as copied."""

from pathlib import Path

import pytest

from tests.support.ferry_cli import Ended, FerryCli
from tests.support.proxy import Proxy
from tests.support.servers import Pair

pytestmark = pytest.mark.always


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    """Copied, then killed. Nothing would be compared before the cutover."""
    pair.source.execute(
        f"USE `{schema}`",
        *("CREATE TABLE a (id INT PRIMARY KEY)", "INSERT INTO a VALUES (1), (2)"),
        *("CREATE TABLE b (id INT PRIMARY KEY)", "INSERT INTO b VALUES (1), (2)"),
    )
    unverified = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"}, **unverified)
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    cli.spec["cutover"]["mode"] = "Automatic"
    return cli


def test_a_table_that_was_dropped(cli: FerryCli) -> None:
    target, schema = cli.pair.target, cli.schema
    target.execute(f"DROP TABLE `{schema}`.a")
    cli.run().refused(65, "TargetTableLost", "target 127.0.0.1", f"{schema}.a", "start over")
    assert [name for _, name in cli.target_tables()] == ["b"]


def test_a_table_that_is_dropped_while_a_run_starts(cli: FerryCli) -> None:
    """It was there when the run looked. A new one in its place would lack the rows that count as copied."""
    target, schema = cli.pair.target, cli.schema
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(b"UPDATE mysql_ferry.lease SET epoch = 2")
        with cli.process() as process:
            process.start()
            proxy.wait_held()
            target.execute(f"DROP TABLE `{schema}`.a")
            proxy.release()
            log = Ended(process.wait_end(), "", process.log.read_text().rpartition("--- start")[2])
    log.refused(65, "TargetTableLost", "target 127.0.0.1", f"{schema}.a", "start over")
    assert [name for _, name in cli.target_tables()] == ["b"]
    assert cli.pair.source.value("SELECT @@global.read_only") == 0


def test_another_server(cli: FerryCli) -> None:
    """It even has the tables, but no records of this Ferry."""
    target, schema = cli.pair.target, cli.schema
    target.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{cli.uid}'")
    target.execute(f"TRUNCATE `{schema}`.a", f"TRUNCATE `{schema}`.b")
    cli.run().refused(64, "StateOfOtherTarget", "state file", "target", "127.0.0.1")
    assert cli.lease() == []
    # The advice in the message starts over.
    cli.state.unlink()
    ended = cli.run()
    assert (ended.code, "moved 4 rows of 2 tables" in ended.stdout) == (0, True), ended


def test_a_target_restored_from_a_backup(cli: FerryCli) -> None:
    """Taken before this run began: it has the lease of an earlier run, and marks of no checkpoint."""
    cli.pair.target.execute(
        f"UPDATE mysql_ferry.lease SET epoch = epoch - 1 WHERE ferry_uid = '{cli.uid}'",
        f"DELETE FROM mysql_ferry.checkpoint WHERE ferry_uid = '{cli.uid}'",
    )
    cli.run().refused(64, "StateOfOtherTarget", "restored from a backup")
