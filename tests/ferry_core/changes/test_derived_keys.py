"""Cascades that no event shows, on real servers: each interleaving that loses a change or leaves a ghost is forced."""

import pytest

from tests.support.cascading import CASCADING, LEAF, PARENT, ROWS, Related, change, copied, make
from tests.support.engine_in_process import (
    any_chunk,
    chunks_of,
    keys_of,
    stalled,
)
from tests.support.servers import Pair

ACTIONS = {
    "delete": ("parent (id) ON DELETE CASCADE", "DELETE FROM parent WHERE id IN (1, 3)"),
    "update": ("parent (id) ON UPDATE CASCADE", "UPDATE parent SET id = id + 100 WHERE id IN (1, 3)"),
    "delete to null": ("parent (id) ON DELETE SET NULL", "DELETE FROM parent WHERE id IN (1, 3)"),
    "update to null": ("parent (id) ON UPDATE SET NULL", "UPDATE parent SET id = id + 100 WHERE id IN (1, 3)"),
    "replace": ("parent (id) ON DELETE CASCADE", "REPLACE INTO parent VALUES (1, 'a', 7), (9, 'c', 7)"),
    "moved and deleted": (
        "parent (id) ON DELETE CASCADE ON UPDATE CASCADE",
        "UPDATE parent SET id = 5 WHERE id = 1; UPDATE parent SET id = 6 WHERE id = 5; DELETE FROM parent WHERE id = 6",
    ),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action(silent: Pair, schema: str, action: str) -> None:
    constraint, changes = ACTIONS[action]
    make(
        silent, schema, PARENT,
        f"CREATE TABLE child (id INT PRIMARY KEY, p INT, FOREIGN KEY (p) REFERENCES {constraint})",
        "INSERT INTO parent VALUES (1, 'a', 0), (2, 'b', 0), (3, 'c', 0)",
        "INSERT INTO child VALUES (10, 1), (11, 1), (20, 2), (30, 3), (40, NULL)",
    )  # fmt: skip
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, *changes.split("; "))
        run.drain()
        run.equal()


LEAVES = "INSERT INTO leaf VALUES (100, 10), (101, 10), (200, 20)"


def test_a_cascade_while_a_chunk_of_the_child_is_read(
    silent: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chunk has read row 10; the lookup must wait until it is on the target, and find it there."""
    make(silent, schema, PARENT, CASCADING, ROWS[0])
    make(silent, schema, ROWS[1], on=["source"])
    state = copied(schema, "parent", child=chunks_of())
    with Related(silent, schema, state) as run, stalled(monkeypatch, any_chunk) as stall:
        run.stream()
        chunk = run.chunk()
        stall.wait()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.streamed()
        flush = run.flush("child")
        assert flush.stays(), "rows were looked for while a chunk of their table was under way"
        stall.release()
        chunk.join()
        flush.join()
        run.drain()
        assert run.ids("child") == [20]
        run.equal()


def test_a_parent_whose_chunk_is_unread(silent: Pair, schema: str) -> None:
    """The target has never had the parent's row: only its event says what its children referenced."""
    make(silent, schema, PARENT, CASCADING)
    make(silent, schema, *ROWS, on=["source"])
    make(silent, schema, *ROWS[1:], on=["target"])
    state = copied(schema, "child", parent=chunks_of())
    with Related(silent, schema, state) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        run.chunk().join()
        assert run.ids("child") == [20]
        run.equal()


def test_a_child_that_is_inserted_after_the_parent_s_event(silent: Pair, schema: str) -> None:
    """Row 11 is on the target only because of its own event, which a generation before the DELETE has flushed."""
    make(silent, schema, PARENT, CASCADING, *ROWS)
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, "INSERT INTO child VALUES (11, 1), (12, 1)", "UPDATE child SET p = 2 WHERE id = 12")
        run.drain()
        change(
            silent,
            schema,
            "DELETE FROM parent WHERE id = 1",
            "INSERT INTO parent VALUES (1, 'new', 0)",
            "INSERT INTO child VALUES (10, 1), (13, 1)",
        )
        run.drain()
        assert run.ids("child") == [10, 12, 13, 20]
        run.equal()


def test_a_generation_that_reads_before_the_cascade_and_writes_after_its_lookup(
    silent: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(silent, schema, PARENT, CASCADING, *ROWS)
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, "INSERT INTO child VALUES (11, 1)")
        run.streamed()
        with stalled(monkeypatch, lambda _, selector: keys_of(selector) == ["11"]) as stall:
            first = run.flush("child")
            stall.wait()
            change(silent, schema, "DELETE FROM parent WHERE id = 1")
            run.streamed()
            second = run.flush("child")
            assert second.stays()
            stall.release()
            first.join()
            second.join()
        run.drain()
        assert run.ids("child") == [20]
        run.equal()


def test_a_run_that_dies_between_the_parent_s_event_and_its_lookup(silent: Pair, schema: str) -> None:
    """The parent's row is on the target; the checkpoint must not pass its event before its children are."""
    make(silent, schema, PARENT, CASCADING, *ROWS)
    with Related(silent, schema, copied(schema, "parent", "child")) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.streamed()
        run.flush("parent").join()
        assert run.ids("parent") == [2]
        state = run.checkpoint()
    with Related(silent, schema, state) as successor:
        successor.stream()
        successor.drain()
        assert successor.ids("child") == [20]
        successor.equal()


def test_a_cascade_through_two_tables(silent: Pair, schema: str) -> None:
    make(silent, schema, PARENT, CASCADING, LEAF, *ROWS, LEAVES)
    with Related(silent, schema, copied(schema, "parent", "child", "leaf")) as run:
        run.stream()
        change(
            silent,
            schema,
            "INSERT INTO child VALUES (11, 1)",
            "INSERT INTO leaf VALUES (110, 11)",
            "DELETE FROM parent WHERE id = 1",
        )
        run.drain()
        assert run.ids("leaf") == [200]
        run.equal()


def test_a_middle_row_that_the_target_has_never_had(silent: Pair, schema: str) -> None:
    """Its insert and its cascade are over before it is read; its child came to the target in between."""
    make(silent, schema, PARENT, CASCADING, LEAF, *ROWS, LEAVES)
    with Related(silent, schema, copied(schema, "parent", "child", "leaf")) as run:
        run.stream()
        change(silent, schema, "INSERT INTO child VALUES (11, 1)", "INSERT INTO leaf VALUES (110, 11)")
        run.streamed()
        run.flush("leaf").join()
        assert 110 in run.ids("leaf")
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        assert run.ids("leaf") == [200]
        run.equal()


def test_a_middle_row_whose_chunk_was_read_too_late(silent: Pair, schema: str) -> None:
    """No event and no row on the target leads to the leaves: they are found as rows without a parent."""
    make(silent, schema, PARENT, CASCADING, LEAF)
    make(silent, schema, *ROWS, LEAVES, on=["source"])
    make(silent, schema, ROWS[0], LEAVES, on=["target"])
    state = copied(schema, "parent", "leaf", child=chunks_of())
    with Related(silent, schema, state) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.drain()
        run.chunk().join()
        assert run.ids("leaf") == [100, 101, 200], "the leaves should not be found yet"
        run.suspect_orphans()
        run.drain()
        assert run.ids("leaf") == [200]
        run.equal()


def test_a_run_that_dies_between_two_tables_of_a_cascade(silent: Pair, schema: str) -> None:
    """The middle row is gone from the target, and with it the way from the parent's event to the leaves."""
    make(silent, schema, PARENT, CASCADING, LEAF, *ROWS, LEAVES)
    with Related(silent, schema, copied(schema, "parent", "child", "leaf")) as run:
        run.stream()
        change(silent, schema, "DELETE FROM parent WHERE id = 1")
        run.streamed()
        run.flush("parent").join()
        run.flush("child").join()
        state = run.checkpoint()
    with Related(silent, schema, state) as successor:
        successor.stream()
        successor.suspect_orphans()
        successor.drain()
        assert successor.ids("leaf") == [200]
        successor.equal()


TREE = (
    (
        "CREATE TABLE tree (id INT PRIMARY KEY, p INT, v INT NOT NULL DEFAULT 0, "
        "FOREIGN KEY (p) REFERENCES tree (id) ON DELETE CASCADE)"
    ),
    "INSERT INTO tree (id, p) VALUES (1, NULL), (2, 1), (3, 2), (4, 3), (5, 4), (6, 1), (7, NULL), (8, 7)",
)


def test_a_table_that_references_itself(silent: Pair, schema: str) -> None:
    make(silent, schema, *TREE)
    with Related(silent, schema, copied(schema, "tree")) as run:
        run.stream()
        change(silent, schema, "UPDATE tree SET v = 1 WHERE id = 4", "DELETE FROM tree WHERE id = 1")
        run.drain()
        assert run.ids("tree") == [7, 8]
        run.equal()


CIRCLE = (
    "CREATE TABLE one (id INT PRIMARY KEY, other INT, FOREIGN KEY (other) REFERENCES two (id) ON DELETE CASCADE)",
    "CREATE TABLE two (id INT PRIMARY KEY, one INT, FOREIGN KEY (one) REFERENCES one (id) ON DELETE CASCADE)",
    "INSERT INTO one VALUES (1, 10), (2, 11), (3, NULL), (4, 12)",
    "INSERT INTO two VALUES (10, 2), (11, 1), (12, 3)",
)


def test_tables_that_reference_each_other_in_a_circle(silent: Pair, schema: str) -> None:
    make(silent, schema, *CIRCLE)
    with Related(silent, schema, copied(schema, "one", "two")) as run:
        run.stream()
        change(silent, schema, "DELETE FROM one WHERE id = 3", "DELETE FROM one WHERE id = 1")
        run.drain()
        run.equal()
        change(
            silent,
            schema,
            "SET foreign_key_checks = 0",
            "INSERT INTO one VALUES (7, 70), (8, 80)",
            "INSERT INTO two VALUES (70, 8), (80, 7)",
            "DELETE FROM one WHERE id = 7",
        )
        run.drain()
        run.equal()
