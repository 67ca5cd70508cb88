"""Values of rows stay out of the statements that messages show, whatever the sql_mode of their session."""

import pytest

from ferry_core.mysql.shown_statement import without_literals


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (
            "SELECT v FROM `t4711` WHERE `a``1` IN (4711, -4.7e11, 0x4711)",
            "SELECT v FROM `t4711` WHERE `a``1` IN (?, -?, ?)",
        ),
        (
            "/* job 'x' */ -- 1\n update t set v = 'it''s 4711' where k = \"a\"",
            "update t set v = ? where k = ?",
        ),
        ("INSERT INTO t VALUES (_utf8mb4 X'4711', 'cut off", "INSERT INTO t VALUES (_utf8mb4 X?, ? ..."),
        ("UPDATE t SET a='x\\', b='secret'", "UPDATE t SET a=? ..."),
        ('UPDATE t SET a="x\\", b="secret"', "UPDATE t SET a=? ..."),
        ("UPDATE t SET a='x\\y', b='secret' WHERE c", "UPDATE t SET a=?, b=? WHERE c"),
        ("UPDATE /* it's */ t SET a='secret'", "UPDATE   t SET a=?"),
        ("UPDATE t -- it's\nSET a='secret'", "UPDATE t  \nSET a=?"),
        ("UPDATE t # it's\nSET a='secret'", "UPDATE t  \nSET a=?"),
        ("UPDATE /*!99999 it's */ t SET a='secret'", "UPDATE ? ..."),
        ("UPDATE /*+ MAX_EXECUTION_TIME(1) */ t SET a='secret'", "UPDATE   t SET a=?"),
        ("UPDATE /*+ QB_NAME(`*/ 'x') */ t SET a='secret'", "UPDATE ? ..."),
        ("UPDATE t SET a=/* cut off 'secret", "UPDATE t SET a=? ..."),
        ("UPDATE `\ufffd` SET a='`', b='secret'", "UPDATE ? ..."),
        ("UPDATE \ufffd` SET a='secret'", "UPDATE ? ..."),
        ("SELECT 1--1 FROM t WHERE a='it--' OR b", "SELECT ?--? FROM t WHERE a=? OR b"),
        ("(SELECT 1) UNION (SELECT 2)", "(SELECT ?) UNION (SELECT ?)"),
        ("SET @x = 'Smith', @y = 4711", "SET @x = ?, @y = ?"),
        ("EXPLAIN SELECT v FROM t WHERE k = 'Smith'", "EXPLAIN SELECT v FROM t WHERE k = ?"),
        ("PREPARE s FROM 'SELECT 4711'", "PREPARE s FROM ?"),
        ("VALUES ROW(4711, 'Smith')", "VALUES ROW(?, ?)"),
        ("BEGIN NOT ATOMIC INSERT INTO t VALUES (4711); END", "BEGIN NOT ATOMIC INSERT INTO t VALUES (?); END"),
        ("/*!50003 CREATE */ INSERT INTO t VALUES (4711)", "? ..."),
        ("CREATE TABLE s AS SELECT v FROM t WHERE k = 'Smith'", "CREATE TABLE s AS SELECT v FROM t WHERE k = ?"),
        ("CREATE USER u IDENTIFIED BY 'secret'", "CREATE USER u IDENTIFIED BY ?"),
        (
            "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO UPDATE t SET v='x'",
            "CREATE EVENT e ON SCHEDULE EVERY ? DAY DO UPDATE t SET v=?",
        ),
        ("CREATE TABLE t (a INT) CONNECTION='mysql://u:secret@h'", "CREATE TABLE t (a INT) CONNECTION=?"),
        ("DROP TABLE a; UPDATE t SET v='x'", "DROP TABLE a; UPDATE t SET v=?"),
        ("LOCK TABLES t WRITE", "LOCK TABLES t WRITE"),
        ("ALTER TABLE t ADD v VARCHAR(40) DEFAULT 'x'", "ALTER TABLE t ADD v VARCHAR(40) DEFAULT 'x'"),
        ("/* job */ create table t (v int default 1)", "create table t (v int default 1)"),
        ("RENAME TABLE a TO b /* token=abc */", "RENAME TABLE a TO b"),
        ("TRUNCATE t -- token=abc", "TRUNCATE t"),
        ("DROP TABLE t # token=abc", "DROP TABLE t"),
        ("ALTER TABLE t ADD v CHAR(9) DEFAULT '--' # it's token=abc", "ALTER TABLE t ADD v CHAR(9) DEFAULT '--'"),
        ("ALTER TABLE t ADD v CHAR(9) DEFAULT '\\' /* token=abc */", "ALTER TABLE t ADD v CHAR(9) DEFAULT ? ..."),
        (
            "CREATE TABLE t (a INT) /*!50100 PARTITION BY HASH (a) */",
            "CREATE TABLE t (a INT) /*!50100 PARTITION BY HASH (a) */",
        ),
        ("CREATE TABLE t (a INT) /*!50100 COMMENT = 'token' */", "CREATE TABLE t (a INT) ? ..."),
        ("DROP TABLE t /*!50100 /* token=abc */ */", "DROP TABLE t ? ..."),
        ('ALTER TABLE t COMMENT = \'host "h", password "secret"\'', "ALTER TABLE t COMMENT = ?"),
        (
            "CREATE TABLE t (a INT) ENGINE=FEDERATED COMMENT='mysql://u:pw@h/d'",
            "CREATE TABLE t (a INT) ENGINE=FEDERATED COMMENT=?",
        ),
        ("CREATE TABLE t (a INT) COMMENT 'token abc'", "CREATE TABLE t (a INT) COMMENT ?"),
        ("CREATE TABLE t (a INT) ENGINE=SPIDER COMMENT='srv \"s\"'", "CREATE TABLE t (a INT) ENGINE=SPIDER COMMENT=?"),
    ],
)
def test_only_a_definition_is_shown_with_literals_and_none_with_comments(statement: str, shown: str) -> None:
    assert without_literals(statement) == shown
