"""Tables on the source: engines, history, and several problems at once."""

from ferry_core.mysql.flavor import Flavor
from ferry_core.preflight import Status
from ferry_core.tables.table import TableName
from tests.support.preflight import check, told
from tests.support.servers import Pair


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


def test_a_merge_table_that_is_not_selected_writes_to_tables_that_are(pair: Pair, schema: str) -> None:
    """Its changes are logged as its own rows."""
    name = "odd `) UNION=(`"
    quoted = name.replace("`", "``")
    pair.source.execute(
        f"CREATE TABLE `{schema}`.`{quoted}` (id INT PRIMARY KEY) ENGINE=MyISAM",
        f"CREATE TABLE `{schema}`.plain (id INT PRIMARY KEY) ENGINE=MyISAM",
        f"CREATE DATABASE `{schema}_m`",
        f"CREATE TABLE `{schema}_m`.m (id INT PRIMARY KEY) ENGINE=MERGE UNION=(`{schema}`.`{quoted}`)",
    )
    try:
        refused = told(check(pair.source, pair.target, schema))["UnsupportedTable"]
        assert f"MERGE table {schema}_m.m writes to {TableName(schema, name)}," in refused
        pair.source.execute(
            f"DROP TABLE `{schema}_m`.m",
            f"CREATE TABLE `{schema}_m`.broken (id INT PRIMARY KEY) ENGINE=MERGE UNION=(`{schema}_m`.gone)",
        )
        refused = told(check(pair.source, pair.target, schema))["UnsupportedTable"]
        assert f"unknown whether the MERGE table {schema}_m.broken writes to" in refused
        pair.source.execute(f"DROP TABLE `{schema}_m`.broken")
        assert not told(check(pair.source, pair.target, schema))
    finally:
        pair.source.execute(f"DROP DATABASE `{schema}_m`")


def test_tables_without_transactions_cannot_be_locked_for_a_cutover(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.plain (id INT PRIMARY KEY)",
        f"CREATE TABLE `{schema}`.old (id INT PRIMARY KEY) ENGINE=MyISAM",
    )
    found = told(check(pair.source, pair.target, schema, cutover={"sourceLock": "LockTables"}))
    assert list(found) == ["UnsupportedTable"]
    assert f": {schema}.old have no transactions" in found["UnsupportedTable"]
    pair.source.execute(f"ALTER TABLE `{schema}`.old ENGINE=InnoDB")
    assert not told(check(pair.source, pair.target, schema, cutover={"sourceLock": "LockTables"}))


def test_tables_of_which_rows_stay_cannot_be_locked_for_a_cutover(pair: Pair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.part (id INT PRIMARY KEY, tenant INT)", f"CREATE TABLE `{schema}`.all_of (id INT)"
    )
    some = {"include": [f"{schema}.*"], "rules": [{"match": f"{schema}.part", "where": "tenant = 42"}]}
    found = told(check(pair.source, pair.target, schema, tables=some, cutover={"sourceLock": "LockTables"}))
    assert list(found) == ["UnsupportedTable"]
    assert f"only some rows of {schema}.part move" in found["UnsupportedTable"]
    assert not told(check(pair.source, pair.target, schema, tables=some, cutover={"sourceLock": "None"}))


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
