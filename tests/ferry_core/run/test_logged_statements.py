"""Statements that a server logs in place of rows: those that can reach a selected table end the stream by name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ferry_core.mysql.gtid import Position
from ferry_core.mysql.session import Purpose, Session
from ferry_core.preflight.facts import SHOWING_DEFINITIONS
from ferry_core.run.logged_statements import LoggedStatements
from tests.support.servers import Pair
from tests.support.stream import Streaming, position_now
from tests.support.tables import describe

MIXED = "SET SESSION binlog_format = 'MIXED'"
STATEMENT = "SET SESSION binlog_format = 'STATEMENT'"


class Logged:
    """A selected table, others beside it and in another schema, and what leads from those to it."""

    def __init__(self, pair: Pair, schema: str, user: str | None = None) -> None:
        self.server, self.schema, self.other = pair.source, schema, f"{schema}_other"
        self.user = user
        self.held: list[Callable[[], bool]] = []
        self.execute(
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40))",
            "CREATE TABLE beside (id INT PRIMARY KEY)",
            f"CREATE DATABASE `{self.other}`",
            f"USE `{self.other}`",
            "CREATE TABLE plain (id INT PRIMARY KEY, v VARCHAR(40))",
            "CREATE TABLE fires (id INT PRIMARY KEY)",
            "CREATE TABLE fires_it (id INT PRIMARY KEY)",
            f"CREATE VIEW seen AS SELECT id, v FROM `{schema}`.t",
            "CREATE TRIGGER g AFTER INSERT ON fires_it FOR EACH ROW INSERT INTO fires VALUES (NEW.id)",
            f"CREATE TRIGGER h AFTER INSERT ON fires FOR EACH ROW INSERT INTO `{schema}`.t (id) VALUES (NEW.id)",
            "CREATE FUNCTION written(a INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA "
            f"BEGIN INSERT INTO `{schema}`.t (id) VALUES (a); RETURN a; END",
        )

    def session(self) -> Session:
        endpoint = self.server.endpoint()
        return Session(replace(endpoint, user=self.user, password="") if self.user else endpoint, Purpose.CONTROL)

    def execute(self, *statements: str, schema: str = "") -> None:
        self.server.execute(f"USE `{schema or self.schema}`", *statements)

    def logged(self, *statements: str, schema: str = "", form: str = MIXED) -> None:
        self.execute(form, *statements, schema=schema)

    @contextmanager
    def streaming(self, start: Position | None = None) -> Iterator[Streaming]:
        table = describe(self.server, self.schema, "t")
        judge = LoggedStatements(self.session)
        judge.hold = self.held.append
        with Streaming(self.server, [table], start=start, logged=judge) as stream:
            yield stream


@pytest.fixture
def logged(pair: Pair, schema: str) -> Iterator[Logged]:
    made = Logged(pair, schema)
    yield made
    pair.source.drop_schemas(made.other)


def test_statements_about_other_tables_go_by(logged: Logged, tmp_path: Path) -> None:
    file = tmp_path / "rows.txt"
    file.write_text("7\tseven\n8\teight\n")
    with logged.streaming() as stream:
        logged.logged(
            "INSERT INTO plain VALUES (1, 'one'), (2, 'two')",
            "UPDATE plain SET v = 'seen'",
            f"INSERT INTO `{logged.schema}`.beside VALUES (1)",
            "CREATE TEMPORARY TABLE passing (id INT)",
            "INSERT INTO passing VALUES (1)",
            "DROP TEMPORARY TABLE passing",
            "DELETE plain, f FROM plain LEFT JOIN plain AS f ON f.id = plain.id + 1 WHERE plain.id = 1",
            schema=logged.other,
        )
        with logged.server.connect(local_infile=True) as loading, loading.cursor() as cursor:
            for statement in (MIXED, f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE `{logged.other}`.plain"):
                cursor.execute(statement)
        logged.logged("INSERT INTO beside VALUES (2)", "REPLACE beside VALUES (2)")
        logged.execute("INSERT INTO t VALUES (5, 'a row')")
        stream.caught_up()
        assert stream.sink.keys == [("5",)]
    assert all(until() for until in logged.held), "the checkpoint may go on"
    assert len(logged.held) == 1, "asked once"


REACHING = {
    "by name": "UPDATE {schema}.t SET v = 'x'",
    "the default schema": "USE `{schema}`; DELETE FROM t",
    "a query that reads it": "INSERT INTO plain SELECT id + 100, v FROM {schema}.t",
    "several tables": "UPDATE plain, {schema}.t SET t.v = plain.v WHERE t.id = plain.id",
    "a view": "INSERT INTO seen VALUES (9, 'x')",
    "a trigger": "INSERT INTO fires VALUES (9)",
    "a trigger's trigger": "INSERT INTO fires_it VALUES (9)",
    "a function": "INSERT INTO plain VALUES (written(9), 'x')",
    "a function alone": "SELECT written(9)",
    "a function's default schema": "USE `{schema}`; INSERT INTO beside VALUES (`{other}`.written(9))",
}


@pytest.mark.parametrize("way", REACHING)
def test_statements_that_reach_the_table_end_the_stream(logged: Logged, way: str) -> None:
    logged.execute("INSERT INTO t VALUES (1, 'one')", f"INSERT INTO `{logged.other}`.plain VALUES (1, 'one')")
    with logged.streaming() as stream:
        logged.logged("INSERT INTO plain VALUES (2, 'two')", schema=logged.other)
        statements = REACHING[way].format(schema=logged.schema, other=logged.other)
        logged.logged(*statements.split("; "), schema=logged.other, form=STATEMENT)
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "StatementFormat"


@pytest.mark.parametrize("statement", ["INSERT INTO [t] VALUES (9, '[x]')", "UPDATE [t] SET v = 'x'", "TRUNCATE [t]"])
def test_brackets_quote_names(mariadb_pair: Pair, schema: str, statement: str) -> None:
    logged = Logged(mariadb_pair, schema)
    try:
        logged.execute("INSERT INTO t VALUES (1, 'one')")
        with logged.streaming() as stream:
            logged.logged("SET SESSION sql_mode = 'MSSQL'", statement, form=STATEMENT)
            failure = stream.failed()
    finally:
        logged.server.drop_schemas(logged.other)
    assert getattr(failure, "reason", "") in ("StatementFormat", "SchemaChanged")


@pytest.mark.parametrize("statement", ["DO pack.wrote(9)", "CALL pack.writes(9)"])
def test_a_function_of_a_package_is_logged_under_both_names(mariadb_pair: Pair, schema: str, statement: str) -> None:
    """As `schema`.`pack.wrote`: only the package is listed."""
    logged = Logged(mariadb_pair, schema)
    oracle, kind = "SET SESSION sql_mode = 'ORACLE'", "RETURN INT DETERMINISTIC MODIFIES SQL DATA"
    try:
        logged.execute(
            oracle,
            f"CREATE PACKAGE pack AS FUNCTION wrote(a INT) {kind}; PROCEDURE writes(a INT); END",
            f"CREATE PACKAGE BODY pack AS FUNCTION wrote(a INT) {kind} AS BEGIN "
            f"INSERT INTO `{schema}`.t (id) VALUES (a); RETURN a; END; "
            "PROCEDURE writes(a INT) AS BEGIN IF wrote(a) = 0 THEN SELECT 1; END IF; END; END",
            schema=logged.other,
        )
        with logged.streaming() as stream:
            logged.logged(oracle, statement, schema=logged.other, form=STATEMENT)
            failure = stream.failed()
    finally:
        logged.server.drop_schemas(logged.other)
    assert getattr(failure, "reason", "") == "StatementFormat"


def test_what_users_make_in_the_schema_sys_counts(logged: Logged) -> None:
    logged.execute(f"CREATE VIEW sys.of_a_user AS SELECT id, v FROM `{logged.schema}`.t")
    try:
        with logged.streaming() as stream:
            logged.logged("INSERT INTO plain VALUES (2, 'two')", schema=logged.other)
            logged.logged("INSERT INTO sys.of_a_user VALUES (9, 'x')", schema=logged.other, form=STATEMENT)
            failure = stream.failed()
    finally:
        logged.execute("DROP VIEW sys.of_a_user")
    assert getattr(failure, "reason", "") == "StatementFormat"


def test_a_trigger_made_meanwhile_is_known(logged: Logged) -> None:
    with logged.streaming() as stream:
        logged.logged("INSERT INTO plain VALUES (1, 'x')", schema=logged.other)
        stream.caught_up()
        logged.execute(
            f"CREATE TRIGGER n AFTER INSERT ON plain FOR EACH ROW INSERT INTO `{logged.schema}`.t (id) VALUES (NEW.id)",
            schema=logged.other,
        )
        logged.logged("INSERT INTO plain VALUES (2, 'x')", schema=logged.other, form=STATEMENT)
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "StatementFormat"


def test_what_was_dropped_before_anybody_looked_ends_the_stream(logged: Logged) -> None:
    """The stream reads the statement after the view is gone: what it wrote cannot be known."""
    with Session(logged.server.endpoint(), Purpose.CONTROL) as session:
        before = position_now(session)
    logged.logged("INSERT INTO seen VALUES (9, 'x')", schema=logged.other, form=STATEMENT)
    logged.execute("DROP VIEW seen", "CREATE TABLE seen (id INT)", schema=logged.other)
    with logged.streaming(before) as stream:
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "StatementFormat"
    assert "INSERT INTO seen" in str(failure)
    assert [until() for until in logged.held] == [False], "a resume reads the statement again"


def test_nothing_is_proven_of_a_myisam_table(logged: Logged) -> None:
    logged.execute("ALTER TABLE t ENGINE=MyISAM")
    with logged.streaming() as stream:
        logged.logged("INSERT INTO beside VALUES (1)", form=STATEMENT)
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "StatementFormat"


def test_an_account_that_may_not_see_everything_proves_nothing(mariadb_pair: Pair, schema: str) -> None:
    server = mariadb_pair.source
    server.execute("CREATE USER half_blind@'%'", f"GRANT {', '.join(SHOWING_DEFINITIONS[:2])} ON *.* TO half_blind@'%'")
    logged = Logged(mariadb_pair, schema, "half_blind")
    try:
        with logged.streaming() as stream:
            logged.logged("INSERT INTO plain VALUES (1, 'x')", schema=logged.other)
            failure = stream.failed()
    finally:
        server.execute("DROP USER half_blind@'%'")
        server.drop_schemas(logged.other)
    assert getattr(failure, "reason", "") == "StatementFormat"
