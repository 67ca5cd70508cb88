"""Names and definitions of tables: all of them arrive, with new names where the Ferry says so."""

import re
from pathlib import Path
from typing import Any

import pymysql
import pytest

from hack.servers import Family
from tests.support.compare import Compared, assert_equal_tables
from tests.support.ferry_cli import FerryProcess
from tests.support.schemas import quoted
from tests.support.servers import Pair, Server

LONG = "ü" * 32 + "x" * 32  # 64 characters, more bytes than that
ODD_NAMES = ("select", "two words", "back`tick", 'dou"ble', "it's", "perc%ent_", "st*r[1]?", "日本語", LONG, "dot.ted")


def both(pair: Pair, mysql: str, mariadb: str) -> str:
    return mysql if pair.family is Family.MYSQL else mariadb


def next_id(server: Server, schema: str, table: str) -> int:
    """The id of the next row without one."""
    text = server.query(f"SHOW CREATE TABLE {quoted(schema)}.{quoted(table)}")[0][1]
    found = re.search(r" AUTO_INCREMENT=(\d+)", text)
    return int(found[1]) if found else 1


# -- definitions ------------------------------------------------------------------------------------------------------


def defined(pair: Pair) -> dict[str, str]:
    """Tables by name, with the text in the parentheses and the text after them."""
    tables = {
        "comments": "(id INT PRIMARY KEY COMMENT 'it''s a \\\\ key, \"quoted\" `ticked`\\nnext', "
        "v INT COMMENT '日本 🚢') COMMENT='table''s ''own'' \\\\ (comment), ÜNÏ'",
        "checks": "(id INT PRIMARY KEY, v INT CHECK (v > 0), s VARCHAR(20) DEFAULT 'it''s', "
        "CONSTRAINT `na``med` CHECK (s <> 'x,)`' OR v < 9))",
        "defaults": "(id INT PRIMARY KEY, u CHAR(36) DEFAULT (UUID()), d DATE DEFAULT (CURRENT_DATE), "
        "e VARCHAR(50) DEFAULT (CONCAT('a)', 'b,')), t TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3) "
        "ON UPDATE CURRENT_TIMESTAMP(3), b BIT(3) DEFAULT b'101', n DECIMAL(5,2) NOT NULL DEFAULT -1.50)",
        "generated_columns": "(v VARCHAR(40) AS (CONCAT(a, '\\'', b)) VIRTUAL, a INT NOT NULL, "
        "s INT AS (a * 2) STORED, b VARCHAR(10), id INT PRIMARY KEY, UNIQUE (s, id), INDEX (v))",
        "hidden": "(a INT, secret VARCHAR(10) INVISIBLE DEFAULT 'x', id INT PRIMARY KEY)",
        "by_range": "(id INT NOT NULL, y SMALLINT NOT NULL, v VARCHAR(10), PRIMARY KEY (id, y)) PARTITION BY RANGE (y) "
        "(PARTITION old VALUES LESS THAN (2000), PARTITION `ne``w` VALUES LESS THAN MAXVALUE)",
        "by_hash": "(id INT PRIMARY KEY, v INT) PARTITION BY HASH (id) PARTITIONS 3",
        "by_list": "(id INT, c CHAR(2) NOT NULL, PRIMARY KEY (c, id)) PARTITION BY LIST COLUMNS (c) "
        "(PARTITION a VALUES IN ('a', '''c'), PARTITION z VALUES IN ('z'))",
        "indexed": "(id INT PRIMARY KEY, t TEXT, g POINT NOT NULL"
        + both(pair, " SRID 0", "")
        + ", n INT, FULLTEXT INDEX words (t), SPATIAL INDEX (g), INDEX pre (t(7)), INDEX down (n DESC, id))",
        "collated": "(id VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin PRIMARY KEY, v TEXT COLLATE utf8mb4_bin) "
        "DEFAULT CHARSET=latin2 ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=4",
        "only_key": "(id BIGINT UNSIGNED PRIMARY KEY)",
        "nothing": "(id INT PRIMARY KEY, v INT)",
        "numbered": "(id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, v INT) AUTO_INCREMENT=500",
        "numbered_second": "(a INT NOT NULL DEFAULT 1, id SMALLINT NOT NULL AUTO_INCREMENT, v INT, "
        "PRIMARY KEY (a, id), KEY (id))",
    }
    if pair.family is Family.MYSQL:
        tables["functional"] = (
            "(id INT PRIMARY KEY, v VARCHAR(20), INDEX f ((UPPER(v))), INDEX off (v) INVISIBLE, "
            "CHECK (v <> '') NOT ENFORCED, j JSON, INDEX m ((CAST(j->'$.a' AS UNSIGNED ARRAY))))"
        )
    else:
        tables["own"] = "(id INT PRIMARY KEY, v VARCHAR(20), w INT DEFAULT (id + 1), j JSON, INDEX off (v) IGNORED)"
    return tables


ROWS = {
    "comments": "(1, 1), (2, 2)",
    "checks": "(1, 1, 'a'), (2, NULL, NULL)",
    "defaults": "(1, 'u', '2020-01-01', 'e', '2020-01-01', b'1', 1), (2, NULL, NULL, NULL, '2020-01-01', NULL, 2)",
    "generated_columns": "(DEFAULT, 1, DEFAULT, 'x', 1), (DEFAULT, 2, DEFAULT, NULL, 2)",
    "hidden": "(1, 1), (NULL, 2)",
    "by_range": "(1, 1999, 'a'), (1, 2000, 'b'), (2, 1999, NULL)",
    "by_hash": "(1, 1), (2, 2), (3, 3), (-4, 4)",
    "by_list": "(1, 'a'), (1, 'z'), (2, '''c')",
    "indexed": "(1, 'some words', POINT(1, 2), 1), (2, NULL, POINT(0, 0), NULL)",
    "collated": "('a', 'x'), ('A', 'y')",
    "only_key": "(0), (1), (18446744073709551615)",
    "numbered": "(1, 1), (2, 2), (600, 3)",
    "numbered_second": "(1, 1, 1), (2, 1, 1), (2, 7, 1)",
    "functional": "(1, 'a', '{\"a\": [1, 2]}'), (2, NULL, NULL)",
    "own": "(1, 'a', 1, '{}'), (2, NULL, DEFAULT, NULL)",
}
STREAMED = (
    "UPDATE comments SET v = 9; DELETE FROM comments WHERE id = 1",
    "UPDATE checks SET v = 5, s = 'it''s' WHERE id = 2",
    "UPDATE defaults SET b = b'11' WHERE id = 1; INSERT INTO defaults (id) VALUES (3)",
    "UPDATE generated_columns SET a = a + 5; INSERT INTO generated_columns (a, id) VALUES (7, 7)",
    "UPDATE hidden SET secret = 'told'; INSERT INTO hidden (id) VALUES (5)",
    "UPDATE by_range SET y = 2010 WHERE y = 1999; DELETE FROM by_range WHERE id = 2",
    "UPDATE by_hash SET id = id + 1 ORDER BY id DESC",
    "UPDATE by_list SET c = 'z' WHERE c = '''c'",
    "UPDATE indexed SET t = 'other words'; DELETE FROM indexed WHERE id = 2",
    "UPDATE collated SET id = 'b' WHERE id = 'a'",
    "DELETE FROM only_key WHERE id = 0; INSERT INTO only_key VALUES (2)",
    "INSERT INTO nothing VALUES (1, 1); DELETE FROM nothing",
    # Ids of deleted rows must not be assigned again.
    "INSERT INTO numbered VALUES (9000, 1); DELETE FROM numbered WHERE id = 9000; INSERT INTO numbered (v) VALUES (4)",
    "INSERT INTO numbered_second (v) VALUES (5); DELETE FROM numbered_second WHERE v = 5",
)


def create_defined(pair: Pair, schema: str) -> None:
    statements = [f"USE {quoted(schema)}", "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"]
    for name, body in defined(pair).items():
        statements.append(f"CREATE TABLE {name} {body}")
        if name in ROWS:
            statements.append(f"INSERT INTO {name} VALUES {ROWS[name]}")
    pair.source.execute(*statements)


def streamed(pair: Pair, schema: str) -> None:
    pair.source.execute(f"USE {quoted(schema)}", *(one for line in STREAMED for one in line.split("; ")))


# -- names ------------------------------------------------------------------------------------------------------------


def create_odd_names(server: Server, schema: str) -> None:
    """A table for each name, with a column and an index for each of the other names."""
    columns = ", ".join(f"{quoted(name)} VARCHAR(20)" for name in ODD_NAMES[1:])
    for name in ODD_NAMES:
        table = f"{quoted(schema)}.{quoted(name)}"
        server.execute(
            f"CREATE TABLE {table} ({quoted(ODD_NAMES[0])} INT, {columns}, "
            f"PRIMARY KEY ({quoted(ODD_NAMES[0])}), INDEX {quoted(LONG)} ({quoted('back`tick')}))",
            f"INSERT INTO {table} ({quoted('select')}, {quoted(LONG)}) VALUES (1, 'one'), (2, 'two')",
        )


def change_odd_names(server: Server, schema: str) -> None:
    for name in ODD_NAMES:
        table = f"{quoted(schema)}.{quoted(name)}"
        key = quoted("select")
        server.execute(
            f"UPDATE {table} SET {quoted('back`tick')} = 'x' WHERE {key} = 1",
            f"DELETE FROM {table} WHERE {key} = 2",
            f"INSERT INTO {table} ({key}, {quoted('dot.ted')}) VALUES (3, 'three')",
        )


# -- foreign keys and triggers ----------------------------------------------------------------------------------------


def create_related(server: Server, schema: str, other: str) -> None:
    """References within a schema, to another schema, to itself, in a circle, to a UNIQUE index, with two columns."""
    server.execute(
        f"USE {quoted(schema)}",
        "CREATE TABLE parent (id INT PRIMARY KEY, u VARCHAR(10) UNIQUE, a INT NOT NULL, b INT NOT NULL, UNIQUE (a, b))",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, u VARCHAR(10), a INT, b INT, "
        "CONSTRAINT `o``dd` FOREIGN KEY (p) REFERENCES parent (id) ON DELETE RESTRICT ON UPDATE NO ACTION, "
        "FOREIGN KEY (u) REFERENCES parent (u), FOREIGN KEY (a, b) REFERENCES parent (a, b))",
        "CREATE TABLE tree (id INT PRIMARY KEY, up INT, FOREIGN KEY (up) REFERENCES tree (id))",
        "CREATE TABLE ring_a (id INT PRIMARY KEY, b INT)",
        "CREATE TABLE ring_b (id INT PRIMARY KEY, a INT, FOREIGN KEY (a) REFERENCES ring_a (id))",
        "ALTER TABLE ring_a ADD CONSTRAINT `circle` FOREIGN KEY (b) REFERENCES ring_b (id)",
        f"CREATE TABLE {quoted(other)}.far (id INT PRIMARY KEY, p INT, "
        f"CONSTRAINT far_away FOREIGN KEY (p) REFERENCES {quoted(schema)}.parent (id))",
        "CREATE TABLE log (n INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40))",
        "CREATE TRIGGER child_in AFTER INSERT ON child FOR EACH ROW INSERT INTO log (what) VALUES (NEW.id)",
        "CREATE TRIGGER child_up BEFORE UPDATE ON child FOR EACH ROW SET NEW.u = NULL",
        "CREATE TRIGGER child_out AFTER DELETE ON child FOR EACH ROW INSERT INTO log (what) VALUES ('out')",
        "INSERT INTO parent VALUES (1, 'one', 1, 1), (2, 'two', 1, 2), (3, 'three', 3, 3)",
        "INSERT INTO child VALUES (1, 1, 'two', 1, 2), (2, NULL, NULL, NULL, NULL)",
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)",
        "INSERT INTO ring_a VALUES (1, NULL)",
        "INSERT INTO ring_b VALUES (1, 1)",
        "UPDATE ring_a SET b = 1",
        f"INSERT INTO {quoted(other)}.far VALUES (1, 3)",
    )


def change_related(server: Server, schema: str, other: str) -> None:
    server.execute(
        f"USE {quoted(schema)}",
        "INSERT INTO parent VALUES (4, 'four', 4, 4)",
        "INSERT INTO child VALUES (3, 4, 'four', 4, 4), (4, 1, 'one', 1, 1)",
        "UPDATE child SET p = 2 WHERE id = 4",
        "DELETE FROM child WHERE id = 1",
        "INSERT INTO parent VALUES (5, 'five', 5, 5)",
        "DELETE FROM parent WHERE id = 5",
        "UPDATE parent SET a = 0 WHERE id = 3",
        "UPDATE tree SET up = 3 WHERE id = 1",
        "INSERT INTO tree VALUES (0, 0)",
        f"UPDATE {quoted(other)}.far SET p = 4",
    )


def foreign_keys_work(server: Server, schema: str) -> None:
    """The target enforces them: an orphan is refused."""
    with pytest.raises(pymysql.MySQLError, match="foreign key constraint"):
        server.execute(f"INSERT INTO {quoted(schema)}.child (id, p) VALUES (99, 99)")


# -- the tests --------------------------------------------------------------------------------------------------------


def test_every_kind_of_definition_arrives_under_new_names(pair: Pair, schema: str, tmp_path: Path) -> None:
    odd, kept, other = f"{schema} o`d'd ü", f"{schema}_kept", f"{schema}_new"
    renames = {schema: other, odd: f"{schema} an`other ö"}
    pair.source.execute(*(f"CREATE DATABASE {quoted(name)} CHARACTER SET utf8mb4" for name in (odd, kept)))
    create_defined(pair, schema)
    create_odd_names(pair.source, odd)
    create_related(pair.source, schema, kept)
    pair.source.execute(
        f"CREATE VIEW `{schema}`.a_view AS SELECT * FROM `{schema}`.by_hash",
        f"CREATE TABLE `{kept}`.moved (id INT PRIMARY KEY)",
        f"CREATE TABLE `{kept}`.left_behind (id INT PRIMARY KEY)",
        f"CREATE TABLE `{kept}`.keyless (id INT)",
        f"INSERT INTO `{kept}`.moved VALUES (1), (2)",
    )
    if pair.family is Family.MARIADB:
        pair.source.execute(f"CREATE SEQUENCE `{schema}`.a_sequence")
    tables = {
        "include": [f"{schema}*.*"],
        "exclude": [f"{kept}.le?t_*", f"{kept}.[jkl]eyless"],
        "renameSchemas": renames,
        "rules": [{"match": f"{kept}.moved", "target": f"{other}.arrived"}],
    }
    with FerryProcess(tmp_path / "ferry", pair, tables=tables) as ferry:
        ferry.start_streaming()
        streamed(pair, schema)
        change_odd_names(pair.source, odd)
        change_related(pair.source, schema, kept)
        pair.source.execute(f"INSERT INTO `{kept}`.moved VALUES (3)", f"DELETE FROM `{kept}`.moved WHERE id = 1")
        ferry.cut_over()
    found = [
        *(same(pair, (schema, name), (other, name), renames) for name in names_of(pair.source, schema)),
        *(same(pair, (odd, name), (renames[odd], name), renames) for name in ODD_NAMES),
        same(pair, (kept, "far"), (kept, "far"), renames),
        same(pair, (kept, "moved"), (other, "arrived"), renames),
    ]
    assert set(names_of(pair.target, other)) == {*names_of(pair.source, schema), "arrived"}
    assert names_of(pair.target, kept) == ["far"]
    left_out = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'BASE TABLE'"
    assert pair.target.query(left_out, [other]) == [(0,)]
    assert pair.target.query("SHOW DATABASES LIKE %s", [schema]) == []
    foreign_keys_work(pair.target, other)
    for name in ("numbered", "numbered_second", "log"):
        assert next_id(pair.target, other, name) == next_id(pair.source, schema, name), name
    assert next_id(pair.target, other, "numbered") == 9002
    print(f"{len(found)} tables, {sum(one.rows for one in found)} rows, equal with their definitions")


def names_of(server: Server, schema: str) -> list[str]:
    tables = "FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'BASE TABLE'"
    return [name for (name,) in server.query(f"SELECT TABLE_NAME {tables} ORDER BY TABLE_NAME", [schema])]


def same(pair: Pair, source: tuple[str, str], target: tuple[str, str], renames: dict[str, str]) -> Compared:
    return assert_equal_tables(pair.source, pair.target, source, target, schema_renames=renames)


def test_a_copy_into_another_schema_of_the_same_server(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Source and target are one server; a table may even stay in its schema under another name. Without verification,
    which the cutover then reports.
    """
    copy = f"{schema}_copy"
    create_defined(pair, schema)
    create_related(pair.source, schema, schema)
    tables = {
        "include": [f"{schema}.*"],
        "renameSchemas": {schema: copy},
        "rules": [
            {"match": f"{schema}.checks", "target": f"{schema}.checks_2"},
            {"match": f"{schema}.child", "target": f"{schema}.child_2"},
        ],
    }
    cutover = {"mode": "Manual", "watchFor": "0s", "sourceLock": "None"}
    unproven: dict[str, Any] = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
    with FerryProcess(
        tmp_path / "ferry", Pair(pair.source, pair.source), tables=tables, cutover=cutover, **unproven
    ) as ferry:
        ferry.start_streaming()
        streamed(pair, schema)
        change_related(pair.source, schema, schema)
        result = ferry.cut_over()
    assert "unproven" in result
    assert "verified" not in result
    here = Pair(pair.source, pair.source)
    names = set(names_of(pair.source, schema)) - {"checks_2", "child_2"}
    moved = {"checks": (schema, "checks_2"), "child": (schema, "child_2")}
    renames = {schema: copy}
    found = [same(here, (schema, name), moved.get(name, (copy, name)), renames) for name in sorted(names - set(moved))]
    # Constraints with their names exist already; only the rules matter.
    found += [
        assert_equal_tables(here.source, here.target, (schema, name), moved[name], definitions=False) for name in moved
    ]
    referenced = (
        "SELECT COUNT(*), MIN(REFERENCED_TABLE_NAME), COUNT(DISTINCT REFERENCED_TABLE_NAME) "
        "FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = %s AND TABLE_NAME = 'child_2' "
        "AND UNIQUE_CONSTRAINT_SCHEMA = %s"
    )
    assert pair.source.query(referenced, [schema, copy]) == [(3, "parent", 1)]
    with pytest.raises(pymysql.MySQLError, match=r"(?i)check constraint|constraint .* failed"):
        pair.source.execute(f"INSERT INTO `{schema}`.checks_2 VALUES (50, 50, 'x,)`')")
    assert set(names_of(pair.source, copy)) == names - set(moved)
    print(f"{len(found)} tables, {sum(one.rows for one in found)} rows")


CASCADES = ("ON DELETE CASCADE", "ON DELETE SET NULL", "ON UPDATE CASCADE", "ON UPDATE SET NULL")


def test_logged_cascades_are_followed(mysql_pair: Pair, schema: str, tmp_path: Path) -> None:
    """MySQL's own cascades above InnoDB, also those caused by REPLACE and by a chain of two constraints."""
    pair = mysql_pair
    source = pair.source
    source.execute(f"USE `{schema}`", "CREATE TABLE parent (id INT PRIMARY KEY, v INT)")
    for number, action in enumerate(CASCADES):
        source.execute(
            f"CREATE TABLE `{schema}`.child{number} (id INT PRIMARY KEY, p INT UNIQUE, "
            f"CONSTRAINT fk{number} FOREIGN KEY (p) REFERENCES `{schema}`.parent (id) {action})"
        )
    source.execute(
        f"USE `{schema}`",
        "CREATE TABLE grandchild (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES child0 (p) ON DELETE SET NULL)",
    )
    deletes = [{0, 1}, {2, 3}]  # each refuses what the other kind of constraint allows, so their parents are separate
    for kind, numbers in enumerate(deletes):
        keys = range(kind * 100 + 1, kind * 100 + 21)
        source.execute(
            f"USE `{schema}`",
            "INSERT INTO parent VALUES " + ", ".join(f"({key}, 0)" for key in keys),
            *(f"INSERT INTO child{number} SELECT id, id FROM parent WHERE id DIV 100 = {kind}" for number in numbers),
        )
    source.execute(f"INSERT INTO `{schema}`.grandchild SELECT id, p FROM `{schema}`.child0")
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.*"]}) as ferry:
        ferry.start_streaming()
        source.execute(
            f"USE `{schema}`",
            "DELETE FROM parent WHERE id IN (1, 2, 3)",
            "REPLACE INTO parent VALUES (4, 1)",
            "UPDATE parent SET id = id + 1000 WHERE id BETWEEN 101 AND 105",
            "INSERT INTO parent VALUES (1, 5), (101, 5)",
            "INSERT INTO child0 VALUES (1, 1)",
            "DELETE parent, grandchild FROM parent JOIN grandchild ON grandchild.id = parent.id WHERE parent.id = 7",
        )
        ferry.cut_over()
    assert source.value(f"SELECT COUNT(*) FROM `{schema}`.child0") < 20
    for name in names_of(source, schema):
        assert_equal_tables(source, pair.target, f"{schema}.{name}")


def test_cascades_that_cannot_be_followed_are_refused_by_name(mariadb_pair: Pair, schema: str, tmp_path: Path) -> None:
    """Their parent is not selected."""
    pair = mariadb_pair
    pair.source.execute(f"CREATE TABLE `{schema}`.parent (id INT PRIMARY KEY)")
    for number, action in enumerate(CASCADES):
        pair.source.execute(
            f"CREATE TABLE `{schema}`.child{number} (id INT PRIMARY KEY, p INT UNIQUE, "
            f"CONSTRAINT fk{number} FOREIGN KEY (p) REFERENCES `{schema}`.parent (id) {action})"
        )
    with FerryProcess(tmp_path / "ferry", pair, tables={"include": [f"{schema}.child*"]}) as ferry:
        words = [f"{schema}.child{number}" for number, _ in enumerate(CASCADES)]
        print(ferry.start().fail(64, "ForeignKey", *words))
    assert names_of(pair.target, schema) == []
