"""A table is dropped only if it is empty, also if rows come while it is looked at."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from ferry_core.mysql.listings import exists
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.drop import drop_if_empty
from ferry_core.tables.table import TableName
from tests.support.servers import Pair
from tests.support.waits import wait_until

WAITING = (
    "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata%%'"
    " AND INFO LIKE %s"
)


@pytest.fixture
def target(pair: Pair) -> Iterator[Session]:
    with Session(pair.target.endpoint("target"), Purpose.TARGET) as session:
        yield session


@pytest.fixture
def table(pair: Pair, schema: str) -> TableName:
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v INT)")
    return TableName(schema, "t")


def test_an_empty_table_is_dropped(target: Session, table: TableName) -> None:
    assert drop_if_empty(target, table)
    assert not exists(target, table)
    assert drop_if_empty(target, table)


def test_a_table_with_rows_is_kept(pair: Pair, target: Session, table: TableName) -> None:
    pair.target.execute(f"INSERT INTO {table.sql} VALUES (1, 1)")
    assert not drop_if_empty(target, table)
    assert pair.target.query(f"SELECT * FROM {table.sql}") == [(1, 1)]


@pytest.mark.parametrize("commits", [True, False])
def test_rows_of_an_open_transaction(pair: Pair, target: Session, table: TableName, commits: bool) -> None:
    """Nobody sees them yet. The ALTER waits until they are committed or rolled back."""
    target.execute("SET SESSION lock_wait_timeout = 300")
    with contextlib.closing(pair.target.connect(autocommit=False)) as loading, ThreadPoolExecutor(1) as pool:
        with loading.cursor() as cursor:
            cursor.execute(f"INSERT INTO {table.sql} VALUES (7, 7)")
        dropping = pool.submit(drop_if_empty, target, table)
        wait_until(
            lambda: pair.target.query(WAITING, [f"ALTER TABLE {table.sql}%"]) == [(1,)] or dropping.done(),
            "the table is looked at",
            seconds=120,
        )
        (loading.commit if commits else loading.rollback)()
        assert dropping.result(120) is not commits
    if commits:
        assert pair.target.query(f"SELECT * FROM {table.sql}") == [(7, 7)]
        pair.target.execute(f"INSERT INTO {table.sql} VALUES (8, 8)")
