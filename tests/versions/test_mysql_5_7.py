"""What MySQL 5.7 lacks: accounts, routines with its sql_modes, texts that it does not show. It is never a target."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ferry_core.preflight import Status
from hack.servers import Release
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryProcess
from tests.support.preflight import PASSWORD, check, told
from tests.support.servers import Pair, Server, ServerPool

USER = "of_5_7"
SCHEMA = "old"


@pytest.fixture(scope="module")
def old(server_pool: ServerPool) -> Iterator[Server]:
    server = server_pool.start(Release.MYSQL_5_7, {})
    yield server
    server_pool.end(server)


@pytest.fixture(scope="module")
def new(server_pool: ServerPool) -> Iterator[Server]:
    server = server_pool.start(Release.MYSQL_9_7, {})
    yield server
    server_pool.end(server)


@pytest.fixture
def pair(old: Server, new: Server) -> Iterator[Pair]:
    old.execute(
        f"CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4", f"CREATE TABLE {SCHEMA}.t (id INT PRIMARY KEY, v TEXT)"
    )
    yield Pair(old, new)
    for server in (old, new):
        server.drop_schemas(SCHEMA)
        server.drop_schemas("mysql_ferry")  # where a test's cutover stands


def test_it_is_refused_as_a_target(pair: Pair) -> None:
    found = told(
        check(pair.source, pair.source, SCHEMA, tables={"include": [f"{SCHEMA}.*"], "renameSchemas": {SCHEMA: "x"}})
    )
    assert "MySQL 8.0 or MariaDB 10.5 is the oldest" in found["UnsupportedVersion"]


def test_each_missing_privilege_comes_with_a_grant_that_fixes_it(pair: Pair) -> None:
    pair.source.execute(f"CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}'")
    objects = {"schema": {"objects": {"routines": "Create", "triggers": "Create"}}}
    try:
        for _ in range(4):
            missing = told(check(pair.source, pair.target, SCHEMA, source_user=USER, **objects)).get(
                "MissingPrivilege", ""
            )
            for message in missing.splitlines():
                print(message)
                pair.source.execute(message.partition("run there: ")[2])
        assert not told(check(pair.source, pair.target, SCHEMA, source_user=USER, **objects))
    finally:
        pair.source.execute(f"DROP USER {USER}@'%'")


def test_routines_and_triggers_arrive_without_the_modes_that_are_gone(pair: Pair, tmp_path: Path) -> None:
    modes = "NO_AUTO_CREATE_USER,NO_FIELD_OPTIONS,STRICT_TRANS_TABLES"
    pair.source.execute(
        f"USE {SCHEMA}",
        f"SET sql_mode = '{modes}'",
        "CREATE FUNCTION f (a INT) RETURNS INT DETERMINISTIC RETURN a + 1",
        "CREATE PROCEDURE p () SELECT 1",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.v = COALESCE(NEW.v, 'none')",
        "INSERT INTO t (id) VALUES (1)",
    )
    wanted = {"objects": {"routines": "Create", "triggers": "Create"}}
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{SCHEMA}.*"]}, schema=wanted) as ferry:
        ferry.start_streaming()
        pair.source.execute(f"INSERT INTO {SCHEMA}.t VALUES (2, NULL)")
        ferry.cut_over()
    assert_equal_schemas(pair.source, pair.target, SCHEMA)
    kept = pair.target.query(
        "SELECT DISTINCT sql_mode FROM information_schema.routines WHERE routine_schema = %s", (SCHEMA,)
    )
    assert kept == [("STRICT_TRANS_TABLES",)]
    pair.target.execute(f"INSERT INTO {SCHEMA}.t (id) VALUES (3)")
    assert pair.target.value(f"SELECT CONCAT(v, {SCHEMA}.f(1)) FROM {SCHEMA}.t WHERE id = 3") == "none2"


def test_members_with_question_marks_are_refused_by_name(pair: Pair) -> None:
    """It prints one for each character beyond U+FFFF, and cannot be asked for the members themselves."""
    pair.source.execute(f"CREATE TABLE {SCHEMA}.e (id INT PRIMARY KEY, m ENUM('a', 'really?') CHARACTER SET utf8mb4)")
    with pytest.raises(Exception, match="question marks") as caught:
        check(pair.source, pair.target, SCHEMA)
    assert f"{SCHEMA}.e.m" in str(caught.value)


def test_json_columns_are_refused_because_it_cannot_find_every_decimal(pair: Pair) -> None:
    pair.source.execute(
        f"CREATE TABLE {SCHEMA}.j (id INT PRIMARY KEY, j JSON)",
        f"INSERT INTO {SCHEMA}.j VALUES (1, JSON_OBJECT('p', 12345.67))",
    )
    message = told(check(pair.source, pair.target, SCHEMA))["JsonPrecision"]
    assert f"{SCHEMA}.j have JSON columns" in message
    assert "hold JSON" not in message  # the row itself is not found
    known = check(pair.source, pair.target, SCHEMA, acknowledge=["JsonPrecision"])
    assert not told(known)
    assert "cannot find each DECIMAL" in told(known, Status.ACKNOWLEDGED)["JsonPrecision"]
