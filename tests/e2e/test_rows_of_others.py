"""Somebody loads rows into a table that a Ferry has claimed and not written to: they are refused, not deleted."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ferry_core.mysql.literals import string
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import Ended, FerryCli, FerryProcess
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.always, pytest.mark.timeout(300)]

THEIRS = [(7, "theirs"), (8, "theirs")]
MAKES_SECOND = "CREATE TABLE `{}`.`u`"
ABOUT_TO_WRITE = f"phase = {string('Copying')}"
RECORDS_START = "REPLACE INTO mysql_ferry.checkpoint"
"""The mark of the first checkpoint of a state file, which says that the tables are started."""
WRITES_ROWS = "LOAD DATA"
MAKES_THIRD = "CREATE TABLE `{}`.`v`"


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    """Two tables; the target has the first of them, empty."""
    table = f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20))"
    pair.source.execute(table, f"INSERT INTO `{schema}`.t VALUES (1, 'one'), (2, 'two')")
    pair.source.execute(f"CREATE TABLE `{schema}`.u LIKE `{schema}`.t", f"INSERT INTO `{schema}`.u VALUES (3, 'three')")
    pair.target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4", table)
    at_once = {"mode": "Automatic", "watchFor": "0s", "maxLag": "20s"}
    return FerryCli(tmp_path / "ferry", pair, schema, cutover=at_once)


@contextlib.contextmanager
def held(cli: FerryCli, statement: str, *arguments: str) -> Iterator[tuple[FerryProcess, Proxy]]:
    """Inside, a run waits for this statement, which has not come to the target."""
    target = cli.pair.target
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"] |= {"port": proxy.port, "tls": {"mode": "Disabled", "allowPublicKeyRetrieval": True}}
        proxy.hold(statement.format(cli.schema).encode())
        with cli.process() as process:
            if "checkpoint" in cli.spec:
                process.arguments = []
            process.arguments = [*process.arguments, *arguments]
            process.start()
            proxy.wait_held(120)
            yield process, proxy
    cli.spec["target"]["port"] = target.port


def rows(cli: FerryCli) -> list[tuple[Any, ...]]:
    return cli.pair.target.query(f"SELECT id, v FROM `{cli.schema}`.t ORDER BY id")


def load(cli: FerryCli) -> None:
    cli.pair.target.query(f"INSERT INTO `{cli.schema}`.t VALUES (7, 'theirs'), (8, 'theirs')")


def run(cli: FerryCli, *arguments: str) -> Ended:
    if "checkpoint" not in cli.spec:
        return cli.run(*arguments)
    with cli.process() as process:
        process.arguments = list(arguments)
        return Ended(process.start().wait_end(120), "", process.log.read_text().rpartition("--- start")[2])


def completes(cli: FerryCli, *arguments: str) -> str:
    ended = run(cli, *arguments)
    assert ended.code == 0, ended
    assert_equal_schemas(cli.pair.source, cli.pair.target, cli.schema)
    return ended.stderr


@pytest.mark.parametrize(
    ("killed", "store"),
    [(MAKES_SECOND, "Volume"), (ABOUT_TO_WRITE, "Volume"), (ABOUT_TO_WRITE, "Target")],
    ids=["as it makes tables", "as it begins to write", "its state on the target"],
)
def test_after_a_run_was_killed_before_its_first_row(cli: FerryCli, killed: str, store: str) -> None:
    if store == "Target":
        cli.spec["checkpoint"] = {"store": store}
    with held(cli, killed) as (process, _):
        assert cli.lease() == [(1, "Claimed")]
        process.kill()
    load(cli)
    line = run(cli, "--restart").refused(
        64, "TargetNotEmpty", f"rows that this Ferry did not write are in {cli.schema}.t"
    )
    assert f"{cli.schema}.u" not in line
    assert rows(cli) == THEIRS
    cli.pair.target.execute(f"DELETE FROM `{cli.schema}`.t")
    assert "ForgottenRows" not in completes(cli)


def test_while_a_run_starts(cli: FerryCli) -> None:
    """It has found the tables empty, and has claimed them."""
    with held(cli, MAKES_SECOND) as (process, proxy):
        load(cli)
        proxy.release()
        Ended(process.wait_end(120), "", process.log.read_text()).refused(64, "TargetNotEmpty", f"{cli.schema}.t")
    assert rows(cli) == THEIRS
    cli.pair.target.execute(f"DROP TABLE `{cli.schema}`.t")
    completes(cli)


def test_in_a_transaction_that_is_open_when_a_run_starts(cli: FerryCli) -> None:
    """As a long LOAD DATA: nobody sees its rows yet, and one of them has a key that the source has too."""
    cli.pair.target.execute(f"CREATE TABLE `{cli.schema}`.u LIKE `{cli.schema}`.t")
    with contextlib.closing(cli.pair.target.connect(autocommit=False)) as loading:
        with loading.cursor() as cursor:
            cursor.execute(f"INSERT INTO `{cli.schema}`.t VALUES (1, 'theirs'), (7, 'theirs')")
        ended = cli.run()
        loading.commit()
    ended.refused(64, "TargetNotEmpty", f"{cli.schema}.t", "open transaction")
    assert rows(cli) == [(1, "theirs"), (7, "theirs")]
    cli.pair.target.execute(f"DELETE FROM `{cli.schema}`.t")
    completes(cli)


def test_into_a_table_whose_start_is_undone(cli: FerryCli) -> None:
    """This run has made it, and drops what it has made since the source's is another one by now."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    target.execute(f"DROP TABLE `{schema}`.t")
    with held(cli, MAKES_SECOND) as (process, proxy):
        load(cli)
        source.execute(f"ALTER TABLE `{schema}`.t ADD COLUMN w INT")
        proxy.release()
        ended = Ended(process.wait_end(120), "", process.log.read_text())
    assert ended.code == 64, ended
    assert f"rows that this Ferry did not write are in {schema}.t" in ended.stderr
    assert rows(cli) == THEIRS
    target.execute(f"DROP TABLE `{schema}`.t")
    completes(cli)


def test_a_checkpoint_of_before_the_first_row_tells_of_none(cli: FerryCli) -> None:
    """The connection was lost just then. The table is made again if a person drops it with their rows."""
    with held(cli, ABOUT_TO_WRITE) as (process, proxy):
        proxy.hold(ABOUT_TO_WRITE.encode())
        proxy.cut()
        wait_until(lambda: proxy.counts.held == 2, "the run that begins again", seconds=120)
        process.kill()
    assert cli.stored()["tables"]
    assert cli.lease()[0][1] == "Claimed"
    load(cli)
    run(cli).refused(64, "TargetNotEmpty", f"rows that this Ferry did not write are in {cli.schema}.t")
    cli.pair.target.execute(f"DROP TABLE `{cli.schema}`.t")
    completes(cli)


@pytest.mark.parametrize("moment", [RECORDS_START, ABOUT_TO_WRITE], ids=["before its record", "after its record"])
def test_a_run_killed_as_it_records_the_start(cli: FerryCli, moment: str) -> None:
    """It has not written a row in either case."""
    with held(cli, moment) as (process, _):
        assert cli.lease() == [(1, "Claimed")]
        process.kill()
    load(cli)
    for arguments in ((), ("--restart",)):
        run(cli, *arguments).refused(64, "TargetNotEmpty", f"rows that this Ferry did not write are in {cli.schema}.t")
        assert rows(cli) == THEIRS
    cli.pair.target.execute(f"DELETE FROM `{cli.schema}`.t")
    completes(cli)


def test_rows_of_others_among_those_of_a_run_whose_state_is_lost(cli: FerryCli) -> None:
    """Nobody can tell whose they are. A warning names the tables."""
    with held(cli, WRITES_ROWS) as (process, _):
        assert cli.lease() == [(1, "Copying")]
        process.kill()
    cli.state.unlink()
    load(cli)
    run(cli).refused(64, "StateMissing", f"{cli.schema}.t")
    assert "ForgottenRows" in completes(cli, "--restart")


@pytest.mark.parametrize("killed", [True, False], ids=["killed", "goes on"])
def test_into_a_table_that_a_restart_selects_anew(cli: FerryCli, killed: bool) -> None:
    """The lease still names a table of the earlier selection, which may contain rows of this Ferry."""
    schema = cli.schema
    cli.pair.source.execute(f"CREATE TABLE `{schema}`.v LIKE `{schema}`.t")
    cli.spec["tables"]["include"] = [f"{schema}.u"]
    with held(cli, WRITES_ROWS) as (process, _):
        process.kill()
    cli.state.unlink()
    cli.spec["tables"]["include"] = [f"{schema}.t", f"{schema}.v"]
    with held(cli, MAKES_THIRD, "--restart") as (process, proxy):
        load(cli)
        if killed:
            process.kill()
        else:
            proxy.release()
            Ended(process.wait_end(120), "", process.log.read_text()).refused(64, "TargetNotEmpty", f"{schema}.t")
    run(cli, "--restart").refused(64, "TargetNotEmpty", f"rows that this Ferry did not write are in {schema}.t")
    assert rows(cli) == THEIRS
    cli.pair.target.execute(f"DELETE FROM `{schema}`.t")
    ended = run(cli, "--restart")
    assert ended.code == 0, ended
    assert rows(cli) == [(1, "one"), (2, "two")]


def test_into_an_empty_table_of_a_restart_that_is_killed(cli: FerryCli) -> None:
    """It has not deleted the rows of another table yet. Those in the empty one are not this Ferry's."""
    with held(cli, WRITES_ROWS) as (process, _):
        process.kill()
    cli.state.unlink()
    cli.pair.target.query(f"INSERT INTO `{cli.schema}`.u VALUES (99, 'of a run')")
    cli.pair.target.query(f"DELETE FROM `{cli.schema}`.t")
    with held(cli, "DELETE FROM `{}`.`u`", "--restart") as (process, _):
        process.kill()
    load(cli)
    run(cli, "--restart").refused(64, "TargetNotEmpty", f"rows that this Ferry did not write are in {cli.schema}.t")
    assert rows(cli) == THEIRS
    cli.pair.target.execute(f"DELETE FROM `{cli.schema}`.t")
    completes(cli, "--restart")


def test_a_claim_of_an_earlier_version_does_not_tell(cli: FerryCli) -> None:
    """It is New until the first attempt to cut over, also while rows are copied; empty tables tell enough."""
    as_before = "UPDATE mysql_ferry.lease SET phase = 'New', tables = JSON_KEYS(tables) WHERE ferry_uid = %s"
    with held(cli, MAKES_SECOND) as (process, _):
        process.kill()
    cli.pair.target.query(as_before, [cli.uid])
    with held(cli, MAKES_SECOND) as (process, _):
        assert cli.lease()[0][1] == "Claimed"
        process.kill()
    cli.pair.target.query(as_before, [cli.uid])
    load(cli)
    completes(cli)
