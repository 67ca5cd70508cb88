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


WIDE = ", ".join(f"c{at} CHAR(250)" for at in range(40))


def test_a_table_that_a_strict_server_would_refuse_today(pair: Pair, target: Session, schema: str) -> None:
    """Rows longer than a page: it was created with innodb_strict_mode off, and the target has it on."""
    wide = TableName(schema, "wide")
    pair.target.execute(
        f"CREATE DATABASE `{schema}` CHARACTER SET latin1",
        "SET SESSION innodb_strict_mode = 0",
        f"CREATE TABLE {wide.sql} (id INT PRIMARY KEY, {WIDE}) ROW_FORMAT=COMPACT",
    )
    assert target.number("SELECT @@SESSION.innodb_strict_mode") == 1
    assert drop_if_empty(target, wide)
    assert not exists(target, wide)


def test_a_table_without_a_primary_key_where_the_server_wants_one(mysql_pair: Pair, schema: str) -> None:
    bare = TableName(schema, "bare")
    mysql_pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE {bare.sql} (v INT)")
    with Session(mysql_pair.target.endpoint("target"), Purpose.TARGET) as session:
        session.execute("SET SESSION sql_require_primary_key = ON")
        assert drop_if_empty(session, bare)
        assert session.text("SELECT @@SESSION.sql_require_primary_key") == "1"
        assert not exists(session, bare)
