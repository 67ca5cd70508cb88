"""Foreign keys with cascades, from a check to the cutover, under writers and kills, on servers that log no cascade."""

import functools
import random
from pathlib import Path
from typing import Any

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_schemas, assert_equal_tables
from tests.support.ferry_cli import STREAMING, FerryProcess
from tests.support.related_tables import FOLLOWED, UNFOLLOWED, VERSIONED, Graph, RelatedWriters, create
from tests.support.servers import Pair, ServerPool, set_global
from tests.support.waits import wait_until
from tests.support.writers import seed_of_run

pytestmark = pytest.mark.slow

KILLS = 4
OUTSIDE = {"mysql": "ON DELETE CASCADE ON UPDATE CASCADE", "mariadb": "ON DELETE RESTRICT ON UPDATE RESTRICT"}
PATIENT = {"mode": "Manual", "watchFor": "0s", "maxLag": "30s", "deadline": "60s"}


@pytest.fixture(scope="module")
def native_pair(make_module_server: ServerFactory, server_pool: ServerPool) -> Pair:
    """MySQL whose InnoDB executes cascades itself and logs none, like versions before 9.6."""
    return Pair(make_module_server("mysql", innodb_native_foreign_keys=True), server_pool.pair(Family.MYSQL).target)


def _pair(request: pytest.FixtureRequest, family: str, schema: str) -> Pair:
    pair: Pair = request.getfixturevalue(f"{family}_pair")
    for server in (pair.source, pair.target):  # this also makes the source writable again, which others share
        request.addfinalizer(functools.partial(server.drop_schemas, schema))
    return pair


@pytest.mark.parametrize(
    ("family", "graph"),
    [
        *[("mariadb", FOLLOWED), ("native", FOLLOWED), ("mysql", FOLLOWED)],
        *[("mariadb", VERSIONED), ("native", UNFOLLOWED), ("mysql", UNFOLLOWED)],
    ],
    ids=["mariadb", "native", "mysql", "mariadb-whole", "native-whole", "mysql-unfollowed"],
)
def test_random_changes_of_related_tables(
    request: pytest.FixtureRequest, family: str, graph: Graph, schema: str, tmp_path: Path
) -> None:
    """With kills in every stage. MySQL's own cascades are in its binlog."""
    pair = _pair(request, family, schema)
    seed = seed_of_run()
    create(pair.source, schema, seed, 3000, graph)
    rng = random.Random(seed)
    tables = {"include": [f"{schema}.*"]}
    spec: dict[str, Any] = {"throttle": {"maxRowsPerSecond": 100}}  # so that a copy takes longer than a kill
    spec |= {"tables": tables, "cutover": PATIENT, "acknowledge": ["SystemVersionedHistory"]}
    with FerryProcess(tmp_path / "ferry", pair, **spec) as ferry:
        with RelatedWriters(pair.source, schema, seed, graph) as writers:
            for _ in range(KILLS):
                ferry.start()
                ferry.wait_stage(rng.choice(("Copying", "Streaming")), *STREAMING)
                writers.wait(rng.randrange(300))
                ferry.kill()
            ferry.start_streaming()
            writers.wait(500)
            ferry.cut_over()
        print(assert_equal_schemas(pair.source, pair.target, schema))


@pytest.mark.parametrize("family", OUTSIDE)
def test_a_parent_that_is_not_selected(
    request: pytest.FixtureRequest, family: str, schema: str, tmp_path: Path
) -> None:
    """Its child is created without the foreign key, and gets the changes of logged cascades, also over a kill."""
    pair = _pair(request, family, schema)
    pair.source.execute(
        f"CREATE DATABASE `{schema}`",
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, "
        f"CONSTRAINT outside FOREIGN KEY (p) REFERENCES parent (id) {OUTSIDE[family]}, "
        "CONSTRAINT inside FOREIGN KEY (q) REFERENCES child (id))",
        "INSERT INTO parent VALUES (1), (2), (3), (4), (5)",
        "INSERT INTO child VALUES (1, 1, NULL), (2, 2, NULL), (3, 3, NULL), (4, NULL, 3)",
    )
    spec: dict[str, Any] = {"tables": {"include": [f"{schema}.child"]}, "cutover": PATIENT}
    with FerryProcess(tmp_path / "ferry", pair, schema={"foreignKeys": "Selected"}, **spec) as ferry:
        ferry.start_streaming()
        ferry.kill()
        if family == "mysql":
            pair.source.execute(
                f"USE `{schema}`", "DELETE FROM parent WHERE id = 1", "UPDATE parent SET id = 9 WHERE id = 2"
            )
        ferry.start_streaming()
        pair.source.execute(f"USE `{schema}`", "DELETE FROM parent WHERE id = 5", "INSERT INTO child VALUES (5, 4, 3)")
        ferry.cut_over()
    assert_equal_tables(pair.source, pair.target, f"{schema}.child", definitions=False)
    (_, created), *_ = pair.target.query(f"SHOW CREATE TABLE `{schema}`.child")
    assert "CONSTRAINT `inside`" in created
    assert "`outside`" not in created.partition("CONSTRAINT")[2]


def test_a_table_that_only_the_second_run_copies_whole(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    """The first run's chunks are on the target, and the third run keeps to it although images are complete again."""
    pair = mariadb_pair
    rows = ", ".join(f"({row}, {row % 5})" for row in range(3000))
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY, code INT UNIQUE)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, "
        "FOREIGN KEY (p) REFERENCES parent (code) ON DELETE CASCADE ON UPDATE CASCADE)",
        "INSERT INTO parent VALUES (1, 0), (2, 1), (3, 2), (4, 3), (5, 4)",
        f"INSERT INTO child VALUES {rows}",
    )
    spec: dict[str, Any] = {"throttle": {"maxRowsPerSecond": 200}, "cutover": PATIENT}
    copied = f"SELECT COUNT(*) FROM `{schema}`.child"
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}, **spec) as ferry:
        ferry.start()
        ferry.wait_stage("Copying")
        wait_until(lambda: pair.target.value(copied), "rows are on the target")
        ferry.kill()
        with set_global(pair.source, "binlog_row_image = MINIMAL"):
            pair.source.execute(f"USE `{schema}`", "DELETE FROM parent WHERE id = 1")
            ferry.start_streaming()
            pair.source.execute(f"USE `{schema}`", "UPDATE parent SET code = 9 WHERE id = 2")
            ferry.kill()
        ferry.start_streaming()
        pair.source.execute(f"USE `{schema}`", "DELETE FROM parent WHERE id = 3")
        ferry.cut_over()
    assert assert_equal_schemas(pair.source, pair.target, schema).rows == 1800 + 3
