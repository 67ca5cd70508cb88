"""Cascades that lookups by value do not follow, on real servers: most have their tables copied whole."""

import pytest

from ferry_core.api.selection import Tables
from ferry_core.mysql.session import Purpose, Session
from ferry_core.schema.unfollowed import copied_as_needed
from ferry_core.tables.discovery import discover
from tests.support.cascading import Related, change, copied, make
from tests.support.servers import Pair, set_global

PARENT = "CREATE TABLE parent (id INT PRIMARY KEY, v INT NOT NULL DEFAULT 0)"
NULLED = (
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, x INT NOT NULL, UNIQUE (p, x), "
    "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL)"
)
MIDDLE = (
    "CREATE TABLE child (id INT PRIMARY KEY, p INT, u INT UNIQUE, "
    "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)"
)
LEAF = "CREATE TABLE leaf (id INT PRIMARY KEY, c INT, FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE)"
LOST = {
    "a row that loses its UNIQUE value by SET NULL": (
        (PARENT, NULLED, "INSERT INTO parent VALUES (1, 0)", "INSERT INTO child VALUES (10, 1, 5), (11, 1, 6)"),
        (
            "UPDATE child SET x = 7 WHERE id = 11",
            "DELETE FROM parent",
            "INSERT INTO parent VALUES (1, 0)",
            "UPDATE child SET p = 1, x = 5 WHERE id = 11",
        ),
    ),
    "a middle row whose UNIQUE value another row takes": (
        (
            *(PARENT, MIDDLE, LEAF, "INSERT INTO parent VALUES (1, 0), (2, 0)"),
            *("INSERT INTO child VALUES (10, 1, 5), (11, 2, 6)", "INSERT INTO leaf VALUES (100, 10)"),
        ),
        (
            "UPDATE child SET u = 7 WHERE id = 11",
            "DELETE FROM parent WHERE id = 1",
            "UPDATE child SET u = 5 WHERE id = 11",
        ),
    ),
    "rows that MySQL does not find by what they reference": (
        (
            "CREATE TABLE parent (id INT PRIMARY KEY, f FLOAT(10,2), UNIQUE (f))",
            (
                "CREATE TABLE child (id INT PRIMARY KEY, f FLOAT(10,2), "
                "FOREIGN KEY (f) REFERENCES parent (f) ON DELETE CASCADE)"
            ),
            *("INSERT INTO parent VALUES (1, 99999999.99)", "INSERT INTO child VALUES (10, 99999999.99)"),
        ),
        ("DELETE FROM parent",),
    ),
}


def test_rows_of_two_middle_tables_that_are_replaced(silent: Pair, schema: str) -> None:
    """Row 10 and its row 100 are gone from the target before their cascade is known. Row 1000 has no parent there."""
    make(
        silent, schema, PARENT, MIDDLE,
        "CREATE TABLE leaf (id INT PRIMARY KEY, c INT, u INT UNIQUE, "
        "FOREIGN KEY (c) REFERENCES child (id) ON DELETE CASCADE)",
        "CREATE TABLE twig (id INT PRIMARY KEY, l INT, FOREIGN KEY (l) REFERENCES leaf (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1, 0), (2, 0)", "INSERT INTO child VALUES (10, 1, 5), (11, 2, 6)",
        "INSERT INTO leaf VALUES (100, 10, 5), (110, 11, 6)", "INSERT INTO twig VALUES (1000, 100), (1100, 110)",
    )  # fmt: skip
    with Related(silent, schema, copied(schema, "parent", "child", "leaf", "twig")) as run:
        assert not any(table.whole for table in run.tables)
        change(
            silent, schema, "DELETE FROM parent WHERE id = 1",
            "UPDATE child SET u = 5 WHERE id = 11", "UPDATE leaf SET u = 5 WHERE id = 110",
        )  # fmt: skip
        for name, key in (("child", "11"), ("leaf", "110")):
            run.buffer.suspect(run.named(name), [(key,)])
            run.flush(name).join()
            assert run.ids(name) == [int(key)]
        run.stream()
        run.drain()
        assert run.ids("twig") == [1100]
        run.equal()


@pytest.mark.parametrize("kind", LOST)
def test_a_row_that_is_replaced_before_its_cascade_is_streamed(silent: Pair, schema: str, kind: str) -> None:
    """Key 11 is pending when the parent is deleted. Its flush replaces row 10, by which the cascade would be found."""
    tables, changes = LOST[kind]
    make(silent, schema, *tables)
    with Related(silent, schema, copied(schema, "parent", "child", "leaf")) as run:
        change(silent, schema, *changes)
        run.buffer.suspect(run.named("child"), [("11",)])  # as by the first change: the stream is not further yet
        run.flush("child").join()
        run.stream()
        run.drain()
        run.equal()


def test_each_ancestor_has_them_copied(silent: Pair, schema: str) -> None:
    """The cascade goes through tables that are copied whole: nothing tells which of their rows are gone."""
    leaf = "CREATE TABLE leaf (id INT PRIMARY KEY, u INT, FOREIGN KEY (u) REFERENCES child (u) ON DELETE CASCADE)"
    twig = "CREATE TABLE twig (id INT PRIMARY KEY, l INT, FOREIGN KEY (l) REFERENCES leaf (id) ON DELETE CASCADE)"
    make(
        silent, schema, PARENT, MIDDLE, leaf, twig,
        "INSERT INTO parent VALUES (1, 0), (2, 0)", "INSERT INTO child VALUES (10, 1, 5), (20, 2, 6)",
        "INSERT INTO leaf VALUES (100, 5), (200, 6)", "INSERT INTO twig VALUES (1000, 100), (2000, 200)",
    )  # fmt: skip
    with Related(silent, schema, copied(schema, "parent", "child", "leaf", "twig")) as run:
        assert [move.table.source.name for move in run.moves if move.table.whole] == ["leaf", "twig"]
        run.stream()
        change(silent, schema, "UPDATE parent SET v = 1", "INSERT INTO parent VALUES (3, 0)")
        run.streamed()
        assert [move.table.source.name for move, _ in run.buffer.waiting()] == ["parent"]
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        assert run.ids("twig") == [2000]
        run.equal()


def test_images_without_the_referenced_columns(silent: Pair, schema: str) -> None:
    parent = "CREATE TABLE parent (id INT PRIMARY KEY, code INT UNIQUE, v INT)"
    make(
        silent, schema, parent,
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (code) "
        "ON DELETE CASCADE ON UPDATE CASCADE)",
        "INSERT INTO parent VALUES (1, 11, 0), (2, 12, 0)", "INSERT INTO child VALUES (10, 11), (20, 12)",
    )  # fmt: skip
    with (
        set_global(silent.source, "binlog_row_image = MINIMAL"),
        Related(silent, schema, copied(schema, "parent", "child")) as run,
    ):
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1", "UPDATE parent SET code = 13 WHERE id = 2")
        run.drain()
        assert run.ids("child") == [20]
        run.equal()


def test_a_row_of_a_system_versioned_parent(mariadb_pair: Pair, schema: str) -> None:
    """Its deletion is logged as an update that keeps the referenced value."""
    make(
        mariadb_pair, schema, f"{PARENT} WITH SYSTEM VERSIONING",
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1, 0), (2, 0)", "INSERT INTO child VALUES (10, 1), (20, 2)",
    )  # fmt: skip
    with Related(mariadb_pair, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(mariadb_pair, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        assert run.ids("child") == [20]
        run.equal()


def test_a_row_that_a_middle_table_s_filter_leaves_out(silent: Pair, schema: str) -> None:
    make(
        silent, schema, PARENT, "CREATE TABLE child (id INT PRIMARY KEY, p INT, v INT NOT NULL, "
        "FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)", LEAF, "INSERT INTO parent VALUES (1, 0)",
    )  # fmt: skip
    make(silent, schema, "INSERT INTO child VALUES (10, 1, 0)", on=["source"])
    make(silent, schema, "INSERT INTO leaf VALUES (100, 10)")
    rules = [{"match": f"{schema}.child", "where": "v > 0"}]
    with Related(silent, schema, copied(schema, "parent", "child", "leaf"), rules=rules) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent")
        run.drain()
        assert run.ids("leaf") == []


def test_tables_that_an_earlier_run_copied_whole_stay_so(mysql_pair: Pair, schema: str) -> None:
    """Also once the server logs cascades: an interrupted copy may have left any of its rows on the target."""
    make(mysql_pair, schema, PARENT, NULLED, on=["source"])
    with Session(mysql_pair.source.endpoint(), Purpose.CONTROL) as source:
        tables = discover(source, Tables(include=[f"{schema}.*"]))
        assert not any(table.whole for table in copied_as_needed(source, tables))
        marked = copied_as_needed(source, tables, {f"{schema}.child"})
        assert [table.id for table in marked if table.whole] == [f"{schema}.child"]


def test_a_prepared_transaction_of_an_ancestor(silent: Pair, schema: str) -> None:
    """It counts from its decision on, and holds the checkpoint back until then."""
    make(silent, schema, PARENT, NULLED, "INSERT INTO parent VALUES (1, 0)", "INSERT INTO child VALUES (10, 1, 5)")
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        before = run.buffer.checkpoint_mark().position
        change(silent, schema, "XA START 'whole'", "DELETE FROM parent", "XA END 'whole'", "XA PREPARE 'whole'")
        run.streamed()
        assert run.buffer.pending_keys() == 0
        assert run.buffer.checkpoint_mark().position == before
        silent.source.decide_xa("XA COMMIT 'whole'")
        run.drain()
        run.equal()
