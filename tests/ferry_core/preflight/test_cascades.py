"""Foreign keys of the selected tables that cascade."""

from dataclasses import replace
from typing import NamedTuple

import pytest

from ferry_core.preflight import Status, run_checks
from ferry_core.schema.unfollowed import unfollowed
from ferry_core.tables import whole
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair, set_global


class Cascading(NamedTuple):
    """What preflight says about them: what is refused, and which tables are copied whole, and why."""

    refused: dict[str, str]
    whole: str


def found_of_cascades(pair: Pair, schema: str, **selection: object) -> Cascading:
    """On a server that does not log rows that cascades change, as MySQL's usually does."""
    tables = {"include": [f"{schema}.*"], **selection}
    with opened(pair.source, pair.target, schema, tables=tables) as context:
        context.source_facts.variables["innodb_native_foreign_keys"] = "ON"
        whole = unfollowed(context.tables, full_images=context.source_facts.variable("binlog_row_image") == "FULL")
        context.tables = [replace(table, copied_whole=table in whole) for table in context.tables]
        results = run_checks(context)
        said = [one.message for one in results if one.name == "foreign keys: tables copied whole"]
        return Cascading(told(results), "".join(said))


@pytest.mark.parametrize("action", ["ON DELETE CASCADE", "ON UPDATE CASCADE", "ON DELETE SET NULL"])
def test_foreign_keys_that_cascade(pair: Pair, schema: str, action: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.parent (id INT PRIMARY KEY)",
        f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY, p INT, "
        f"CONSTRAINT reason_why FOREIGN KEY (p) REFERENCES parent (id) {action})",
    )
    found = found_of_cascades(pair, schema)
    assert not found.refused
    assert schema not in found.whole
    parent, child = [f"{schema}.parent"], [f"{schema}.child"]
    assert not found_of_cascades(pair, schema, include=parent).refused, "rows of the parent stay as they are"
    alone = found_of_cascades(pair, schema, include=child).refused["ForeignKeyCascades"]
    assert f"{schema}.child has the foreign keys reason_why to {schema}.parent" in alone
    assert f"only events of {schema}.parent show" in alone


def test_columns_of_a_cascade_have_their_collation_on_the_target(pair: Pair, schema: str) -> None:
    """By another one the target finds other rows of the child than the source has changed."""
    text = "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
    child = f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY, `Of` {text}, KEY (`Of`)"
    pair.source.execute(
        f"CREATE TABLE `{schema}`.parent (id {text} PRIMARY KEY)",
        f"{child}, FOREIGN KEY (`Of`) REFERENCES parent (id) ON DELETE CASCADE)",
    )
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"{child})".replace("_general_ci", "_bin"))
    said = found_of_cascades(pair, schema).refused["TargetTableDiffers"]
    assert f"{schema}.child differs" in said
    assert "the column of of a cascading foreign key has the collation utf8mb4_bin and not utf8mb4_general_ci" in said


UNFOLLOWED = {
    "SET NULL in a UNIQUE index": (
        (
            "CREATE TABLE child (id INT PRIMARY KEY, x INT, p INT, UNIQUE (x, p), "
            "CONSTRAINT why FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)"
        ),
        "a column of a UNIQUE index",
    ),
    "SET NULL in a UNIQUE index over generated columns": (
        (
            "CREATE TABLE child (id INT PRIMARY KEY, p INT, `AS` INT, g INT AS (p + 1) VIRTUAL, h INT AS (-g) VIRTUAL, "
            "UNIQUE (h), CONSTRAINT why FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)"
        ),
        "a column of a UNIQUE index",
    ),
    "a circle through a table with another UNIQUE index": (
        (
            "CREATE TABLE child (id INT PRIMARY KEY, x INT UNIQUE, c INT, "
            "CONSTRAINT why FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE)"
        ),
        "has a UNIQUE index besides its key, in a circle",
    ),
    "another column of a middle table": (
        (
            "CREATE TABLE middle (id INT PRIMARY KEY, x INT UNIQUE, p INT, "
            "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)"
        ),
        (
            "CREATE TABLE child (id INT PRIMARY KEY, m INT, "
            "CONSTRAINT why FOREIGN KEY (m) REFERENCES middle (x) ON DELETE CASCADE)"
        ),
        "columns outside of the key",
    ),
    "a value that MySQL does not find": (
        "CREATE TABLE above (id INT PRIMARY KEY, f FLOAT(10,2), UNIQUE (f))",
        (
            "CREATE TABLE child (id INT PRIMARY KEY, f FLOAT(10,2), "
            "CONSTRAINT why FOREIGN KEY (f) REFERENCES above (f) ON DELETE CASCADE)"
        ),
        "MySQL finds no row by the largest value",
    ),
}


@pytest.mark.parametrize("kind", UNFOLLOWED)
def test_cascades_whose_rows_cannot_be_found(pair: Pair, schema: str, kind: str) -> None:
    *tables, why = UNFOLLOWED[kind]
    pair.source.execute(f"USE `{schema}`", "CREATE TABLE parent (id INT PRIMARY KEY)", *tables)
    found = found_of_cascades(pair, schema)
    assert not found.refused
    assert f"copied whole because cascades cannot be followed row by row: 1 table, {schema}.child (" in found.whole
    assert why in found.whole


def test_tables_that_cascades_have_copied_whole_and_that_take_long(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        UNFOLLOWED["SET NULL in a UNIQUE index"][0],
        *["INSERT INTO child (id) VALUES (1), (2), (3)", "ANALYZE TABLE child"],
    )
    monkeypatch.setattr(whole, "ROWS_PER_SECOND", 0.01)
    said = found_of_cascades(pair, schema).whole
    assert f"{schema}.child needs about 300 s under the lock (why: it sets a column of a UNIQUE index to NULL)" in said


def test_cascades_from_system_versioned_tables(mariadb_pair: Pair, schema: str) -> None:
    """Their deletions are logged as updates: with earlier rows that end, and the same referenced values."""
    mariadb_pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, "
        "e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, "
        "CONSTRAINT why FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
    )
    assert f"why: {schema}.parent is system-versioned" in found_of_cascades(mariadb_pair, schema).whole


def test_cascades_that_do_not_continue(pair: Pair, schema: str) -> None:
    """SET NULL deletes no row of the middle table, and changes no value that the last one references.

    Through a middle table with a UNIQUE index, rows without a parent are looked up.
    """
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE middle (id INT PRIMARY KEY, x INT UNIQUE, p INT, "
        "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)",
        "CREATE TABLE child (id INT PRIMARY KEY, u INT UNIQUE, m INT, "
        "FOREIGN KEY (m) REFERENCES middle (id) ON DELETE CASCADE)",
        "CREATE TABLE last (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE)",
    )
    assert schema not in found_of_cascades(pair, schema).whole


def test_cascades_and_unique_indexes_that_they_do_not_change(pair: Pair, schema: str) -> None:
    """SET NULL changes neither the column that is generated from another one, nor that which the index contains."""
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, x INT, g INT AS (x) VIRTUAL, UNIQUE (g), "
        "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)",
    )
    assert schema not in found_of_cascades(pair, schema).whole


def test_cascades_that_need_full_images(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY, code INT UNIQUE)",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, q INT, "
        "CONSTRAINT by_key FOREIGN KEY (q) REFERENCES parent (id) ON DELETE CASCADE, "
        "CONSTRAINT by_code FOREIGN KEY (p) REFERENCES parent (code) ON DELETE CASCADE)",
    )
    assert schema not in found_of_cascades(pair, schema).whole
    with set_global(pair.source, "binlog_row_image = MINIMAL"):
        found = found_of_cascades(pair, schema).whole
    assert f"by_code: it references columns outside of the key of {schema}.parent, and binlog_row_image" in found
    assert "by_key" not in found


def test_cascades_and_row_filters(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY, tenant INT)",
        "CREATE TABLE child (id INT PRIMARY KEY, tenant INT, P INT, q INT, "
        "CONSTRAINT why FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL, "
        "CONSTRAINT gone FOREIGN KEY (q) REFERENCES parent (id) ON DELETE CASCADE)",
        "CREATE TABLE leaf (id INT PRIMARY KEY, c INT, "
        "CONSTRAINT chain FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE)",
    )

    def found(where: str) -> str:
        rules = [{"match": f"{schema}.child", "where": where}]
        return found_of_cascades(pair, schema, exclude=excluded, rules=rules).whole

    excluded = [f"{schema}.leaf"]
    assert schema not in found("tenant = 4")
    assert "names a column that it sets to NULL" in found("tenant = 4 AND `p` IS NULL")
    excluded = []
    assert f"through {schema}.child, which has a row filter" in found("tenant = 4")


def test_one_finding_for_each_table(mariadb_pair: Pair, schema: str) -> None:
    """However many constraints it has; with the tables to leave out, those that reference it included."""
    pair = mariadb_pair
    keys = ", ".join(
        f"CONSTRAINT k{at} FOREIGN KEY (p{at}) REFERENCES parent (id) ON DELETE SET NULL" for at in range(4)
    )
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        f"CREATE TABLE child (id INT PRIMARY KEY, p0 INT, p1 INT, p2 INT, p3 INT, UNIQUE (p0, p1, p2, p3), {keys})",
        "CREATE TABLE leaf (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES child (id))",
    )
    tables = {"include": [f"{schema}.child", f"{schema}.leaf"]}
    (found,) = (
        one for one in check(pair.source, pair.target, schema, tables=tables) if one.reason == "ForeignKeyCascades"
    )
    assert all(f"k{at} to {schema}.parent" in found.message for at in range(4))
    assert [table.name for table in found.tables] == ["child", "leaf"]


def test_foreign_keys_that_do_not(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.parent (id INT PRIMARY KEY)",
        f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY, p INT, "
        "CONSTRAINT outside FOREIGN KEY (p) REFERENCES parent (id) ON DELETE RESTRICT ON UPDATE NO ACTION)",
    )
    assert not told(check(pair.source, pair.target, schema))
    only_child = {"include": [f"{schema}.child"]}
    found = told(check(pair.source, pair.target, schema, tables=only_child))
    assert f"include {schema}.parent" in found["ForeignKeyOutsideSelection"]
    without = check(pair.source, pair.target, schema, tables=only_child, schema={"foreignKeys": "Selected"})
    assert not told(without)
    left_out = f"{schema}.child is created without the foreign keys outside to {schema}.parent: not selected"
    assert left_out in told(without, Status.PASSED)["Passed"]
    pair.target.execute(f"CREATE DATABASE `{schema}`", f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY, p INT)")
    assert not told(check(pair.source, pair.target, schema, tables=only_child))


def test_a_foreign_key_to_a_table_that_does_not_exist(pair: Pair, schema: str) -> None:
    """As a partial dump leaves it."""
    pair.source.execute(
        f"USE `{schema}`",
        "SET SESSION foreign_key_checks = 0",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id))",
    )
    found = told(check(pair.source, pair.target, schema))
    assert f"drop those to {schema}.parent, which the source does not have" in found["ForeignKeyOutsideSelection"]
    assert not told(check(pair.source, pair.target, schema, schema={"foreignKeys": "Selected"}))


def test_logged_cascades_of_a_parent_that_is_not_selected(mysql_pair: Pair, schema: str) -> None:
    """The child's events show what they change."""
    mysql_pair.source.execute(
        f"CREATE TABLE `{schema}`.parent (id INT PRIMARY KEY)",
        f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY, p INT, "
        "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
    )
    child = {"include": [f"{schema}.child"]}
    assert list(told(check(mysql_pair.source, mysql_pair.target, schema, tables=child))) == [
        "ForeignKeyOutsideSelection"
    ]
