"""Sessions that log statements instead of rows: no row event reports what they wrote."""

import re
from pathlib import Path

import pytest

from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import Ended, FerryCli
from tests.support.servers import Pair, set_global

pytestmark = pytest.mark.slow  # whole moves

STREAMING = ("Streaming", "ReadyForCutover")
BY_ANOTHER_NAME = {
    "a view": "INSERT INTO seen (id, v) VALUES (900001, 'by a view')",
    "a trigger": "INSERT INTO other VALUES (900002)",
    "a function": "UPDATE other SET id = written(900003) WHERE id = 1",
}


@pytest.mark.parametrize("way", BY_ANOTHER_NAME)
def test_a_logged_statement_that_names_no_selected_table(tmp_path: Path, pair: Pair, schema: str, way: str) -> None:
    """A view, trigger or function behind the name writes the row."""
    source = pair.source
    source.execute(f"USE `{schema}`", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(80))")
    cli = FerryCli(tmp_path / "ferry", pair, schema)
    cli.spec["tables"]["exclude"] = [f"{schema}.other"]
    source.execute(
        f"USE `{schema}`",
        "CREATE TABLE other (id INT PRIMARY KEY)",
        "INSERT INTO other VALUES (1)",
        "CREATE VIEW seen AS SELECT id, v FROM t",
        "CREATE TRIGGER on_other AFTER INSERT ON other FOR EACH ROW INSERT INTO t (id, v) VALUES (NEW.id, 'fired')",
        "CREATE FUNCTION written(a INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA "
        "BEGIN INSERT INTO t (id, v) VALUES (a, 'called'); RETURN a; END",
    )
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        statement = BY_ANOTHER_NAME[way]
        source.execute(f"USE `{schema}`", "SET SESSION binlog_format = 'STATEMENT'", statement)
        code = process.wait_end()
        ended = Ended(code, "", process.log.read_text())
        shown = re.sub(r"'[^']*'|\b\d+\b", "?", statement)
        ended.refused(65, "StatementFormat", "through a view, trigger or function", shown)


def test_a_move_from_a_source_in_mixed_format(tmp_path: Path, pair: Pair, schema: str) -> None:
    """Sessions that log statements write to another schema; those that write to the selected table log rows."""
    source, other = pair.source, f"{schema}_other"
    source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(80))",
        f"CREATE DATABASE `{other}`",
        f"CREATE TABLE `{other}`.t (id INT PRIMARY KEY, v VARCHAR(80))",
    )
    cli = FerryCli(tmp_path / "ferry", pair, schema)
    cli.spec["acknowledge"] = ["BinlogFormatNotRow"]
    elsewhere = "INSERT INTO t SELECT id + {0}, 'logged as a statement' FROM (SELECT {0} AS id) AS made"
    with set_global(source, "binlog_format = MIXED"), cli.process() as process:
        process.start().wait_stage(*STREAMING)
        for number in (1, 2):
            source.execute(f"USE `{other}`", elsewhere.format(number))
            source.execute(
                f"USE `{schema}`",
                "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                f"INSERT INTO t VALUES ({number}, 'as a row')",
            )
            if number == 1:
                process.kill()
                process.start()
        process.wait_stage(*STREAMING)
        process.cut_over()
    assert pair.target.query(f"SELECT id FROM `{schema}`.t ORDER BY id") == [(1,), (2,)]
    assert_equal_schemas(source, pair.target, schema)
    source.drop_schemas(other)
