"""The verification's claims: a row changed on the target by others is found and named."""

from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair

ROWS = 6000
BEHIND = (
    "UPDATE `{}`.t SET v = 'other' WHERE id = 77",
    "UPDATE `{}`.t SET v = UPPER(v) WHERE id = 79",  # equal to the column's collation
    "DELETE FROM `{}`.t WHERE id = 78",
    "INSERT INTO `{}`.t VALUES (-5, 'nobody')",
)
KEYS = "(77, 78, 79, -5)"


def fill(pair: Pair, schema: str) -> None:
    mysql = pair.family is Family.MYSQL
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t "
        "(id INT PRIMARY KEY, v VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci)",
        f"SET SESSION {'cte_max_recursion_depth' if mysql else 'max_recursive_iterations'} = {ROWS}",
        f"INSERT INTO `{schema}`.t WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) "
        "SELECT i, CONCAT('v', i) FROM n",
    )


def test_rows_that_others_changed_on_the_target_are_found_and_named(pair: Pair, schema: str, tmp_path: Path) -> None:
    fill(pair, schema)
    selected = {"include": [f"{schema}.*"]}
    settings: dict[str, Any] = {"throttle": {"maxRowsPerSecond": 300}, "verify": {"onMismatch": "Fail"}}
    with FerryProcess(tmp_path / "ferry", pair, tables=selected, **settings) as ferry:
        ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > ROWS // 6)
        pair.target.execute(*(statement.format(schema) for statement in BEHIND))
        ferry.wait_stage("Copying")
        ferry.post("throttle", {"maxRowsPerSecond": None})
        line = ferry.fail(65, "RowsDiffer", "4 rows differ", f"{schema}.t")
        print(line)
        assert "id=" not in line
        assert pair.source.value("SELECT @@global.read_only") == 0
        # Fixed as the message advises, the same run continues.
        pair.target.execute(f"DELETE FROM `{schema}`.t WHERE id IN {KEYS}")
        pair.source.execute(f"UPDATE `{schema}`.t SET v = 'touched' WHERE id IN {KEYS}")
        result = ferry.start_streaming().cut_over()
    assert (
        f"verified {ROWS} rows, no difference (not compared: rows that others changed on the target after 2" in result
    )
    print(assert_equal_schemas(pair.source, pair.target, schema))


@pytest.mark.slow
def test_a_row_changed_on_the_target_and_then_on_the_source_is_corrected(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    """The newest row of the source replaces whatever was on the target."""
    fill(pair, schema)
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start_streaming()
        ferry.wait_status(lambda status: status["verification"]["rowsVerified"] == ROWS)
        pair.target.execute(f"UPDATE `{schema}`.t SET v = 'other' WHERE id = 5")
        pair.source.execute(f"UPDATE `{schema}`.t SET v = 'newer' WHERE id = 5")
        ferry.cut_over()
    assert_equal_schemas(pair.source, pair.target, schema)
