"""``tables.tenant``: one tenant of all tables, found by an index, while rows join and leave it."""

from pathlib import Path

import pytest

from tests.support.ferry_cli import Ended, FerryCli
from tests.support.servers import Pair

TABLES = {
    "orders": "id INT PRIMARY KEY, tenant_id INT NOT NULL, v VARCHAR(20), KEY (tenant_id)",
    "items": "tenant_id INT NOT NULL, id INT NOT NULL, v VARCHAR(20), PRIMARY KEY (tenant_id, id)",
    "notes": "id INT PRIMARY KEY, tenant_id VARCHAR(20) CHARACTER SET latin1, v VARCHAR(20)",
}
NUMBERS = range(3000)


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    for name, columns in TABLES.items():
        names = "id, tenant_id, v"
        rows = ", ".join(f"({number}, {number % 100}, 'r{number}')" for number in NUMBERS)
        pair.source.execute(
            f"USE `{schema}`", f"CREATE TABLE {name} ({columns})", f"INSERT INTO {name} ({names}) VALUES {rows}"
        )
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE currencies (id INT PRIMARY KEY)",
        "INSERT INTO currencies VALUES (1), (2)",
    )
    return FerryCli(
        tmp_path / "ferry",
        pair,
        schema,
        tables={"include": [f"{schema}.*"], "tenant": {"column": "tenant_id", "values": ["42", "7"]}},
        cutover={"watchFor": "0s"},
    )


def test_a_table_without_the_column_needs_a_rule(cli: FerryCli) -> None:
    line = cli.run().refused(64, "TenantColumnMissing", f"{cli.schema}.currencies")
    assert f"{cli.schema}.orders" not in line


def test_an_index_that_does_not_exist_is_refused(cli: FerryCli) -> None:
    cli.spec["tables"]["rules"] = [
        {"match": f"{cli.schema}.currencies"},
        {"match": f"{cli.schema}.notes", "index": "tenant_id"},
    ]
    cli.run().refused(64, "RuleIndexInvalid", f"{cli.schema}.notes", "'tenant_id'")


def test_rows_of_the_tenants_move_and_no_others(cli: FerryCli) -> None:
    source, target, schema = cli.pair.source, cli.pair.target, cli.schema
    cli.spec["tables"]["rules"] = [{"match": f"{schema}.currencies"}]
    with cli.process() as process:
        process.start().wait_stage("Streaming", "ReadyForCutover")
        for name in TABLES:
            source.execute(
                f"USE `{schema}`",
                f"UPDATE {name} SET tenant_id = 42 WHERE id = 500",
                f"UPDATE {name} SET tenant_id = 5 WHERE id = 142",
                f"DELETE FROM {name} WHERE id = 7",
                f"INSERT INTO {name} (id, tenant_id, v) VALUES (9001, 7, 'new'), (9002, 8, 'no')",
            )
        process.wait_stage("ReadyForCutover")
        process.post("cutover")
        ended = Ended(process.wait_end(), "", process.log.read_text())
    assert ended.code == 0, ended
    for name in TABLES:
        wanted = source.query(f"SELECT * FROM `{schema}`.{name} WHERE tenant_id IN ('42', '7') ORDER BY id")
        assert len(wanted) == 60
        assert target.query(f"SELECT * FROM `{schema}`.{name} ORDER BY id") == wanted
    assert target.query(f"SELECT id FROM `{schema}`.currencies") == [(1,), (2,)]
