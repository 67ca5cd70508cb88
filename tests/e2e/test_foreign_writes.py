"""Writes by others to the target after the verification pass: no event reports them."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli
from tests.support.ferry_under_load import FerryUnderLoad, condition
from tests.support.servers import Pair


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    )
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "5m", "maxAttempts": 50})


CHANGES = (
    "UPDATE t SET v = 'else' WHERE id = 2",
    "DELETE FROM t WHERE id = 3",
    "INSERT INTO t VALUES (9, 'nine')",
)

TRIGGER = "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.v = 'x'"


def write(cli: FerryCli, *statements: str) -> None:
    cli.pair.target.execute(f"USE `{cli.schema}`", *statements)


def test_rows_that_others_change_are_copied_again(cli: FerryCli) -> None:
    """The first attempt finds them under the lock, and fails; the next one finds them repaired."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["verify"] = {"mode": "Final"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, *CHANGES)
        process.post("cutover")
        status = process.wait_stage("Completed")
        assert process.process is not None
        process.process.terminate()
        process.succeed()
        log = process.log.read_text()
    assert "cutover attempt 1 failed" in log
    assert "RowsDiffer: 3 rows differ" in log
    assert counted(status) == (3, 3)
    last = log.splitlines()[-1]
    assert "no difference (not compared: rows that others changed on the target after 2" in last
    assert moment(last) == moment(condition(status, "Verified")["message"]) == moment(status["message"])
    assert_equal_tables(source, target, f"{schema}.t")


def test_rows_that_others_change_are_found_on_request(cli: FerryCli) -> None:
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, *CHANGES)
        process.post("verify")
        status = process.wait_status(lambda status: status["verification"]["requestsAnswered"] == 1)
        assert counted(status) == (3, 3)
        assert_equal_tables(cli.pair.source, cli.pair.target, f"{cli.schema}.t")
        write(cli, "DELETE FROM t WHERE id = 1")
        process.post("verify")
        status = process.wait_status(lambda status: status["verification"]["requestsAnswered"] == 2)
        assert counted(status) == (4, 4)
        process.wait_status(lambda status: condition(status, "Verified")["status"] == "True")
        assert_equal_tables(cli.pair.source, cli.pair.target, f"{cli.schema}.t")


def test_a_table_without_a_key_is_copied_again(cli: FerryCli) -> None:
    table = f"`{cli.schema}`.log"
    cli.pair.source.execute(f"CREATE TABLE {table} (v VARCHAR(20))", f"INSERT INTO {table} VALUES ('x'), ('x'), ('y')")
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, "DELETE FROM log WHERE v = 'x' LIMIT 1")
        process.post("verify", {"tables": [f"{cli.schema}.log"]})
        status = process.wait_status(lambda status: status["verification"]["requestsAnswered"] == 1)
        assert counted(status) == (1, 1)
        assert_equal_tables(cli.pair.source, cli.pair.target, f"{cli.schema}.log")


def test_a_repair_that_does_not_hold_names_another_writer(cli: FerryCli) -> None:
    """Here a trigger, which also writes after each repair."""
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, CHANGES[0], TRIGGER)
        process.post("verify")
        assert process.wait_end() == 65
        last = process.log.read_text()
    assert "TargetWrittenByOthers" in last
    assert "t: different values on the target (1) (" in last
    assert "; they were copied again 2 times" in last
    assert cli.pair.source.value("SELECT @@global.read_only") == 0


def test_the_run_ends_instead_of_a_repair(cli: FerryCli) -> None:
    cli.spec["verify"] = {"mode": "Final", "onMismatch": "Fail"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        write(cli, *CHANGES)
        process.post("cutover")
        assert process.wait_end() == 65
        log = process.log.read_text()
    assert "RowsDiffer: 3 rows differ" in log
    assert "t: on the target, but not on the source, or excluded by the row filter (1)" in log
    assert cli.pair.source.value("SELECT @@global.read_only") == 0


def test_a_copier_killed_between_finding_rows_and_repairing_them(pair: Pair, schema: str, tmp_path: Path) -> None:
    """While applications write. The next process finds them again, and counts them by table."""
    spec: dict[str, Any] = {"verify": {"mode": "Final"}}
    with FerryUnderLoad(pair, schema, tmp_path, odd=3, **spec) as under_load, under_load.writers() as writers:
        ferry = under_load.ferry.start()
        ferry.wait_stage("ReadyForCutover")
        pair.target.execute(
            f"USE `{schema}`", "UPDATE aim SET v = -1 WHERE id = 2", "INSERT INTO aim VALUES (3, 3), (-3, 3)"
        )
        holder = under_load.connect(pair.target, autocommit=False)
        holder.cursor().execute(f"SELECT * FROM `{schema}`.aim FOR UPDATE")
        ferry.post("verify")
        ferry.wait_status(lambda status: counted(status) == (3, 0))
        assert by_table(ferry.get("/api/v1/tables"), schema) == {"aim": (3, 0)}
        ferry.kill()
        holder.close()
        writers.plain.wait_for(20)
        ferry.start().wait_status(lambda status: counted(status) == (3, 3))
        assert by_table(ferry.get("/api/v1/tables"), schema) == {"aim": (3, 3)}
        under_load.finish(writers=writers)


def by_table(answer: dict[str, Any], schema: str) -> dict[str, tuple[int, int]]:
    """Rows of a table that differed, and those that were repaired, if there are any."""
    found = {each["name"].removeprefix(f"{schema}."): counted({"verification": each}) for each in answer["tables"]}
    return {name: rows for name, rows in found.items() if any(rows)}


def counted(status: dict[str, Any]) -> tuple[int, int]:
    """Rows that differed, and those that were repaired."""
    found = status["verification"]
    return found["rowsDiffering"], found["rowsRepaired"]


def moment(text: str) -> str:
    """The time after which nothing was compared."""
    (found,) = re.findall(r"after (\d{4}-\d\S+Z)", text)
    return str(found)
