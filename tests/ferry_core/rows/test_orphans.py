"""Rows without a parent on the target are looked for in statements that end, however large the child is."""

import pytest

from ferry_core.api.selection import Tables
from ferry_core.errors import ConnectionLost
from ferry_core.mysql.processes import processes
from ferry_core.rows.referencing import OrphanWalk
from ferry_core.schema.cascades import cascades_among
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyLiterals
from tests.support.servers import Pair
from tests.support.table_pair import TablePair
from tests.support.waits import wait_until

PARENT = "CREATE TABLE p (id INT PRIMARY KEY)"
CHILD = "CREATE TABLE c (id INT, part INT, p INT, PRIMARY KEY (id, part){})"


def test_each_step_looks_at_some_rows_and_at_fewer_after_a_late_answer(pair: Pair, schema: str) -> None:
    both = TablePair(pair, schema)
    both.on_source(PARENT, CHILD.format(", FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE"))
    both.on_target(PARENT, CHILD.format(""), "INSERT INTO p VALUES (1), (2)")
    orphans = ((1, 1, 7), (1, 2, 1), (1, 3, 8), (2, 1, None), (2, 2, 9), (3, 1, 2), (3, 2, 7))
    both.on_target("INSERT INTO c VALUES " + ", ".join(str(row).replace("None", "NULL") for row in orphans))
    (cascade,) = cascades_among(discover(both.control, Tables(include=[f"{schema}.*"])))
    walk, steps = OrphanWalk(cascade), list[list[KeyLiterals]]()
    walk.rows = 4
    late = both.connect_target()
    late.answers_within(1)
    with pair.target.connect() as blocker, blocker.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{schema}`.p WRITE")
        with pytest.raises(ConnectionLost):
            walk.step(late)
        wait_until(
            lambda: all(one.ident != late.connection_id for one in processes(both.target)),
            "the statement ends on the target",
        )
    assert walk.rows == 2
    while not walk.ended:
        steps.append(walk.step(both.target))
    assert steps == [[("1", "1")], [("1", "3")], [("2", "2")], [("3", "2")]]
    both.close()
