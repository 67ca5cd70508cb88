"""Texts that SHOW CREATE TABLE prints as question marks arrive unchanged."""

from collections.abc import Iterator

import pytest

from ferry_core.schema.create import create_missing
from ferry_core.schema.significant import differences
from ferry_core.tables.members import members
from ferry_core.tables.predicates import where
from ferry_core.tables.table import KeyRange, TableName
from hack.servers import Family
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

# MySQL 9.7 refuses binary members that are no UTF-8, older versions may hold them.
_BINARY = {Family.MYSQL: "x'41', '?'", Family.MARIADB: "x'ff', '?', x'fe3f'"}
_WIDE = {Family.MYSQL: "gb18030", Family.MARIADB: "utf32"}


@pytest.fixture
def both(pair: Pair) -> Iterator[TablePair]:
    it = TablePair(pair)
    yield it
    it.close()


def test_enum_and_set_members_beyond_the_basic_plane(pair: Pair, both: TablePair, schema: str) -> None:
    many = ", ".join(f"'?{number}\U0001f6a2'" for number in range(700))
    flags = ", ".join(f"'f{number}\U0001f6a2'" for number in range(64))
    pair.source.execute(
        f"CREATE TABLE `{schema}`.`t?` (id INT PRIMARY KEY, e ENUM('\U0001f600', '?', 'it''s \\\\ \U0001f600, )', 'a') "
        "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL DEFAULT '\U0001f600' COMMENT '? ENUM(''?'')', "
        f"s SET({flags}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, "
        f"w ENUM('\U00020000', '丂?', '?') CHARACTER SET {_WIDE[pair.family]} DEFAULT '\U00020000', "
        f"u SET('\U0001f600', '?') CHARACTER SET utf16 DEFAULT '\U0001f600,?', b ENUM({_BINARY[pair.family]}) "
        f"CHARACTER SET binary, `m``?` ENUM({many}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, "
        "g ENUM('\U0001f600', '?') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin AS (IF(id = 1, 1, 2)) STORED)",
        f"INSERT INTO `{schema}`.`t?` (id, e, s, w, u, b, `m``?`) VALUES "
        f"(1, 1, 1 << 63, 1, 1, 1, 1), (2, 2, 3, 2, 2, 2, 700), (3, 3, ~0, 3, 3, 1, 2)",
        f"INSERT INTO `{schema}`.`t?` (id) VALUES (4)",
    )
    tables = both.selected(f"{schema}.*")
    assert both.copy_all(tables) == 4
    pair.target.execute(f"INSERT INTO `{schema}`.`t?` (id) VALUES (5)")
    name = TableName(schema, "t?")
    columns = ("e", "s", "w", "u", "b", "m`?", "g")
    shown = ", ".join(f"HEX(`{column.replace('`', '``')}`)" for column in columns)
    on_source, on_target = (
        end.query(f"SELECT {shown} FROM {name.sql} WHERE id < 5 ORDER BY id") for end in (pair.source, pair.target)
    )
    assert on_target == on_source
    assert on_source[0][0] == "F09F9880"
    assert [row[:6] for row in pair.target.query(f"SELECT {shown} FROM {name.sql} WHERE id >= 4")] == [
        on_source[3][:6],
        on_source[3][:6],
    ]
    for column, kind, count in (("e", "enum", 4), ("s", "set", 64), ("w", "enum", 3), ("m`?", "enum", 700)):
        asked = range(1, count + 1)
        expected = members(both.control, name, column, kind, asked)
        assert members(both.target, name, column, kind, asked) == expected
    assert create_missing(both.control, both.target, tables, both.fence) == []


def test_members_that_are_equal_to_their_collation(pair: Pair, both: TablePair, schema: str) -> None:
    """For utf8mb4_general_ci all characters beyond the basic plane are equal; only a lax sql_mode accepts two of
    them.
    """
    pair.source.execute(
        "SET SESSION sql_mode = ''",
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, e ENUM('\U0001f600', '\U0001f601', '?') CHARACTER SET utf8mb4 "
        "COLLATE utf8mb4_general_ci)",
        f"INSERT INTO `{schema}`.t VALUES (1, 1), (2, 2), (3, 3)",
    )
    assert both.copy_all(both.selected(f"{schema}.*")) == 3
    assert pair.target.query(f"SELECT HEX(e) FROM `{schema}`.t ORDER BY id") == [("F09F9880",), ("F09F9881",), ("3F",)]


def test_defaults_beyond_the_basic_plane_or_binary(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET utf8mb4 NOT NULL DEFAULT "
        "'a\U0001f600?', q CHAR(9) DEFAULT '?', w VARCHAR(9) CHARACTER SET utf16 DEFAULT '\U0001f600', vb VARBINARY(9) "
        "NOT NULL DEFAULT x'ff00fe27', b BINARY(3) DEFAULT x'aa00', n VARCHAR(9) DEFAULT NULL COMMENT 'DEFAULT ''?''', "
        "l VARCHAR(9) CHARACTER SET latin1 DEFAULT 'é?', x TEXT CHARACTER SET utf8mb4 DEFAULT ('\U0001f600'), "
        "c VARCHAR(20) CHARACTER SET utf8mb4 DEFAULT (CONCAT('\U0001f600', 'x?')), bl BLOB DEFAULT (x'ff00'))",
        f"INSERT INTO `{schema}`.t (id) VALUES (1)",
    )
    both.selected(f"{schema}.*")
    pair.target.execute(f"INSERT INTO `{schema}`.t (id) VALUES (1)")
    shown = ", ".join(f"HEX({column})" for column in ("v", "q", "w", "vb", "b", "n", "l", "x", "c", "bl"))
    on_source, on_target = (end.query(f"SELECT {shown} FROM `{schema}`.t") for end in (pair.source, pair.target))
    assert on_target == on_source
    assert on_source[0][0] == "61F09F98803F"


def test_literals_of_other_character_sets_in_expressions(mysql_pair: Pair, schema: str) -> None:
    """MySQL prints them as raw bytes. MariaDB itself uses another text than it was given."""
    literals = ("_latin1 x'e9'", "_binary x'ff'", "_utf16 x'd83dde00'", "_gbk x'815c'", "_sjis x'835c'", "'\U0001f600'")
    columns = ", ".join(
        f"g{number} VARBINARY(40) AS (CONCAT(v, {literal})) STORED, d{number} VARBINARY(40) DEFAULT "
        f"(CAST({literal} AS BINARY))"
        for number, literal in enumerate(literals)
    )
    mysql_pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, v VARBINARY(9), {columns}, CHECK (v <> _latin1 x'e9'))",
        f"INSERT INTO `{schema}`.t (id, v) VALUES (1, 'x')",
    )
    both = TablePair(mysql_pair)
    try:
        both.selected(f"{schema}.*")
    finally:
        both.close()
    mysql_pair.target.execute(f"INSERT INTO `{schema}`.t (id, v) VALUES (1, 'x')")
    shown = ", ".join(f"HEX(g{number}), HEX(d{number})" for number in range(len(literals)))
    on_source, on_target = (
        end.query(f"SELECT {shown} FROM `{schema}`.t") for end in (mysql_pair.source, mysql_pair.target)
    )
    assert on_target == on_source


def test_a_replaced_enum_member_is_a_change(pair: Pair, both: TablePair, schema: str) -> None:
    """SHOW CREATE TABLE prints the same for both."""
    column = "k ENUM('b', '\U0001f600', 'a,0x', '?') CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t ({column} NOT NULL PRIMARY KEY)",
        f"INSERT INTO `{schema}`.t VALUES (1), (2), (3), (4)",
    )
    (before,) = both.selected(f"{schema}.t")
    assert both.copy_all([before]) == 4
    bounds = [KeyRange(None, ("2",)), KeyRange(("2",), ("3",)), KeyRange(("3",), None)]
    found = [both.plain.number(f"SELECT COUNT(*) FROM `{schema}`.t WHERE {where(before.key, at)}") for at in bounds]
    assert found == [2, 1, 1]
    pair.source.execute(
        f"DELETE FROM `{schema}`.t",
        f"ALTER TABLE `{schema}`.t MODIFY {column.replace(chr(0x1F600), chr(0x1F601))} NOT NULL",
    )
    (after,) = both.selected(f"{schema}.t")
    assert after.definition == before.definition
    assert "enum('b',0xf09f9881,'a,0x',0x3f)" in differences(before, after)


def test_columns_that_inherit_the_collation_are_shown_as_on_the_source(
    pair: Pair, both: TablePair, schema: str
) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY, `COLLATE` TEXT, own TEXT COLLATE utf8mb4_bin, "
        "primary_one TEXT CHARACTER SET utf8mb4, member ENUM('a COLLATE utf8mb4_bin', 'b') NOT NULL DEFAULT 'b', "
        "other VARCHAR(9) CHARACTER SET latin1 DEFAULT 'COLLATE', made CHAR(9) AS (CONCAT('a' COLLATE utf8mb4_bin)), "
        "said CHAR(3) NOT NULL COMMENT 'COLLATE utf8mb4_bin') "
        "COMMENT 'COLLATE=utf8mb4_general_ci' DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin",
        f"CREATE TABLE `{schema}`.plain (id INT PRIMARY KEY, a TEXT, b TEXT COLLATE latin1_bin) CHARACTER SET latin1 "
        "COMMENT 'COLLATE=latin1_bin'",
        f"ALTER TABLE `{schema}`.t DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci, ADD late TEXT",
    )
    assert both.copy_all(both.selected(f"{schema}.*")) == 0
    for table in ("t", "plain"):
        shown = [end.query(f"SHOW CREATE TABLE `{schema}`.{table}")[0][1] for end in (pair.source, pair.target)]
        assert shown[1] == shown[0]
