"""The same engine runs in one direction and then in the other; each end has its own family."""

from collections.abc import Iterator

import pytest

from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.servers import Pair, Server
from tests.support.table_pair import make_table

COLUMNS = """id INT NOT NULL PRIMARY KEY, u INT, s VARCHAR(40) COLLATE utf8mb4_unicode_ci, d DECIMAL(9,3), f DOUBLE,
  t DATETIME(3), b VARBINARY(9), e ENUM('x', 'y'), UNIQUE (u)"""
ROWS = [
    "(1, 5, 'one, \\'two\\'', 1.5, 1e-300, '2024-02-29 10:00:00.123', 0x00ff, 'y')",
    "(2, NULL, NULL, NULL, -0e0, NULL, NULL, NULL)",
    "(-3, 7, 'ä\\n\\\\', -0.001, 0.1, '1999-12-31 23:59:59', '', 'x')",
]


@pytest.fixture(params=["mysql", "mariadb", "mysql to mariadb", "mariadb to mysql"])
def ends(request: pytest.FixtureRequest, schema: str) -> Iterator[Pair]:
    """Two servers of one family, or one of each."""
    first, _, second = request.param.partition(" to ")
    pair: Pair = request.getfixturevalue(f"{first}_pair")
    if second:
        pair = Pair(pair.source, request.getfixturevalue(f"{second}_pair").target)
    yield pair
    for server in (pair.source, pair.target):
        server.execute(f"DROP DATABASE IF EXISTS `{schema}`")


def rows(server: Server, schema: str) -> object:
    return server.query(f"SELECT id, u, s, d, f, t, b, e FROM `{schema}`.t ORDER BY id")


def alike(pair: Pair, schema: str) -> None:
    assert rows(pair.source, schema) == rows(pair.target, schema)
    assert rows(pair.source, schema)


def test_the_engine_runs_in_both_directions(ends: Pair, schema: str) -> None:
    ends.source.execute(f"CREATE DATABASE IF NOT EXISTS `{schema}`")
    name = make_table(ends, schema, COLUMNS, *ROWS)
    ends.target.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4", f"CREATE TABLE `{schema}`.t ({COLUMNS})")
    with EngineInProcess(ends, schema) as there:
        there.go()
        ends.source.execute(
            f"UPDATE `{schema}`.t SET u = NULL WHERE id = 1", f"UPDATE `{schema}`.t SET u = 5 WHERE id = 2"
        )
        there.quiet()
        alike(ends, schema)
    back = Pair(ends.target, ends.source)
    with EngineInProcess(back, schema, StartState({name: COPIED})) as reverse:
        reverse.go()
        back.source.execute(
            f"INSERT INTO `{schema}`.t VALUES (9, 9, 'neun', 9.009, 9.9, '2038-01-19 03:14:07.5', 'b', 'x')",
            f"UPDATE `{schema}`.t SET u = NULL, f = 1.7976931348623157e308 WHERE id = 2",
            f"UPDATE `{schema}`.t SET id = 20, u = 5 WHERE id = 1",
            f"DELETE FROM `{schema}`.t WHERE id = -3",
        )
        reverse.quiet()
        alike(back, schema)
        assert reverse.fence.epoch == 1, "each direction has a lease of its own, on the end that it writes to"
