"""Tables whose key the spec names (``tables.rules[].key``): no index of the target makes REPLACE find their rows."""

from collections.abc import Iterator

import pytest

from ferry_core.api.selection import TableRule, Tables
from ferry_core.errors import KeyUnusable
from ferry_core.reasons import Reason
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyRange, KeySet, Table
from tests.support.keyless import assert_same_rows
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

EVERY = KeyRange(None, None)


@pytest.fixture
def both(pair: Pair, schema: str) -> Iterator[TablePair]:
    it = TablePair(pair, schema)
    yield it
    it.close()


def promised(both: TablePair, columns: str, rows: str) -> Table:
    """Created on both servers, filled on the source."""
    both.on_both(f"CREATE TABLE t ({columns}, u VARCHAR(20) COLLATE utf8mb4_general_ci, n INT, INDEX by_u (u, n))")
    both.on_source(f"INSERT INTO t (u, n) VALUES {rows}")
    rule = TableRule(match=f"{both.schema}.t", key=["U"])
    (table,) = discover(both.control, Tables(include=[f"{both.schema}.t"], rules=[rule]))
    assert table.key.promised
    return table


def keys(*texts: str) -> KeySet:
    return KeySet(tuple((f"_utf8mb4 0x{text.encode().hex()}",) for text in texts))


def equal(both: TablePair) -> int:
    return assert_same_rows(both.pair.source, both.pair.target, both.schema, "t")


def test_a_repeated_step_has_the_same_effect(both: TablePair) -> None:
    """As after a kill, or an answer that was lost."""
    table = promised(both, "x INT", "('a', 1), ('b', 2), ('c', 3)")
    for _ in range(2):
        both.copier().copy(table, EVERY)
        assert equal(both) == 3
    both.on_source("UPDATE t SET n = 22, u = 'B' WHERE u = 'b'", "DELETE FROM t WHERE u = 'a'")
    for batch in (keys("a", "b", "B"), keys("b"), keys("B"), keys("a")) * 2:
        both.copier().copy(table, batch)
    assert equal(both) == 2


def test_rows_of_other_ranges_stay(both: TablePair) -> None:
    table = promised(both, "x INT", "('a', 1), ('b', 2), ('c', 3), ('d', 4)")
    both.copier().copy(table, EVERY)
    lo, hi = (key for key in keys("a", "c").keys)
    both.on_source("UPDATE t SET x = 7")
    both.copier().copy(table, KeyRange(lo, hi))
    found = dict(both.pair.target.query(f"SELECT u, x FROM `{both.schema}`.t"))
    assert found == {"a": None, "b": 7, "c": 7, "d": None}


def test_equal_rows_are_copied_as_often_and_noticed(both: TablePair) -> None:
    table = promised(both, "x INT", "('a', 1), ('b', 2)")
    both.on_source("INSERT INTO t (u, n) VALUES ('B', 2)")
    for _ in range(2):
        both.copier().copy(table, EVERY)
        both.copier().copy(table, keys("b"))  # the two are equal in SQL only
        assert equal(both) == 3
    both.on_source("INSERT INTO t (u, n) VALUES ('a', 1)")
    with pytest.raises(KeyUnusable) as met:
        both.copier().copy(table, keys("a"))
    assert met.value.reason is Reason.KEY_NOT_UNIQUE
    both.copier().copy(table, EVERY)
    assert equal(both) == 4


def test_big_rows_are_replaced(both: TablePair) -> None:
    """They have a transaction of their own, after that of the others."""
    table = promised(both, "x LONGTEXT", "('a', 1), ('big', 2), ('c', 3)")
    both.on_source("UPDATE t SET x = REPEAT('x', 60000) WHERE u = 'big'")
    copier = both.copier()
    copier._packet = 1 << 16
    for selector in (EVERY, EVERY, keys("big"), keys("a", "big", "none")):
        copier.copy(table, selector)
        assert equal(both) == 3
    both.on_source("UPDATE t SET u = 'BIG', x = 'small' WHERE u = 'big'")
    for selector in (keys("big"), keys("BIG"), EVERY):
        copier.copy(table, selector)
        assert equal(both) == 3
