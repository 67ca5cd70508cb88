"""Writes by others to the target after the verification pass: no event reports them."""

import re
from pathlib import Path

import pytest

from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryCli
from tests.support.ferry_under_load import condition
from tests.support.servers import Pair


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20))",
        "INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, 'three')",
    )
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "5m", "maxAttempts": 50})


def test_a_foreign_write_after_the_pass_fails_the_attempt(cli: FerryCli) -> None:
    """A pass that took only seconds is repeated before writes are stopped."""
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        target.execute(f"USE `{schema}`", "UPDATE t SET v = 'else' WHERE id = 2", "INSERT INTO t VALUES (9, 'nine')")
        process.post("cutover")
        status = process.wait_status(lambda status: "RowsDiffer" in str(status["cutover"]))
        assert "2 rows differ" in str(status)
        assert source.value("SELECT @@global.read_only") == 0
        # As the message advises.
        target.execute(f"DELETE FROM `{schema}`.t WHERE id IN (2, 9)")
        source.execute(f"UPDATE `{schema}`.t SET v = 'two!' WHERE id = 2")
        status = process.wait_stage("Completed")
        assert process.process is not None
        process.process.terminate()
        process.succeed()
        last = process.log.read_text().splitlines()[-1]
    assert "no difference (not compared: rows that others changed on the target after 2" in last
    assert moment(last) == moment(condition(status, "Verified")["message"]) == moment(status["message"])
    assert_equal_tables(source, target, f"{schema}.t")


def moment(text: str) -> str:
    """The time after which nothing was compared."""
    (found,) = re.findall(r"after (\d{4}-\d\S+Z)", text)
    return str(found)
