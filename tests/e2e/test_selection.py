"""The selection is made once: a run stops when one of its tables vanishes, and names tables that appear."""

import re
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import Ended, FerryCli, FerryProcess
from tests.support.servers import Pair

ROWS = 3000
SLOWLY = {"maxRowsPerSecond": 150}
SOURCE_PRIVILEGES = {
    Family.MYSQL: "PROCESS, REPLICATION SLAVE, REPLICATION CLIENT, XA_RECOVER_ADMIN, SYSTEM_VARIABLES_ADMIN, "
    "CONNECTION_ADMIN",
    Family.MARIADB: "PROCESS, REPLICATION SLAVE, BINLOG MONITOR, REPLICA MONITOR, READ_ONLY ADMIN",
}
AT_ONCE = {"mode": "Automatic", "watchFor": "0s"}


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    """Two tables, the first of which takes some seconds to copy."""
    numbers = ", ".join(f"({number}, {number})" for number in range(ROWS))
    pair.source.execute(
        f"USE `{schema}`",
        *("CREATE TABLE a (id INT PRIMARY KEY, v INT)", f"INSERT INTO a VALUES {numbers}"),
        *("CREATE TABLE b (id INT PRIMARY KEY, v INT)", "INSERT INTO b VALUES (1, 1)"),
    )
    return FerryCli(tmp_path / "ferry", pair, schema, throttle=SLOWLY, cutover=AT_ONCE)


def killed_while_copying(cli: FerryCli) -> FerryProcess:
    process = cli.process()
    with process:
        process.start().wait_status(lambda status: 300 < status["progress"]["rowsCopied"] < ROWS)
        process.kill()
    cli.spec["throttle"] = {}
    return process


def ready(status: dict[str, Any]) -> dict[str, Any]:
    """The condition ReadyForCutover."""
    return next(one for one in status["conditions"] if one["type"] == "ReadyForCutover")


def last_line(ended: Ended) -> str:
    assert ended.code == 0, ended
    return ended.stdout.splitlines()[-1]


@pytest.mark.parametrize("statement", ["DROP TABLE a", "RENAME TABLE a TO other.a"])
def test_a_table_that_vanished_while_down(cli: FerryCli, statement: str) -> None:
    source, schema = cli.pair.source, cli.schema
    source.execute(f"CREATE DATABASE `{schema}_other`")
    if "RENAME" in statement:
        # Neither a pattern that matches nothing any more, nor one that matches the new name, may hide it.
        cli.spec["tables"]["include"] = [f"{schema}.a", f"{schema}.b", f"{schema}_other.*"]
        source.execute(f"CREATE TABLE `{schema}_other`.c (id INT PRIMARY KEY)")
    killed_while_copying(cli)
    source.execute(f"USE `{schema}`", statement.replace("other", f"`{schema}_other`"))
    cli.run().refused(65, "SchemaChanged", f"{schema}.a", "source 127.0.0.1")
    assert cli.lease()[0][1] != "Completed"
    assert source.value("SELECT @@global.read_only") == 0


def test_a_table_that_was_hidden_while_down(cli: FerryCli) -> None:
    """It still exists, but the account may not see it any more."""
    source, schema = cli.pair.source, cli.schema
    source.execute(
        *("DROP USER IF EXISTS blinded@'%'", "CREATE USER blinded@'%' IDENTIFIED BY 'secret'"),
        f"GRANT {SOURCE_PRIVILEGES[cli.pair.family]} ON *.* TO blinded@'%'",
        *(f"GRANT SELECT ON `{schema}`.{name} TO blinded@'%'" for name in "ab"),
    )
    cli.credentials("source", "blinded", "secret")
    killed_while_copying(cli)
    source.execute(f"REVOKE SELECT ON `{schema}`.a FROM blinded@'%'")
    cli.run().refused(64, "MissingPrivilege", f"GRANT SELECT ON `{schema}`.`a`")
    source.execute(f"GRANT SELECT ON `{schema}`.a TO blinded@'%'")
    assert f"moved {ROWS + 1} rows of 2 tables" in last_line(cli.run())


def test_a_table_that_appeared_while_down(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    killed_while_copying(cli)
    # Without a key: it would be refused if it were part of the selection.
    source.execute(f"USE `{schema}`", "CREATE TABLE newt (v INT)", "INSERT INTO newt VALUES (1)")
    ended = cli.run()
    said = f"not moved, because they were created after the start: {schema}.newt"
    assert last_line(ended).endswith(said)
    assert ended.stderr.count(f"WARNING {said}") == 1, ended.stderr
    for name in "ab":
        assert_equal_tables(source, cli.pair.target, f"{schema}.{name}")
    assert sorted(table for _, table in cli.target_tables()) == ["a", "b"]
    # A start after the end has nothing to do, whatever the source contains by now.
    source.execute("SET GLOBAL read_only = 0", f"DROP TABLE `{schema}`.a, `{schema}`.newt")
    again = last_line(cli.run())
    assert "was cut over already" in again
    assert "verified" not in again


def test_a_table_that_appeared_while_streaming(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    cli.spec.update(throttle={}, cutover={"watchFor": "0s"})
    cli.spec["tables"]["exclude"] = [f"{schema}.x*"]
    source.execute(f"CREATE TABLE `{schema}`.x (id INT PRIMARY KEY)")  # otherwise the pattern would be refused
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        source.execute(
            f"USE `{schema}`",
            *("CREATE TABLE xcluded (id INT PRIMARY KEY)", "CREATE TABLE newt (id INT PRIMARY KEY)"),
            *("INSERT INTO newt VALUES (1)", "INSERT INTO a VALUES (-1, -1)", "CREATE VIEW w AS SELECT * FROM newt"),
        )
        said = f"not moved, because they were created after the start: {schema}.newt"
        status = process.wait_status(lambda status: status["message"].endswith(said))
        assert (ready(status)["status"], ready(status)["message"]) == ("True", said)
        process.post("cutover")
        process.succeed()
        log = process.log.read_text()
    assert log.splitlines()[-1].endswith(said)
    assert re.search(rf"warning.*{re.escape(said)}\n(.*\n)*.*moved", log, re.IGNORECASE), log
    for name in "ab":
        assert_equal_tables(source, cli.pair.target, f"{schema}.{name}")
    assert sorted(table for _, table in cli.target_tables()) == ["a", "b"]


def test_a_table_that_appeared_while_paused_is_named_when_the_ferry_is_ready(cli: FerryCli) -> None:
    """In the same update, because people and Events act on that condition."""
    cli.spec.update(throttle={}, cutover={"watchFor": "0s"})
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.post("pause")
        process.wait_status(lambda status: ready(status)["status"] == "False")
        cli.pair.source.execute(f"CREATE TABLE `{cli.schema}`.newt (id INT PRIMARY KEY)")
        process.post("resume")
        status = process.wait_status(lambda status: ready(status)["status"] == "True")
        assert ready(status)["message"] == f"not moved, because they were created after the start: {cli.schema}.newt"


def test_a_table_that_appeared_while_copying_is_named_before_approval(cli: FerryCli) -> None:
    source, schema = cli.pair.source, cli.schema
    cli.spec["cutover"] = {"watchFor": "0s"}
    with cli.process() as process:
        process.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 300)
        source.execute(f"CREATE TABLE `{schema}`.newt (id INT PRIMARY KEY)")
        process.post("throttle", {"maxRowsPerSecond": None})
        process.wait_stage("ReadyForCutover")
        said = f"not moved, because they were created after the start: {schema}.newt"
        # The message names a gate that is not open yet, such as a lag that is too new to be known, before this.
        status = process.wait_status(lambda status: status["message"].endswith(said))
        assert ready(status)["message"] == said
        process.post("cutover")
        process.succeed()
