from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ferry_core.errors import Interrupted
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.schema.counters import raise_counters
from tests.support.servers import Pair
from tests.support.table_pair import PlainFence, TablePair


class CountingFence(PlainFence):
    held = 0

    @contextmanager
    def hold(self, working: Session) -> Iterator[None]:
        self.held += 1
        with super().hold(working):
            yield


def test_all_counters_that_are_behind_are_raised_under_one_fence(pair: Pair, schema: str) -> None:
    both = TablePair(pair, schema)
    both.on_source(*(f"CREATE TABLE t{n} (id int AUTO_INCREMENT PRIMARY KEY)" for n in range(5)))
    tables = both.selected(f"{schema}.*")
    both.on_source(*(f"INSERT INTO t{n} VALUES (7), (8)" for n in range(4)), "DELETE FROM t1", "DELETE FROM t2")
    both.on_target("INSERT INTO t0 VALUES (7), (8)")
    fence, asked = CountingFence(), 0

    def cancelled() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:
            raise Interrupted(Reason.STOPPING, "enough")

    def raised(check: object = cancelled) -> list[str]:
        assert callable(check)
        return [table.source.name for table in raise_counters(both.control, both.target, tables, fence, check)]

    with pytest.raises(Interrupted):
        raised()
    assert raised() == ["t2", "t3"], "t1 was raised before it was cancelled"
    assert raised() == []
    assert fence.held == 2
    pair.target.execute(f"INSERT INTO {schema}.t1 VALUES (NULL)")
    assert pair.target.value(f"SELECT id FROM {schema}.t1") == 9
    both.close()


def test_a_table_without_a_primary_key_where_the_target_wants_one(mysql_pair: Pair, schema: str) -> None:
    """Its key is a UNIQUE index; such a server refuses to alter it at all."""
    both = TablePair(mysql_pair, schema)
    both.on_source("CREATE TABLE t (id int NOT NULL AUTO_INCREMENT, UNIQUE KEY (id)) AUTO_INCREMENT = 50")
    tables = both.selected(f"{schema}.*")
    both.on_target("ALTER TABLE t AUTO_INCREMENT = 1")
    both.target.execute("SET SESSION sql_require_primary_key = ON")
    assert raise_counters(both.control, both.target, tables, both.fence, lambda: None) == tables
    mysql_pair.target.execute(f"INSERT INTO {schema}.t VALUES (NULL)")
    assert mysql_pair.target.value(f"SELECT id FROM {schema}.t") == 50
    both.close()
