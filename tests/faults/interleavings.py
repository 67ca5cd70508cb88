"""What applications do to rows while these are being copied. ``test_races.py`` forces each at each of ``POINTS``.

Tables: ``t`` (id, u UNIQUE, v), ``other`` of the same columns, ``words`` with a case-insensitive key, ``log`` that
triggers write. Each string is one transaction, its statements separated by ``;``.
"""

from dataclasses import dataclass

from hack.servers import Family

TABLES = (
    "CREATE TABLE t (id INT PRIMARY KEY, u INT UNIQUE, v INT NOT NULL)",
    "CREATE TABLE other (id INT PRIMARY KEY, u INT UNIQUE, v INT NOT NULL)",
    "CREATE TABLE words (k VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT NOT NULL)",
    "CREATE TABLE log (id INT PRIMARY KEY AUTO_INCREMENT, what INT NOT NULL)",
    "CREATE TRIGGER fires AFTER UPDATE ON t FOR EACH ROW INSERT INTO log (what) VALUES (NEW.v)",
    "INSERT INTO t VALUES (-7, 70, 0), (0, 10, 0), (1, 11, 0), (2, 12, 0), (3, 13, 0), (9, 19, 0)",
    "INSERT INTO other VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3)",
    "INSERT INTO words VALUES ('a', 1), ('b', 2), ('c', 3)",
)

POINTS = {
    "chunk": "a chunk of the table is read, not written",
    "last chunk": "the chunk at the table's end is read, not written",
    "two chunks": "its first and its last chunk are read, not written",
    "batch": "changed keys are read, not written",
    "started": "the stream follows, and no row is copied",
}


CHUNKS = {"t": ("1", "3"), "words": ("'a'", "'b'")}
"""The bounds of the chunks of a table, as literals: three chunks of each."""


@dataclass(frozen=True)
class Race:
    what: str
    transactions: tuple[str, ...]
    table: str = "t"
    """Whose copying is held."""
    families: tuple[Family, ...] = (Family.MYSQL, Family.MARIADB)


RACES = {
    "swap": Race(
        "two rows swap their UNIQUE values",
        ("UPDATE t SET u = NULL WHERE id = 1; UPDATE t SET u = 11 WHERE id = 9; UPDATE t SET u = 19 WHERE id = 1",),
    ),
    "cycle of three": Race(
        "three rows hand their UNIQUE values round",
        (
            (
                "UPDATE t SET u = NULL WHERE id = 1; UPDATE t SET u = 11 WHERE id = 9; "
                "UPDATE t SET u = 19 WHERE id = -7; UPDATE t SET u = 70 WHERE id = 1"
            ),
        ),
    ),
    "handed on": Race(
        "a UNIQUE value goes from row to row, each time in a transaction of its own",
        (
            "UPDATE t SET u = NULL WHERE id = 9",
            "UPDATE t SET u = 19 WHERE id = 1",
            "UPDATE t SET u = NULL WHERE id = 1",
            "UPDATE t SET u = 19 WHERE id = -7",
        ),
    ),
    "key there and back": Race(
        "a key leaves its range and comes back",
        ("UPDATE t SET id = -9 WHERE id = 3", "UPDATE t SET id = 3 WHERE id = -9"),
    ),
    "keys swapped": Race(
        "two rows swap their keys",
        ("UPDATE t SET id = 1000 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 9; UPDATE t SET id = 9 WHERE id = 1000",),
    ),
    "reinserted": Race(
        "a row is deleted and inserted again, with another row's UNIQUE value",
        ("DELETE FROM t WHERE id = 1", "DELETE FROM t WHERE id = 2", "INSERT INTO t VALUES (1, 12, 5)"),
    ),
    "above the end": Race(
        "rows are inserted above the highest key", ("INSERT INTO t VALUES (50, 50, 1), (2147483647, 51, 1)",)
    ),
    "below the beginning": Race(
        "rows are inserted below the lowest key, and id 0 is deleted",
        ("INSERT INTO t VALUES (-2147483648, 52, 1)", "DELETE FROM t WHERE id = 0"),
    ),
    "emptied": Race("every row is deleted", ("DELETE FROM t",)),
    "other spelling": Race(
        "a key gets another spelling that its collation takes for the same",
        (
            "UPDATE words SET k = 'A' WHERE k = 'a'",
            "DELETE FROM words WHERE k = 'B'",
            "INSERT INTO words VALUES ('B', 5)",
            "UPDATE words SET k = 'C' WHERE k = 'c'",
        ),
        table="words",
    ),
    "on duplicate key": Race(
        "INSERT ... ON DUPLICATE KEY UPDATE meets a row by its UNIQUE value",
        (
            "INSERT INTO t VALUES (77, 19, 1) ON DUPLICATE KEY UPDATE u = 77, v = v + 1",
            "INSERT INTO t VALUES (78, 19, 2)",
        ),
    ),
    "replace": Race("REPLACE removes two rows and writes one", ("REPLACE INTO t VALUES (1, 12, 9)",)),
    "several tables": Race(
        "one statement changes two tables",
        (
            "UPDATE t JOIN other ON t.id = other.id SET t.v = other.v, other.u = NULL",
            "DELETE t, other FROM t JOIN other ON t.id = other.id WHERE t.id = 2",
        ),
    ),
    "trigger": Race("a trigger of the source writes another table", ("UPDATE t SET v = v + 1 WHERE id > 0",)),
    "temporary table": Race(
        "rows come from a temporary table of the name of a moved one",
        (
            (
                "CREATE TEMPORARY TABLE other (id INT); INSERT INTO other VALUES (60), (61); "
                "INSERT INTO t SELECT id, id, id FROM other; DROP TEMPORARY TABLE other"
            ),
        ),
    ),
    "savepoint": Race(
        "a part of a transaction is rolled back",
        (
            (
                "UPDATE t SET v = 5 WHERE id = 1; SAVEPOINT s; UPDATE t SET u = NULL, v = 6; ROLLBACK TO s; "
                "DELETE FROM t WHERE id = 9"
            ),
        ),
    ),
    "partly failed": Race(
        "a statement fails in the middle of a transaction that commits",
        (
            (
                "UPDATE t SET v = 7 WHERE id = 2; INSERT IGNORE INTO t VALUES (200, 10, 1), (201, 201, 1); "
                "DELETE FROM t WHERE id = 3"
            ),
        ),
    ),
    "xa": Race(
        "an XA transaction that moves a UNIQUE value",
        (
            (
                "XA START 'r'; UPDATE t SET u = NULL WHERE id = 9; UPDATE t SET u = 19 WHERE id = 0; XA END 'r'; "
                "XA PREPARE 'r'; XA COMMIT 'r'"
            ),
        ),
    ),
}
