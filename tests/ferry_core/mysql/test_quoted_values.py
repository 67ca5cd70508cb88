"""Values of rows stay out of messages, whatever the server says about them."""

import pytest

from ferry_core.errors import FerryError
from ferry_core.mysql.quoted_values import without_literals, without_values
from ferry_core.mysql.session import Purpose, Session
from tests.support.servers import Pair

PARTITIONED = (
    "CREATE TABLE `{}`.t (id INT PRIMARY KEY, name INT, day DATE, n INT UNSIGNED) "
    "PARTITION BY RANGE (id) (PARTITION p VALUES LESS THAN (9000))"
)
PLAIN = "CREATE TABLE `{}`.t (id INT PRIMARY KEY, name VARCHAR(40) UNIQUE, day DATE, n INT UNSIGNED)"
SAID = {
    "duplicate": (PLAIN, "INSERT INTO `{}`.t VALUES (1, 'Ms 4711', NULL, 1), (2, 'Ms 4711', NULL, 1)", 1062),
    "key": (PLAIN, "INSERT INTO `{}`.t VALUES (4711, 'a', NULL, 1), (4711, 'b', NULL, 1)", 1062),
    "number": (PLAIN, "INSERT INTO `{}`.t VALUES ('Ms 4711', 'a', NULL, 1)", 1366),
    "date": (PLAIN, "INSERT INTO `{}`.t VALUES (1, 'a', 'the 4711th', 1)", 1292),
    "range": (PLAIN, "INSERT INTO `{}`.t SELECT 1, 'a', NULL, CAST(1 AS UNSIGNED) - 4711", 1690),
    "partition": (PARTITIONED, "INSERT INTO `{}`.t VALUES (14711, 1, NULL, 1)", 1526),
}  # fmt: skip


@pytest.mark.parametrize("what", SAID)
def test_a_servers_message_is_shown_without_values(pair: Pair, schema: str, what: str) -> None:
    table, statement, code = SAID[what]
    pair.source.execute(table.format(schema))
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        with pytest.raises(FerryError) as refused:
            session.execute(statement.format(schema))
        assert refused.value.code == code
        assert "4711" not in refused.value.problem
        assert "(not shown)" in refused.value.problem
        assert not any("4711" in warned.message for warned in session.warnings())


def test_a_warnings_message_is_shown_without_values(pair: Pair, schema: str) -> None:
    pair.source.execute(PLAIN.format(schema))
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        session.execute(f"INSERT IGNORE INTO `{schema}`.t VALUES ('4711 Ms', 'a', 'the 4711th', 1)")
        warnings = session.warnings()
    assert {warned.code for warned in warnings} & {1265, 1292, 1366}
    assert not any("4711" in warned.message for warned in warnings)


@pytest.mark.parametrize(
    ("code", "text", "shown"),
    [
        (1062, "Duplicate entry 'a' for key 'b' for key 't.name'", "Duplicate entry (not shown) for key 't.name'"),
        (
            1366,
            "Incorrect integer value: 'x' for column 'y' for column 'id' at row 1",
            "Incorrect integer value: (not shown) for column 'id' at row 1",
        ),
        (1146, "Table 'shop.t' doesn't exist", "Table 'shop.t' doesn't exist"),
    ],
)
def test_a_value_cannot_end_its_quotation(code: int, text: str, shown: str) -> None:
    assert without_values(code, text) == shown


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (
            "SELECT v FROM `t4711` WHERE `a``1` IN (4711, -4.7e11, 0x4711)",
            "SELECT v FROM `t4711` WHERE `a``1` IN (?, -?, ?)",
        ),
        (
            "/* job 'x' */ -- 1\n update t set v = 'it''s \\' 4711' where k = \"a\"",
            "/* job ? */ -- ?\n update t set v = ? where k = ?",
        ),
        ("INSERT INTO t VALUES (_utf8mb4 X'4711', 'cut off", "INSERT INTO t VALUES (_utf8mb4 X?, ?"),
        ("(SELECT 1) UNION (SELECT 2)", "(SELECT ?) UNION (SELECT ?)"),
        ("SET @x = 'Smith', @y = 4711", "SET @x = ?, @y = ?"),
        ("EXPLAIN SELECT v FROM t WHERE k = 'Smith'", "EXPLAIN SELECT v FROM t WHERE k = ?"),
        ("PREPARE s FROM 'SELECT 4711'", "PREPARE s FROM ?"),
        ("VALUES ROW(4711, 'Smith')", "VALUES ROW(?, ?)"),
        ("BEGIN NOT ATOMIC INSERT INTO t VALUES (4711); END", "BEGIN NOT ATOMIC INSERT INTO t VALUES (?); END"),
        ("/*!50003 CREATE */ INSERT INTO t VALUES (4711)", "/*!? CREATE */ INSERT INTO t VALUES (?)"),
        ("CREATE TABLE s AS SELECT v FROM t WHERE k = 'Smith'", "CREATE TABLE s AS SELECT v FROM t WHERE k = ?"),
        ("CREATE USER u IDENTIFIED BY 'secret'", "CREATE USER u IDENTIFIED BY ?"),
        ("LOCK TABLES t WRITE", "LOCK TABLES t WRITE"),
        ("ALTER TABLE t ADD v VARCHAR(40) DEFAULT 'x'", "ALTER TABLE t ADD v VARCHAR(40) DEFAULT 'x'"),
        ("/* job */ create table t (v int default 1)", "/* job */ create table t (v int default 1)"),
    ],
)
def test_only_a_statement_about_definitions_is_shown_with_literals(statement: str, shown: str) -> None:
    assert without_literals(statement) == shown
