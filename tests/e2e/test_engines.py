"""Tables of MyISAM and Aria, which have no transactions, under writes and over kill -9: into the same engine, and into
InnoDB.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.servers import Pair, ServerPool, schema_name

ROWS = 8000
ROWS_PER_SECOND = 2500
CASES = [("mysql", "MyISAM"), ("mariadb", "MyISAM"), ("mariadb", "Aria")]


@pytest.fixture(params=CASES, ids="-".join)
def case(request: pytest.FixtureRequest, server_pool: ServerPool) -> Iterator[tuple[Pair, str, str]]:
    """Two servers, a schema, and an engine."""
    family, engine = request.param
    pair = server_pool.pair(Family(family))
    schema = schema_name(request.node.name, uuid.uuid4().hex[:6])
    pair.source.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    yield pair, schema, engine
    for server in (pair.source, pair.target):
        server.drop_schemas(schema)


@pytest.mark.parametrize("onto", ["Keep", "InnoDB"])
def test_moved_under_writes_and_kills(case: tuple[Pair, str, str], tmp_path: Path, onto: str) -> None:
    pair, schema, engine = case
    spec = {"schema": {"engine": onto}, "throttle": {"maxRowsPerSecond": ROWS_PER_SECOND}}
    with FerryUnderLoad(pair, schema, tmp_path, rows=ROWS, odd=8, **spec) as under_load:
        names = [table.name for table in under_load.tables] + ["aim"]
        pair.source.execute(*(f"ALTER TABLE `{schema}`.`{name}` ENGINE = {engine}" for name in names))
        with under_load.writers() as writers:
            ferry = under_load.ferry.start()
            ferry.wait_status(lambda status: 0 < status["progress"]["rowsCopied"] < ROWS)
            ferry.kill()
            ferry.start().wait_stage("Streaming", "ReadyForCutover")
            writers.wait_for_every_kind()
            ferry.kill()
            ferry.start().wait_stage("ReadyForCutover")
            ferry.post("cutover")
            ferry.succeed()
            writers.meet_the_lock()
        print(writers.summary())
        for name in names:
            assert_equal_tables(pair.source, pair.target, (schema, name), definitions=onto == "Keep")
        assert engines(pair, schema) == {engine if onto == "Keep" else "InnoDB"}


def engines(pair: Pair, schema: str) -> set[str]:
    rows = pair.target.query("SELECT DISTINCT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s", (schema,))
    return {name for (name,) in rows}
