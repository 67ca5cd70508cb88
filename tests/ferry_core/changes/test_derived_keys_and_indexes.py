"""Cascades that no event shows, on real servers: keys, indexes and filters of every kind, and random changes."""

import pytest

from ferry_core.changes import derived_keys
from ferry_core.mysql.flavor import Flavor
from ferry_core.rows.chunks import Frontier
from tests.support.cascading import CASCADING, LEAF, PARENT, ROWS, Related, change, copied, make
from tests.support.engine_in_process import Limits
from tests.support.related_tables import RelatedWriters, create
from tests.support.servers import Pair, Server
from tests.support.writers import seed_of_run

IDENTIFYING = (
    "CREATE TABLE a (id INT PRIMARY KEY)",
    (
        "CREATE TABLE b (a INT, n VARCHAR(5), PRIMARY KEY (a, n), FOREIGN KEY (a) REFERENCES a (id) "
        "ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    (
        "CREATE TABLE c (a INT, n VARCHAR(5), k INT, PRIMARY KEY (a, n, k), "
        "FOREIGN KEY (a, n) REFERENCES b (a, n) ON DELETE CASCADE ON UPDATE CASCADE)"
    ),
    "INSERT INTO a VALUES (1), (2), (3)",
    "INSERT INTO b VALUES (1, 'x'), (1, 'y'), (2, 'x')",
    "INSERT INTO c VALUES (1, 'x', 1), (1, 'x', 2), (1, 'y', 1), (2, 'x', 1)",
)


def test_a_cascade_that_changes_the_keys_of_two_tables(silent: Pair, schema: str) -> None:
    make(silent, schema, *IDENTIFYING)
    with Related(silent, schema, copied(schema, "a", "b", "c")) as run:
        run.stream()
        for statement in (
            "UPDATE a SET id = 10 WHERE id = 1",
            "UPDATE b SET n = 'Z' WHERE a = 10 AND n = 'x'",
            "UPDATE a SET id = 1 WHERE id = 10",
            "DELETE FROM b WHERE n = 'z'",
            "DELETE FROM a WHERE id = 1",
        ):
            change(silent, schema, statement)
            run.drain()
            run.equal()
        change(
            silent,
            schema,
            "UPDATE a SET id = 20 WHERE id = 2",
            "UPDATE a SET id = 2 WHERE id = 20",
            "UPDATE a SET id = 21 WHERE id = 2",
        )
        run.drain()
        run.equal()


def test_a_key_that_moves_from_an_unread_range_to_a_copied_one(silent: Pair, schema: str) -> None:
    """The row with its new key has no event, and the chunk that would have read the old key finds nothing."""
    make(silent, schema, *IDENTIFYING[:2])
    make(silent, schema, "INSERT INTO a VALUES (1), (9)", "INSERT INTO b VALUES (1, 'x'), (9, 'y')", on=["source"])
    state = Frontier(None, [(["5", "''"], None)], True, 0, 0)  # rows up to key 5 count as copied
    with Related(silent, schema, copied(schema, "a", b=state)) as run:
        silent.target.execute(f"INSERT INTO `{schema}`.a VALUES (1), (9)", f"INSERT INTO `{schema}`.b VALUES (1, 'x')")
        run.stream()
        change(silent, schema, "UPDATE a SET id = 2 WHERE id = 9")
        run.chunk().join()
        run.drain()
        run.equal()


OTHER_KEYS = {
    "not the key": (
        (
            "CREATE TABLE parent (id INT PRIMARY KEY, code VARCHAR(9) COLLATE utf8mb4_unicode_ci, n INT, "
            "UNIQUE (code), UNIQUE (n)) CHARSET utf8mb4"
        ),
        (
            "CREATE TABLE child (id INT PRIMARY KEY, p VARCHAR(9) COLLATE utf8mb4_unicode_ci, "
            "FOREIGN KEY (p) REFERENCES parent (code) ON DELETE CASCADE ON UPDATE CASCADE) CHARSET utf8mb4"
        ),
        "INSERT INTO parent VALUES (1, 'ä', 1), (2, NULL, 2), (3, 'c', 3), (4, 'd', NULL)",
        "INSERT INTO child VALUES (10, 'Ä'), (11, 'ä'), (30, 'c'), (31, 'C'), (40, 'd')",
        "UPDATE parent SET code = 'x', n = NULL WHERE id = 1",
        "UPDATE parent SET code = 'C' WHERE id = 3",
        "UPDATE parent SET code = 'e' WHERE id = 2",
        "INSERT INTO child VALUES (20, 'E')",
        "DELETE FROM parent WHERE id IN (2, 4)",
    ),
    "composite": (
        "CREATE TABLE parent (id INT PRIMARY KEY, a INT, b DATE, c DECIMAL(5, 2), UNIQUE (c, a, b))",
        (
            "CREATE TABLE child (id INT PRIMARY KEY, x INT, y DATE, z DECIMAL(5, 2), "
            "FOREIGN KEY (z, x, y) REFERENCES parent (c, a, b) ON DELETE SET NULL ON UPDATE CASCADE)"
        ),
        "INSERT INTO parent VALUES (1, 1, '2024-01-01', 1.5), (2, 2, NULL, 2.5), (3, 3, '2024-01-03', 3.5)",
        "INSERT INTO child VALUES (10, 1, '2024-01-01', 1.5), (20, 2, NULL, 2.5), (30, 3, '2024-01-03', 3.5)",
        "UPDATE parent SET c = 7.25 WHERE id = 1",
        "UPDATE parent SET b = '2024-02-02' WHERE id = 2",
        "DELETE FROM parent WHERE id = 3",
    ),
    "binary": (
        "CREATE TABLE parent (id BINARY(4) PRIMARY KEY)",
        CASCADING.replace("p INT", "p BINARY(4)"),
        "INSERT INTO parent VALUES (0x01020300), (0x61620000)",
        "INSERT INTO child VALUES (1, 0x01020300), (2, 0x61620000)",
        "DELETE FROM parent WHERE id = 0x01020300",
    ),
}


@pytest.mark.parametrize("kind", OTHER_KEYS)
def test_other_referenced_columns(silent: Pair, schema: str, kind: str) -> None:
    statements = OTHER_KEYS[kind]
    make(silent, schema, *statements[:4])
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, *statements[4:])
        run.drain()
        run.equal()


BY_CODE = (
    "CREATE TABLE parent (id INT PRIMARY KEY, code VARCHAR(20) COLLATE utf8mb4_unicode_ci UNIQUE) CHARSET utf8mb4",
    (
        "CREATE TABLE child (id INT PRIMARY KEY, p VARCHAR(20) COLLATE utf8mb4_unicode_ci, {}, KEY of_parent (p), "
        "FOREIGN KEY (p) REFERENCES parent (code) ON DELETE CASCADE) CHARSET utf8mb4"
    ),
    "INSERT INTO parent VALUES (1, 'straße'), (2, 'b')",
    "INSERT INTO child (id, p) VALUES (10, 'strasse'), (11, 'straße'), (20, 'b')",
)


@pytest.mark.parametrize("kind", ["prefixes", "invisible"])
def test_an_index_that_does_not_find_each_reference(silent: Pair, schema: str, kind: str) -> None:
    """Its name is the first. 'strasse' and 'straße' are equal, their prefixes are not."""
    hidden = "IGNORED" if silent.flavor is Flavor.MARIADB else "INVISIBLE"
    index = {"prefixes": "KEY aaa (p(5))", "invisible": f"KEY aaa (p, id) {hidden}"}[kind]
    make(silent, schema, *(statement.format(index) for statement in BY_CODE))
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        assert run.ids("child") == [20]
        run.equal()


@pytest.mark.parametrize("server", ["source", "target"])
def test_an_index_that_takes_another_s_place(silent: Pair, schema: str, server: str) -> None:
    """Both families then drop the index that they have made for the constraint, without being asked to."""
    make(
        silent, schema, PARENT,
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, v INT, "
        "CONSTRAINT own FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)",
        "INSERT INTO parent VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)",
        "INSERT INTO child VALUES (10, 1, 0), (20, 2, 0), (30, 3, 0)",
    )  # fmt: skip
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        other: Server = getattr(silent, server)
        other.execute("SET sql_log_bin = 0", f"ALTER TABLE `{schema}`.child ADD INDEX another (p, v)")
        assert "KEY `own`" not in str(other.query(f"SHOW CREATE TABLE `{schema}`.child"))
        change(silent, schema, "DELETE FROM parent WHERE id = 2")
        run.drain()
        assert run.ids("child") == [30]
        run.equal()


def test_an_index_that_the_target_lacks(silent: Pair, schema: str) -> None:
    """One over prefixes is not used in its place."""
    make(silent, schema, *(statement.format("KEY aaa (p(5))") for statement in BY_CODE), on=["source"])
    lacking = BY_CODE[1].replace(", KEY of_parent (p), FOREIGN KEY (p) REFERENCES parent (code) ON DELETE CASCADE", "")
    make(silent, schema, BY_CODE[0], lacking.format("KEY aaa (p(5))"), *BY_CODE[2:], on=["target"])
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        assert run.ids("child") == [20]


def test_a_row_filter_that_rows_enter_and_leave(silent: Pair, schema: str) -> None:
    make(
        silent, schema, PARENT,
        "CREATE TABLE child (id INT PRIMARY KEY, p INT, "
        "FOREIGN KEY (p) REFERENCES parent (id) ON UPDATE CASCADE ON DELETE CASCADE)",
    )  # fmt: skip
    make(
        silent,
        schema,
        "INSERT INTO parent VALUES (1, 'a', 0), (2, 'b', 0)",
        "INSERT INTO child VALUES (10, 1), (20, 2), (21, 2)",
        on=["source"],
    )
    silent.target.execute(
        f"INSERT INTO `{schema}`.parent VALUES (1, 'a', 0), (2, 'b', 0)", f"INSERT INTO `{schema}`.child VALUES (10, 1)"
    )
    rules = [{"match": f"{schema}.child", "where": "p IN (1, 5)"}]
    with Related(silent, schema, copied(schema, "parent", "child"), rules=rules) as run:
        run.stream()
        change(silent, schema, "UPDATE parent SET id = 7 WHERE id = 1", "UPDATE parent SET id = 5 WHERE id = 2")
        run.drain()
        assert run.ids("child") == [20, 21]
        assert run.ids("parent") == [5, 7]


def test_xa(silent: Pair, schema: str) -> None:
    """The rows of a prepared transaction, and those that follow them, count from its decision on."""
    make(silent, schema, PARENT, CASCADING, *ROWS)
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        before = run.buffer.checkpoint_mark().position
        change(
            silent,
            schema,
            "XA START 'derived'",
            "DELETE FROM parent WHERE id = 1",
            "XA END 'derived'",
            "XA PREPARE 'derived'",
        )
        run.streamed()
        assert run.buffer.pending_keys() == 0
        assert run.buffer.checkpoint_mark().position == before
        silent.source.decide_xa("XA COMMIT 'derived'")
        run.drain()
        assert run.ids("child") == [20]
        run.equal()


def test_a_parent_with_more_children_than_fit_into_memory(
    silent: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are found and written page by page, and what follows from them is written before the next page."""
    monkeypatch.setattr(derived_keys, "PAGE_KEYS", 10)
    make(
        silent,
        schema,
        PARENT,
        CASCADING,
        LEAF,
        "INSERT INTO parent VALUES (1, 'a', 0), (2, 'b', 0)",
        "INSERT INTO child SELECT seq, 1 + seq % 2 FROM (SELECT a.n + 10 * b.n + 100 * c.n AS seq FROM "
        + ", ".join(f"(SELECT 0 AS n {'UNION SELECT 1 UNION SELECT 2 UNION SELECT 3'}) AS {name}" for name in "abc")
        + ") AS numbers",
        "INSERT INTO leaf SELECT id, id FROM child",
    )
    with Related(silent, schema, copied(schema, "parent", "child", "leaf"), Limits(buffer_bytes=3000)) as run:
        run.stream()
        most = 0
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.streamed()
        while waiting := [move for move, _ in run.buffer.waiting()]:
            run.flusher().flush(*waiting)
            most = max(most, run.buffer.pending_keys())
        assert most <= 30
        assert len(run.ids("leaf")) == 32
        run.equal()


def test_random_changes(silent: Pair, schema: str) -> None:
    """Flushed while they are written; equal whenever the writers pause."""
    seed = seed_of_run()
    create(silent.source, schema, seed, 1500)
    with Related(silent, schema) as run:
        run.go()
        run.quiet()
        run.suspect_orphans()
        for number in range(4):
            with RelatedWriters(silent.source, schema, seed + number) as writers:
                writers.wait(1500)
            run.quiet()
            run.equal()
