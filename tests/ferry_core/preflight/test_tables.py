"""Tables on the source: engines, history, foreign keys, row filters."""

from dataclasses import replace
from typing import NamedTuple

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.preflight import Status, run_checks
from ferry_core.schema.unfollowed import unfollowed
from ferry_core.tables import whole
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair, set_global


def test_engines(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.MyISAM (id INT PRIMARY KEY) ENGINE=MyISAM",
        f"CREATE TABLE `{schema}`.merged (id INT PRIMARY KEY) ENGINE=MERGE UNION=(`{schema}`.MyISAM)",
        f"CREATE TABLE `{schema}`.MEMORY (id INT, PRIMARY KEY (id) USING BTREE) ENGINE=MEMORY",
        f"CREATE TABLE `{schema}`.hashed (id INT PRIMARY KEY) ENGINE=MEMORY",
        f"CREATE TABLE `{schema}`.parts (id INT PRIMARY KEY) PARTITION BY HASH(id) PARTITIONS 4",
    )
    found = told(check(pair.source, pair.target, schema))
    assert list(found) == ["UnsupportedTable"]
    assert f"{schema}.merged use the engine mrg_myisam" in found["UnsupportedTable"].lower()
    assert f"{schema}.MEMORY, {schema}.hashed use the engine MEMORY" in found["UnsupportedTable"]
    assert "parts" not in found["UnsupportedTable"]
    assert f"{schema}.MyISAM use" not in found["UnsupportedTable"]


def test_a_definition_that_only_myisam_accepts(pair: Pair, schema: str) -> None:
    """InnoDB does not count per value of another column: the target itself refuses it, and the message names a way."""
    table = f"`{schema}`.t (kind INT, no INT AUTO_INCREMENT, PRIMARY KEY (kind, no), FULLTEXT KEY (w), w TEXT)"
    pair.source.execute(
        f"CREATE TABLE {table} ENGINE=MyISAM ROW_FORMAT=FIXED DELAY_KEY_WRITE=1 COMMENT='ENGINE=MyISAM'"
    )
    assert not told(check(pair.source, pair.target, schema))
    found = told(check(pair.source, pair.target, schema, schema={"engine": "InnoDB"}))
    assert list(found) == ["DefinitionRefused"]
    assert "schema.engine: Keep" in found["DefinitionRefused"]
    pair.source.execute(f"ALTER TABLE `{schema}`.t MODIFY no INT")
    assert not told(check(pair.source, pair.target, schema, schema={"engine": "InnoDB"}))


def test_system_versioned_tables(mariadb_pair: Pair, schema: str) -> None:
    mariadb_pair.source.execute(
        f"CREATE TABLE `{schema}`.h (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
        f"CREATE TABLE `{schema}`.plain (id INT PRIMARY KEY)",
    )
    found = told(check(mariadb_pair.source, mariadb_pair.target, schema))
    assert f"{schema}.h are system-versioned" in found["SystemVersionedHistory"]
    assert "acknowledge: [SystemVersionedHistory]" in found["SystemVersionedHistory"]
    known = check(mariadb_pair.source, mariadb_pair.target, schema, acknowledge=["SystemVersionedHistory"])
    assert not told(known)
    assert "SystemVersionedHistory" in told(known, Status.ACKNOWLEDGED)


def test_periods_without_overlaps(mariadb_pair: Pair, schema: str) -> None:
    mariadb_pair.source.execute(
        f"CREATE TABLE `{schema}`.booked (room INT, a DATE, b DATE, PERIOD FOR p (a, b), "
        "PRIMARY KEY (room, p WITHOUT OVERLAPS))",
        f"CREATE TABLE `{schema}`.plain (id INT PRIMARY KEY, v INT COMMENT 'WITHOUT OVERLAPS')",
    )
    found = told(check(mariadb_pair.source, mariadb_pair.target, schema))
    assert f"{schema}.booked have an index WITHOUT OVERLAPS" in found["UnsupportedTable"]
    assert "plain" not in found["UnsupportedTable"]


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
}


@pytest.mark.parametrize("kind", UNFOLLOWED)
def test_cascades_whose_rows_cannot_be_found(pair: Pair, schema: str, kind: str) -> None:
    *tables, why = UNFOLLOWED[kind]
    pair.source.execute(f"USE `{schema}`", "CREATE TABLE parent (id INT PRIMARY KEY)", *tables)
    found = found_of_cascades(pair, schema)
    assert not found.refused
    assert f"1 tables whose cascades cannot be followed row by row are copied whole: {schema}.child (" in found.whole
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


FILTERED = (
    "CREATE TABLE `{}`.t (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(20) CHARACTER SET latin1, "
    "kind ENUM('a','b'), "
    "nihongo VARCHAR(9) CHARACTER SET ujis, at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, "
    "f FLOAT, twice INT AS (f * 2) STORED, doc JSON, rand INT, "
    "flags SET('x','y'), raw VARBINARY(9))"
)


def _filtered(pair: Pair, schema: str, where: str) -> dict[str, str]:
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.t", "where": where}]}
    return told(check(pair.source, pair.target, schema, tables=tables))


def test_row_filters(pair: Pair, schema: str) -> None:
    pair.source.execute(FILTERED.format(schema))
    schemas_before = set(pair.target.query("SHOW DATABASES"))
    good = [
        "id % 2 = 0", "id", "name = 'Zoë' OR nihongo LIKE '日本%'", "at >= '2024-01-01' AND kind = 'b'", "twice > 3",
        "JSON_EXTRACT(doc, '$.a') = 1", "`rand` IS NULL", "id IN (1, 2) -- a remark", "raw = X'00' AND flags & 1",
        "(id = 1) OR (id = 2)", "name = ')' AND name <> ';'",
    ]  # fmt: skip
    invalid = [
        "id =",
        "nosuch = 1",
        "id = 1)",
        "(id = 1",
        "id = 1) OR (1",
        "id = 1; DROP TABLE t",
        "name = 'x",
        "/* id",
        "id = 1 /*!99999 ( */ ) OR (1",
        "id = 1 /*M!999999 ( */ ) OR (1",
        "id = 1 /*!50000 OR 1 */",
        "name <> '日本'",  # which latin1 cannot hold
    ]
    impure = [
        "at < NOW()", "at > CURRENT_TIMESTAMP - INTERVAL 1 DAY", "RAND() < 0.5", "id = @x", "id < @@server_id",
        "id IN (SELECT 1)", "EXISTS (SELECT 1)", "UUID() <> ''", "USER() = 'x'", "CONNECTION_ID() = id", "SLEEP(0) = 0",
        "GET_LOCK('preflight', 0)", "at < SYSDATE()", "CURDATE() > at",
    ]  # fmt: skip
    if pair.flavor is Flavor.MYSQL:
        impure += ["RANDOM_BYTES(2) = raw", "PS_CURRENT_THREAD_ID() = id"]
    for where in good:
        assert not _filtered(pair, schema, where), where
    for where in invalid:
        assert list(_filtered(pair, schema, where)) == ["RowFilterInvalid"], where
    for where in impure:
        found = _filtered(pair, schema, where)
        print(where, found)
        assert list(found) == ["RowFilterNotPure"], where
        assert "must depend on the row alone" in found["RowFilterNotPure"]
    left = set(pair.target.query("SHOW DATABASES")) - schemas_before
    assert left <= {("mysql_ferry",)}
    assert ("row_filter_check",) not in pair.target.query(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'mysql_ferry'"
    )


def test_a_row_filter_with_a_stored_function(pair: Pair, schema: str) -> None:
    pair.source.execute(
        FILTERED.format(schema), f"CREATE FUNCTION `{schema}`.fine(a INT) RETURNS INT DETERMINISTIC NO SQL RETURN a"
    )
    found = _filtered(pair, schema, f"`{schema}`.fine(id) = 1")
    assert list(found) == ["RowFilterNotPure"]


def test_a_row_filter_is_compiled_even_if_the_tables_have_other_problems(pair: Pair, schema: str) -> None:
    pair.source.execute(FILTERED.format(schema), f"CREATE TABLE `{schema}`.m (id INT PRIMARY KEY) ENGINE=MEMORY")
    assert list(_filtered(pair, schema, "at < NOW()")) == ["UnsupportedTable", "RowFilterNotPure"]
    assert list(_filtered(pair, schema, "at <")) == ["UnsupportedTable", "RowFilterInvalid"]


def test_nothing_is_created_on_a_wrong_target(pair: Pair, schema: str) -> None:
    pair.source.execute(FILTERED.format(schema))
    tables = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.t", "where": "at < NOW()"}]}
    pair.target.execute("DROP DATABASE IF EXISTS mysql_ferry")
    with set_global(pair.target, "read_only = 1"):
        results = check(pair.source, pair.target, schema, tables=tables)
    assert list(told(results)) == ["TargetReadOnly"]
    assert "until writable passes" in told(results, Status.SKIPPED)["NotAsked"]
    assert not pair.target.query("SHOW DATABASES LIKE 'mysql\\_ferry'")


def test_no_finding_hides_another(pair: Pair, schema: str) -> None:
    """A wrong pattern, tables of another engine, and with cascades: all reported in one round."""
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE moved (id INT PRIMARY KEY, up INT UNIQUE, "
        "CONSTRAINT going FOREIGN KEY (up) REFERENCES parent (id) ON DELETE SET NULL)",
        "CREATE TABLE m (a INT) ENGINE=MEMORY",
    )
    tables = {"include": [f"{schema}.m*", f"{schema}.nix"], "exclude": [f"{schema}.typo"]}
    found = told(check(pair.source, pair.target, schema, tables=tables))
    cascades = ["ForeignKeyCascades"] if pair.flavor is Flavor.MARIADB else []  # MySQL's are in the binlog
    assert list(found)[: 2 + len(cascades)] == ["PatternMatchesNothing", "UnsupportedTable", *cascades]
    assert f"include '{schema}.nix', exclude '{schema}.typo'" in found["PatternMatchesNothing"]
    assert f"{schema}.m use the engine MEMORY" in found["UnsupportedTable"]


def test_the_consequences_of_excluding_a_table_are_reported_at_once(mariadb_pair: Pair, schema: str) -> None:
    """Otherwise its children would be ForeignKeyOutsideSelection in the next round, and theirs in the round after."""
    pair = mariadb_pair
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE a (id INT PRIMARY KEY)",
        "CREATE TABLE b (id INT PRIMARY KEY, a INT UNIQUE, FOREIGN KEY (a) REFERENCES a (id) ON DELETE SET NULL)",
        "CREATE TABLE c (id INT PRIMARY KEY, b INT, CONSTRAINT to_b FOREIGN KEY (b) REFERENCES b (id))",
        "CREATE TABLE d (id INT PRIMARY KEY)",
    )
    found = told(check(pair.source, pair.target, schema, tables={"include": [f"{schema}.[bcd]"]}))
    assert f"leave {schema}.b out with tables.exclude together with {schema}.c, which" in found["ForeignKeyCascades"]


def test_tables_without_a_key_pass_and_slow_ones_are_told(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = [f"CREATE TABLE {name} (a INT, b INT)" for name in ("one", "two")]
    pair.source.execute(
        f"USE `{schema}`", *tables, *["INSERT INTO two (a) VALUES (1), (1), (1)"] * 9, "ANALYZE TABLE two"
    )
    passed = told(check(pair.source, pair.target, schema), Status.PASSED)["Passed"]
    assert f"2 tables without a usable key are copied whole: {schema}.one, {schema}.two" in passed
    monkeypatch.setattr(whole, "ROWS_PER_SECOND", 0.1)
    warned = told(check(pair.source, pair.target, schema), Status.WARNING)["NoUsableKey"]
    assert f"{schema}.two needs about 270 s under the lock (ALTER TABLE `{schema}`.`two` ADD COLUMN" in warned
    assert f"{schema}.one" not in warned


def test_tables_whose_writers_wait_for_the_copy_are_named(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE held (a INT, b VARCHAR(200)) ENGINE=MyISAM",
        "INSERT INTO held VALUES (1, REPEAT('x', 200))",
        *["INSERT INTO held SELECT * FROM held"] * 17,
        "ANALYZE TABLE held",
        "CREATE TABLE quick (a INT) ENGINE=MyISAM",
        "CREATE TABLE keyed (a INT PRIMARY KEY) ENGINE=MyISAM",
    )
    warned = told(check(pair.source, pair.target, schema), Status.WARNING)["NoUsableKey"]
    assert f"{schema}.held for about 3 s (add a key: ALTER TABLE `{schema}`.`held` ADD COLUMN" in warned
    assert f"{schema}.quick" not in warned
    assert f"{schema}.keyed" not in warned


@pytest.mark.parametrize(
    ("columns", "key"),
    [
        ("a INT", "ferry_id"),
        ("a INT, u TEXT NOT NULL DEFAULT (UUID()), PRIMARY KEY (u(40))", "ferry_id"),
        ("a INT, `n``o` INT AUTO_INCREMENT, INDEX (`n``o`)", "n`o"),
    ],
    ids=["plain", "with a primary key over a prefix", "with a counter"],
)
def test_the_key_that_is_advised_can_be_added(pair: Pair, schema: str, columns: str, key: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t ({columns})", f"INSERT INTO `{schema}`.t (a) VALUES (1), (1)")
    with opened(pair.source, pair.target, schema) as context:
        assert context.tables[0].whole
        pair.source.execute(whole.add_key(context.tables[0]), f"INSERT INTO `{schema}`.t (a) VALUES (2)")
    assert pair.source.query(f"SELECT a FROM `{schema}`.t ORDER BY a") == [(1,), (1,), (2,)]
    with opened(pair.source, pair.target, schema) as context:
        assert [column.name for column in context.tables[0].key.columns] == [key]


def test_stored_columns_generated_from_timestamps(pair: Pair, schema: str) -> None:
    """The session's time_zone determines the stored value, and the target's sessions use UTC."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, at TIMESTAMP NULL, day DATE AS (DATE(at)) STORED, "
        "hour INT AS (HOUR(at)) VIRTUAL, next INT AS (hour + 1) STORED, indexed INT AS (YEAR(at)) VIRTUAL, "
        "INDEX i (indexed))",
        f"CREATE TABLE `{schema}`.same (id INT PRIMARY KEY, at DATETIME, ts TIMESTAMP NULL, "
        "day DATE AS (DATE(at)) STORED, hour INT AS (HOUR(ts)) VIRTUAL)",
    )
    results = check(pair.source, pair.target, schema)
    assert not told(results)
    said = told(results, Status.WARNING)["GeneratedFromTimestamp"]
    assert f"{schema}.t.day, {schema}.t.indexed, {schema}.t.next store values" in said
    assert f"{schema}.same" not in said
    assert "ALTER TABLE ... FORCE" in said
