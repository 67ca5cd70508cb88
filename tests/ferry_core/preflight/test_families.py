"""Between MySQL and MariaDB each table moves whole or is refused by name."""

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.preflight import Status, run_checks
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair, Server

Ends = tuple[Server, Server]


@pytest.fixture(params=["mysql", "mariadb"])
def ends(request: pytest.FixtureRequest, mysql_pair: Pair, mariadb_pair: Pair) -> Ends:
    """Source and target; the parameter is the source's family."""
    pairs = (mysql_pair, mariadb_pair) if request.param == "mysql" else (mariadb_pair, mysql_pair)
    return pairs[0].source, pairs[1].target


PLAIN = (
    "id INT PRIMARY KEY, w VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci UNIQUE, d DOUBLE, j JSON, "
    "CHECK (w <> 'It''s')"
)


def test_a_table_that_both_can_hold(ends: Ends, schema: str) -> None:
    source, target = ends
    source.execute(f"CREATE TABLE `{schema}`.t ({PLAIN})")
    results = check(source, target, schema)
    assert not told(results)
    assert not any("GRANT" in one.message or one.statement for one in results if one.name == "grants left behind")
    assert [one.status for one in results if one.name == "definitions tried"] == [Status.PASSED]


def test_what_has_no_counterpart_is_named(ends: Ends, schema: str) -> None:
    source, target = ends
    own = {"MySQL": "w VARCHAR(20) COLLATE utf8mb4_0900_ai_ci", "MariaDB": "w UUID"}[source.flavor.value]
    other = {"MySQL": "v VECTOR(3)", "MariaDB": "v INT DEFAULT (NEXT VALUE FOR q)"}[source.flavor.value]
    sequence = ["CREATE SEQUENCE q"] if source.flavor.value == "MariaDB" else []
    source.execute(
        f"USE `{schema}`",
        *sequence,
        f"CREATE TABLE one ({own} PRIMARY KEY)",
        f"CREATE TABLE two (id INT PRIMARY KEY, {other})",
    )
    failed = [one for one in check(source, target, schema) if one.status is Status.FAILED]
    assert {one.reason.value for one in failed} == {"FamiliesDiffer"}
    text = "\n".join(one.message for one in failed)
    assert f"{schema}.one cannot be moved" in text
    assert "the column w is" in text
    assert f"{schema}.two cannot be moved" in text
    assert "the column v" in text


def test_defaults_that_only_mariadb_takes_bare(mysql_pair: Pair, mariadb_pair: Pair, schema: str) -> None:
    mariadb_pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, a INT DEFAULT id, b DATETIME(6) DEFAULT current_timestamp(), "
        "c TIMESTAMP(2) NOT NULL DEFAULT current_timestamp(4) ON UPDATE current_timestamp(6), "
        "d VARCHAR(40) DEFAULT (CONCAT(a, '-', id)))"
    )
    results = check(mariadb_pair.source, mysql_pair.target, schema)
    assert not told(results)
    assert [one.status for one in results if one.name == "definitions tried"] == [Status.PASSED]


NARROWER = {
    "a shorter text": ("s VARCHAR(20)", "s VARCHAR(19)"),
    "an unsigned number": ("s INT", "s INT UNSIGNED"),
    "a smaller number": ("s BIGINT", "s INT"),
    "fewer digits": ("s DECIMAL(9, 3)", "s DECIMAL(9, 2)"),
    "fewer digits of a second": ("s DATETIME(6)", "s DATETIME(3)"),
    "no NULL": ("s INT NULL", "s INT NOT NULL"),
    "a member less": ("s ENUM('a', 'b')", "s ENUM('a')"),
    "a narrower character set": ("s VARCHAR(9) CHARACTER SET utf8mb4", "s VARCHAR(9) CHARACTER SET latin1"),
}


def test_tables_made_by_hand_that_cannot_hold_the_values(ends: Ends, schema: str) -> None:
    source, target = ends
    tables = {f"t{at}": kinds for at, kinds in enumerate(NARROWER.values())}
    target.execute(f"CREATE DATABASE `{schema}`")
    for name, (here, there) in tables.items():
        source.execute(f"CREATE TABLE `{schema}`.{name} (id INT PRIMARY KEY, {here})")
        target.execute(f"CREATE TABLE `{schema}`.{name} (id INT PRIMARY KEY, {there})")
    try:
        failed = [one for one in check(source, target, schema) if one.status is Status.FAILED]
    finally:
        target.drop_schemas(schema)
    told_of = [name for name in tables if any(f"{schema}.{name} differs" in one.message for one in failed)]
    assert told_of == list(tables)
    assert {one.reason.value for one in failed} == {"TargetTableDiffers"}
    assert all("the column s " in one.message for one in failed)


def test_a_table_made_by_hand(ends: Ends, schema: str) -> None:
    """Taken if it holds the values: other DEFAULTs and collations outside of keys do not matter."""
    source, target = ends
    there = "LONGTEXT CHARACTER SET utf8mb4"
    source.execute(f"CREATE TABLE `{schema}`.good ({PLAIN})", f"CREATE TABLE `{schema}`.bad ({PLAIN})")
    target.execute(
        f"CREATE DATABASE `{schema}`",
        f"CREATE TABLE `{schema}`.good ({PLAIN.replace('JSON', there)})",
        f"CREATE TABLE `{schema}`.bad ({PLAIN.replace('_unicode_520_ci', '_general_ci').replace('JSON', there)})",
    )
    try:
        found = told(check(source, target, schema))
    finally:
        target.drop_schemas(schema)
    assert found.keys() == {"TargetTableDiffers"}
    assert f"{schema}.bad differs" in found["TargetTableDiffers"]
    assert "the unique column w has the collation utf8mb4_general_ci" in found["TargetTableDiffers"]


def test_a_column_of_a_cascade_made_by_hand(ends: Ends, schema: str) -> None:
    """The target finds the rows that a cascade has changed by its own collation."""
    source, target = ends
    text = "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    child = f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY, o {text}, KEY (o)"
    source.execute(
        f"CREATE TABLE `{schema}`.parent (id {text} PRIMARY KEY)",
        f"{child}, FOREIGN KEY (o) REFERENCES parent (id) ON DELETE CASCADE)",
    )
    target.execute(f"CREATE DATABASE `{schema}`", f"{child})".replace("_general_ci", "_bin"))
    try:
        with opened(source, target, schema) as context:
            context.source_facts.variables["innodb_native_foreign_keys"] = "ON"
            found = told(run_checks(context))
    finally:
        target.drop_schemas(schema)
    assert "the column o of a cascading foreign key has the collation utf8mb4_bin" in found["TargetTableDiffers"]


def test_a_unique_index_by_bytes_made_by_hand(ends: Ends, schema: str) -> None:
    source, target = ends
    ours, theirs = ("utf8mb4_0900_ai_ci", "utf8mb4_nopad_bin")
    if source.flavor is Flavor.MARIADB:
        ours, theirs = ("utf8mb4_uca1400_ai_ci", "utf8mb4_0900_bin")
    table = PLAIN.replace("utf8mb4_unicode_520_ci", ours)
    source.execute(f"CREATE TABLE `{schema}`.t ({table})")
    assert "create the table on the target yourself" in told(check(source, target, schema))["FamiliesDiffer"]
    target.execute(
        f"CREATE DATABASE `{schema}`",
        f"CREATE TABLE `{schema}`.t ({table.replace(ours, theirs).replace('JSON', 'LONGTEXT CHARACTER SET utf8mb4')})",
    )
    try:
        assert not told(check(source, target, schema))
    finally:
        target.drop_schemas(schema)


def test_views_are_not_translated(ends: Ends, schema: str) -> None:
    source, target = ends
    source.execute(f"CREATE TABLE `{schema}`.t ({PLAIN})", f"CREATE VIEW `{schema}`.v AS SELECT 1 AS one")
    found = told(check(source, target, schema, schema={"objects": {"views": "Create"}}))
    assert "view are not translated" in found["FamiliesDiffer"]
