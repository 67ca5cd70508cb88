"""Rows inserted under other settings than today's: days that do not exist, CHECKs that were not enforced."""

from pathlib import Path

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.servers import Pair

ANY_DATE = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES'"


def carried(pair: Pair, schema: str, folder: Path, *statements: str) -> None:
    """Checks that everything in ``schema`` arrives, while ``statements`` run on the source."""
    with FerryProcess(folder / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start_streaming()
        pair.source.execute(f"USE `{schema}`", ANY_DATE, *statements)
        assert "no difference" in ferry.cut_over()
    for (name,) in pair.source.query(f"SHOW TABLES IN `{schema}`"):
        assert_equal_tables(pair.source, pair.target, (schema, name))


def test_dates_that_do_not_exist(pair: Pair, schema: str, tmp_path: Path) -> None:
    """As values, as keys (also as bounds of chunks), as defaults and in expressions."""
    days = [f"2024-{month:02}-{day}" for month in range(1, 13) for day in (28, 29, 30, 31)]
    pair.source.execute(
        f"USE `{schema}`",
        ANY_DATE,
        "CREATE TABLE by_day (d DATE PRIMARY KEY, v INT)",
        "CREATE TABLE by_moment (t DATETIME(3), d DATE, filler VARCHAR(2000), PRIMARY KEY (t, d), UNIQUE (d, t))",
        "CREATE TABLE defaults (id INT PRIMARY KEY, d DATE NOT NULL DEFAULT '2024-02-31', "
        "t DATETIME DEFAULT '2023-02-29 10:00:00')",
        "CREATE TABLE compared (id INT PRIMARY KEY, d DATE, late INT AS (d > '2024-02-31') STORED, "
        "CHECK (d <> '2024-04-31'))",
        "INSERT INTO by_day VALUES " + ", ".join(f"('{day}', {at})" for at, day in enumerate(days)),
        "INSERT INTO by_moment VALUES "
        + ", ".join(f"('{day} 10:00:00.{at:03}', '{day}', REPEAT('x', 2000))" for at, day in enumerate(days)),
        "INSERT INTO defaults (id) VALUES (1)",
        "INSERT INTO compared (id, d) VALUES (1, '2024-02-31'), (2, '2024-06-31'), (3, '2024-02-30')",
    )
    carried(
        *(pair, schema, tmp_path),
        "UPDATE by_day SET v = -v WHERE d >= '2024-04-30'",
        "UPDATE by_day SET d = '2023-02-31' WHERE d = '2024-02-31'",
        "DELETE FROM by_day WHERE d = '2024-06-31'",
        "UPDATE by_moment SET d = '2024-11-31' WHERE d = '2024-02-30'",
        "DELETE FROM by_moment WHERE d = '2024-04-31'",
        "INSERT INTO defaults (id) VALUES (2)",
        "UPDATE compared SET d = '2024-09-31' WHERE id = 3",
    )
    assert pair.target.value(f"SELECT CAST(d AS CHAR) FROM `{schema}`.by_day WHERE d < '2024-01-01'") == "2023-02-31"


def test_rows_that_break_a_check(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    """On MySQL no way was found to insert one: neither ADD, ENFORCED nor EXCHANGE PARTITION leaves a row unchecked."""
    unchecked = "SET SESSION check_constraint_checks = 0"
    mariadb_pair.source.execute(
        f"USE `{schema}`",
        unchecked,
        "CREATE TABLE checked (id INT PRIMARY KEY, v INT CHECK (v > 0), doc JSON, CONSTRAINT `both` CHECK (v < id))",
        "INSERT INTO checked VALUES (1, -1, '{}'), (2, 5, '{half'), (3, 1, '[]')",
    )
    carried(
        *(mariadb_pair, schema, tmp_path),
        unchecked,
        "INSERT INTO checked VALUES (4, -4, 'nothing')",
        "UPDATE checked SET v = 0 WHERE id = 3",
    )
    assert mariadb_pair.family is Family.MARIADB
