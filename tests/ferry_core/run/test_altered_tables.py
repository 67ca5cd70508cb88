"""DDL on a selected table while it is streamed: the run continues if nothing relevant is known to have changed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pymysql
import pytest

from ferry_core.api.selection import Tables
from ferry_core.binlog.ending import end_of_binlog
from ferry_core.consistency.visibility import visibility_of
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.definitions import AlteredTables
from ferry_core.tables.discovery import discover
from tests.support.servers import Pair
from tests.support.stream import Streaming

TABLE = (
    "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(40) DEFAULT 'a, b', u INT, g INT AS (u + 1) STORED, "
    "UNIQUE KEY by_u (u), KEY by_v (v))"
)


class Watched:
    """One table, its selection and the streams that follow it."""

    def __init__(self, pair: Pair, schema: str) -> None:
        self.pair, self.schema = pair, schema
        self.execute(TABLE)
        self.selection = Tables(include=[f"{schema}.t"])
        with self.session() as session:
            self.tables = discover(session, self.selection)
            self.visibility = visibility_of(session)

    def session(self) -> Session:
        return Session(self.pair.source.endpoint(), Purpose.CONTROL)

    def execute(self, *statements: str) -> None:
        self.pair.source.execute(f"USE `{self.schema}`", *statements)

    @contextmanager
    def streaming(self, start: Position | None = None) -> Iterator[Streaming]:
        with self.session() as session:
            altered = AlteredTables(self.session, self.selection, self.visibility, end_of_binlog(session))
        with Streaming(self.pair.source, self.tables, start=start, altered=altered.compare) as stream:
            yield stream

    def refused(self, *statements: str, since: Position | None = None) -> str:
        with self.streaming(since) as stream:
            self.execute(*statements)
            failure = stream.failed()
        assert getattr(failure, "reason", "") == "SchemaChanged", failure
        return str(failure)

    def position(self) -> Position:
        with self.session() as session:
            return source_position(session)


@pytest.fixture
def watched(pair: Pair, schema: str) -> Watched:
    return Watched(pair, schema)


HARMLESS = [
    "ALTER TABLE t ENGINE=InnoDB",
    "ALTER TABLE t FORCE, COMMENT 'a remark'",
    "ALTER TABLE t ADD INDEX i (v, u)",
    "CREATE INDEX j ON t (u)",
    "DROP INDEX i ON t",
    "ALTER TABLE t DROP INDEX by_v, ADD INDEX by_v (v, id)",
    "ALTER TABLE t RENAME INDEX by_v TO by_w",
    "ALTER TABLE t MODIFY v VARCHAR(40) DEFAULT 'a, b' COMMENT 'a remark, too'",
    "ALTER TABLE t CHANGE v v VARCHAR(40) DEFAULT 'a, b'",
    "ALTER TABLE t AUTO_INCREMENT = 50",
    "ALTER TABLE t DEFAULT CHARACTER SET latin1",
    "ALTER TABLE t DEFAULT CHARACTER SET utf8mb4",
    "OPTIMIZE TABLE t",
    "ANALYZE TABLE t",
]


def test_an_alteration_without_relevant_changes_continues(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    """One statement after another, each followed by a row."""
    with watched.streaming() as stream:
        for number, statement in enumerate(HARMLESS):
            watched.execute(statement, f"INSERT INTO t (id) VALUES ({number})")
            stream.caught_up()
    assert [int(key[0]) for key in stream.sink.keys] == list(range(len(HARMLESS)))
    said = [record.message for record in caplog.records if "was altered on the source" in record.message]
    assert len(said) == len(HARMLESS) - 1  # ANALYZE alters nothing
    assert "ADD INDEX i (v, u)" in said[2]


def test_alterations_of_a_partitioned_table_continue(watched: Watched) -> None:
    watched.execute("DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 2")
    with watched.session() as session:
        watched.tables = discover(session, watched.selection)
    with watched.streaming() as stream:
        watched.execute(
            "ALTER TABLE t COALESCE PARTITION 1",
            "ALTER TABLE t PARTITION BY RANGE (id) "
            "(PARTITION p VALUES LESS THAN (5), PARTITION q VALUES LESS THAN (9))",
            "ALTER TABLE t REORGANIZE PARTITION p INTO "
            "(PARTITION p1 VALUES LESS THAN (2), PARTITION p2 VALUES LESS THAN (5))",
            "INSERT INTO t VALUES (1, 1)",
        )
        stream.caught_up()
    assert stream.sink.keys == [("1",)]
    assert "DROP PARTITION p1" in watched.refused("ALTER TABLE t DROP PARTITION p1")


CHANGES: dict[str, list[str]] = {
    "column 5: w": ["ALTER TABLE t ADD w INT"],
    "VARCHAR(50)": ["ALTER TABLE t MODIFY v VARCHAR(50) DEFAULT 'a, b'"],
    "now UNIQUE": ["ALTER TABLE t ADD UNIQUE (v)"],
    "no longer UNIQUE": ["ALTER TABLE t DROP INDEX by_u"],
    "DEFAULT": ["ALTER TABLE t ALTER v SET DEFAULT 'c'"],
    "CHECK": ["ALTER TABLE t ADD CHECK (id > 0)"],
    "back again": [
        "ALTER TABLE t DROP v, DROP INDEX by_v, ADD v VARCHAR(40) DEFAULT 'a, b' AFTER id, COMMENT 'back again'"
    ],
    "RENAME TABLE": ["CREATE TABLE s LIKE t", "RENAME TABLE t TO r, s TO t"],
    "TRUNCATE": ["TRUNCATE t"],
    "MyISAM": ["ALTER TABLE t ENGINE=MyISAM"],
}


@pytest.mark.parametrize("words", CHANGES)
def test_a_relevant_alteration_ends_the_stream(watched: Watched, words: str) -> None:
    assert words in watched.refused(*CHANGES[words])


VECTORS = {
    "in one statement": ["ALTER TABLE t DROP vector, ADD vector INT"],
    "in two": ["ALTER TABLE t DROP COLUMN vector", "ALTER TABLE t ADD vector INT"],
}


@pytest.mark.parametrize("how", VECTORS)
def test_a_column_whose_name_is_a_kind_of_index(watched: Watched, how: str) -> None:
    """VECTOR is not reserved: the column is dropped and created again, and looks the same, but its values are lost."""
    watched.execute("DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY, vector INT)", "INSERT INTO t VALUES (1, 1)")
    with watched.session() as session:
        watched.tables = discover(session, watched.selection)
    start = watched.position()
    watched.execute(*VECTORS[how])
    watched.refused(since=start)


def test_two_alterations_that_cancel_out_before_a_comparison(watched: Watched) -> None:
    """The table's definition is the same, its rows are not: values were cut off, or the column was empty for a
    while.
    """
    start = watched.position()
    watched.execute("ALTER TABLE t MODIFY v VARCHAR(2)", "ALTER TABLE t MODIFY v VARCHAR(40) DEFAULT 'a, b'")
    assert "another statement altered it too" in watched.refused(since=start)


MODIFY = "ALTER TABLE t MODIFY v VARCHAR(40) DEFAULT 'a, b' COMMENT 'a remark'"


def test_one_statement_from_before_the_stream_is_compared(watched: Watched) -> None:
    """As after a stop: the table equals the checkpoint's record, and nothing else altered it in between."""
    start = watched.position()
    watched.execute(MODIFY, "INSERT INTO t (id) VALUES (1)")
    with watched.streaming(start) as stream:
        stream.caught_up()
        watched.execute(MODIFY, "INSERT INTO t (id) VALUES (2)")
        stream.caught_up()
    assert stream.sink.keys == [("1",), ("2",)]


def test_the_checkpoint_stays_before_the_statement_until_the_compared_end_was_read(
    watched: Watched,
) -> None:
    """Otherwise a run that is killed between two statements would take the second for the only one."""
    start = watched.position()
    watched.execute("ALTER TABLE t MODIFY v VARCHAR(2)", "INSERT INTO t (id) VALUES (1)")
    watched.execute("ALTER TABLE t MODIFY v VARCHAR(40) DEFAULT 'a, b'")
    held: list[Callable[[], bool]] = []
    with watched.session() as session:
        altered = AlteredTables(watched.session, watched.selection, watched.visibility, end_of_binlog(session))
    altered.hold = held.append
    with Streaming(watched.pair.source, watched.tables, start=start, altered=altered.compare) as stream:
        failure = stream.failed()
    assert "another statement altered it too" in str(failure)
    assert stream.sink.keys == [("1",)]  # read after the first statement, so there was a moment to store
    assert [until() for until in held] == [False]


def test_the_checkpoint_advances_past_the_statement(watched: Watched) -> None:
    held: list[Callable[[], bool]] = []
    with watched.session() as session:
        altered = AlteredTables(watched.session, watched.selection, watched.visibility, end_of_binlog(session))
    altered.hold = held.append
    with Streaming(watched.pair.source, watched.tables, altered=altered.compare) as stream:
        watched.execute(MODIFY, "INSERT INTO t (id) VALUES (1)")
        stream.caught_up()
        assert [until() for until in held] == [True]


def test_a_table_that_no_checkpoint_describes(watched: Watched) -> None:
    """Its state is from an older version, so its earlier definition is unknown."""
    start = watched.position()
    watched.execute(MODIFY)
    with watched.session() as session:
        altered = AlteredTables(watched.session, watched.selection, watched.visibility, end_of_binlog(session))
    stream = Streaming(watched.pair.source, watched.tables, start=start, altered=altered.compare)
    for move in stream.moves:
        move.started = True
    with stream:
        assert "another statement altered it too" in str(stream.failed())


def test_a_table_dropped_before_it_is_compared(watched: Watched) -> None:
    start = watched.position()
    watched.execute("ALTER TABLE t ADD INDEX i (v)", "DROP TABLE t")
    said = watched.refused(since=start)
    assert "it is gone" in said
    assert "ADD INDEX i (v)" in said


def test_several_harmless_statements_need_no_comparison_in_between(watched: Watched) -> None:
    start = watched.position()
    watched.execute("ALTER TABLE t ADD INDEX i (v)", "ALTER TABLE t FORCE", "CREATE INDEX j ON t (g)")
    watched.execute("INSERT INTO t (id) VALUES (1)")
    with watched.streaming(start) as stream:
        stream.caught_up()
    assert stream.sink.keys == [("1",)]


@pytest.mark.parametrize("rebuild", ["ALTER TABLE t FORCE, ALGORITHM=COPY", "OPTIMIZE TABLE t"])
def test_stored_generated_columns_count_as_unproven_after_a_rebuild(watched: Watched, rebuild: str) -> None:
    """It may recompute them with its own settings (OPTIMIZE: with a FULLTEXT index), without any row event."""
    with watched.session() as session:
        altered = AlteredTables(watched.session, watched.selection, watched.visibility, end_of_binlog(session))
    told: list[str] = []
    altered.recomputed = lambda move: told.append(move.table.source.name)
    with Streaming(watched.pair.source, watched.tables, altered=altered.compare) as stream:
        watched.execute(rebuild)
        stream.caught_up()
    assert told == ["t"]


def test_an_alter_that_mariadb_logs_in_two_phases(mariadb_pair: Pair, schema: str) -> None:
    """Both of its events may be there before the first is read; one that fails is rolled back."""
    watched = Watched(mariadb_pair, schema)
    for statement in ("ALTER TABLE t ADD INDEX i (v)", "ALTER TABLE t MODIFY v VARCHAR(40) DEFAULT 'a, b' COMMENT 'x'"):
        with watched.streaming() as stream:
            watched.execute("SET SESSION binlog_alter_two_phase = ON", statement, "INSERT INTO t (id) VALUES (1)")
            stream.caught_up()
            watched.execute("DELETE FROM t")
    with watched.streaming() as stream:
        watched.execute("INSERT INTO t (id, v) VALUES (1, 'a'), (2, 'a')")
        with pytest.raises(pymysql.IntegrityError):
            watched.execute("SET SESSION binlog_alter_two_phase = ON", "ALTER TABLE t ADD UNIQUE (v)")
        stream.caught_up()
    assert "ADD w" in watched.refused("SET SESSION binlog_alter_two_phase = ON", "ALTER TABLE t ADD w INT")


def test_rows_of_another_shape_than_before(watched: Watched) -> None:
    """Its session keeps the DDL out of the binlog; the rows after it reveal it."""
    with watched.streaming() as stream:
        watched.execute("INSERT INTO t (id) VALUES (1)")
        stream.caught_up()
        watched.execute("SET SESSION sql_log_bin = 0", "ALTER TABLE t MODIFY v VARCHAR(400) DEFAULT 'a, b'")
        watched.execute("INSERT INTO t (id) VALUES (2)")
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "SchemaChanged"
    assert "other columns than before" in str(failure)


UNSELECTED: dict[str, Callable[[str], list[str]]] = {
    "comments": lambda name: [f"# a remark\nCREATE TABLE {name} (id INT)", f"-- another\nDROP TABLE {name}"],
    "versioned": lambda name: [f"/*!40000 CREATE TABLE {name} (id INT) */", f"/*!40000 DROP TABLE {name} */"],
    "procedure": lambda name: [
        f"CREATE PROCEDURE {name}() START TRANSACTION",
        f"DROP PROCEDURE {name}",
        f"CREATE PROCEDURE {name}() BEGIN START TRANSACTION; COMMIT; END",
        f"DROP PROCEDURE {name}",
    ],
    "event": lambda name: [f"CREATE EVENT {name} ON SCHEDULE EVERY 1 YEAR DO START TRANSACTION", f"DROP EVENT {name}"],
    "function": lambda name: [f"CREATE FUNCTION {name}() RETURNS INT DETERMINISTIC RETURN 1", f"DROP FUNCTION {name}"],
    "made from rows": lambda name: [f"# so\nCREATE TABLE {name} AS SELECT 1 AS id", f"DROP TABLE {name}"],
    "accounts": lambda name: [
        f"CREATE USER `{name[:20]}`@localhost",
        f"GRANT SELECT ON t TO `{name[:20]}`@localhost",
        f"DROP USER `{name[:20]}`@localhost",
    ],
    "database": lambda name: [
        f"CREATE DATABASE {name}",
        f"ALTER DATABASE {name} COLLATE latin1_swedish_ci",
        f"DROP DATABASE {name}",
        "ALTER DATABASE COLLATE utf8mb4_bin",
    ],
    "savepoints": lambda _: [
        "BEGIN",
        "SAVEPOINT a",
        "RELEASE SAVEPOINT a",
        "SAVEPOINT b",
        "ROLLBACK TO b",
        "COMMIT",
    ],
    "temporary": lambda name: [f"CREATE TEMPORARY TABLE {name} (id INT)", f"DROP TEMPORARY TABLE {name}"],
    "flush": lambda _: ["FLUSH TABLES", "FLUSH PRIVILEGES"],
}


def test_statements_about_other_objects_continue(watched: Watched) -> None:
    for number, (what, statements) in enumerate(UNSELECTED.items()):
        with watched.streaming() as stream:
            watched.execute(*statements(f"x_{watched.schema}"[:60]), f"INSERT INTO t (id) VALUES ({number})")
            stream.caught_up()
        assert stream.sink.keys == [(str(number),)], what


def test_logged_statements_that_reach_no_selected_schema(mysql_pair: Pair, schema: str) -> None:
    """MySQL's event names the schemas of all tables that were opened, also through views, triggers and functions.

    MariaDB's does not: there any such statement ends the run (tests/e2e/test_logged_statements.py).
    """
    watched, other = Watched(mysql_pair, schema), f"{schema}_other"
    watched.execute(
        f"CREATE DATABASE `{other}`",
        f"CREATE TABLE `{other}`.plain (id INT PRIMARY KEY)",
        f"CREATE TABLE `{other}`.fires (id INT PRIMARY KEY)",
        f"CREATE TRIGGER `{other}`.f AFTER INSERT ON `{other}`.fires FOR EACH ROW "
        f"INSERT INTO `{schema}`.t (id) VALUES (7)",
    )
    with watched.streaming() as stream:
        watched.execute("SET SESSION binlog_format = 'STATEMENT'", f"INSERT INTO `{other}`.plain VALUES (1), (2)")
        watched.execute("INSERT INTO t (id) VALUES (1)")
        stream.caught_up()
        assert stream.sink.keys == [("1",)]
        watched.execute("SET SESSION binlog_format = 'STATEMENT'", f"INSERT INTO `{other}`.fires VALUES (1)")
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "StatementFormat"


WRITING = [
    "CREATE TABLE made AS SELECT written(900)",
    "CREATE TEMPORARY TABLE made AS SELECT written(900)",
    "CREATE OR REPLACE TABLE made AS SELECT written(900)",
    "ANALYZE UPDATE t SET v = 'x'",
    "ANALYZE FORMAT=JSON DELETE FROM t",
]


@pytest.mark.parametrize("statement", WRITING)
def test_logged_statements_that_write_although_they_look_harmless(
    mariadb_pair: Pair, schema: str, statement: str
) -> None:
    """MySQL has no ANALYZE UPDATE, and does not let a function write while a table is created (error 1746)."""
    watched = Watched(mariadb_pair, schema)
    watched.execute(
        "CREATE FUNCTION written(a INT) RETURNS INT DETERMINISTIC MODIFIES SQL DATA "
        "BEGIN INSERT INTO t (id) VALUES (a); RETURN a; END",
        "INSERT INTO t (id) VALUES (1)",
    )
    with watched.streaming() as stream:
        watched.execute("SET SESSION binlog_format = 'STATEMENT'", statement)
        failure = stream.failed()
    assert getattr(failure, "reason", "") == "StatementFormat"
    assert statement.replace("900", "?").replace("'x'", "?") in str(failure), "values are not shown"
