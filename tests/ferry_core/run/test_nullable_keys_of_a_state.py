"""A UNIQUE index over columns that may be NULL is the key of a resumed run only if the checkpoint names it."""

import pytest

from ferry_core.api.selection import Tables
from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.mysql.session import Purpose, Session
from ferry_core.run.definitions import rediscovered
from ferry_core.schema.significant import differences, digest
from ferry_core.tables.discovery import discover, reread
from ferry_core.tables.nullable import stored
from hack.servers import Family
from tests.support.servers import Pair

RENAMED = "ALTER TABLE `{0}`.t RENAME INDEX by_a TO z"


@pytest.mark.parametrize(
    ("change", "named", "key"),
    [
        ("DO 0", True, "by_a"),
        ("DO 0", False, ""),  # of an older version, or given up
        (RENAMED, True, ""),  # now by_b would be the first one
        ("ALTER TABLE `{0}`.t ALTER INDEX by_a {1}", True, ""),
        ("INSERT INTO `{0}`.t VALUES (NULL, 3)", True, "by_a"),  # an event tells it
    ],
)
def test_only_the_index_of_the_checkpoint_is_the_key(
    pair: Pair, schema: str, change: str, named: bool, key: str
) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (a INT, b INT, UNIQUE by_a (a), UNIQUE by_b (b))",
        f"INSERT INTO `{schema}`.t VALUES (1, 1), (2, 2)",
    )
    selection = Tables(include=[f"{schema}.*"])
    with Session(pair.source.endpoint("source"), Purpose.CONTROL) as source:
        (table,) = discover(source, selection)
        assert table.key.index_name == "by_a"
        known = TableState(started=True, definition=digest(table), nullable_key=stored(table) if named else "")
        state = RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="", tables={table.id: known})
        pair.source.execute(change.format(schema, "INVISIBLE" if pair.family is Family.MYSQL else "IGNORED"))
        (again,) = rediscovered(source, selection, state).found.tables
        assert (again.key.index_name, again.whole) == (key, not key)
        if not key:
            assert not differences(again, reread(source, selection, [table.source])[table.source])


def test_the_first_index_without_null_is_the_key_and_stays_it(pair: Pair, schema: str) -> None:
    """Also if no row has NULL any more in the one before it; without such an index the table has no key."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (a INT, b INT, c INT, UNIQUE by_a (a), UNIQUE by_b (b), UNIQUE by_c (c))",
        f"INSERT INTO `{schema}`.t VALUES (NULL, 1, 1), (2, 2, 2)",
    )
    selection = Tables(include=[f"{schema}.*"])
    with Session(pair.source.endpoint("source"), Purpose.CONTROL) as source:
        (table,) = discover(source, selection)
        assert (table.key.index_name, table.secondary_unique) == ("by_b", True)
        known = TableState(started=True, definition=digest(table), nullable_key=stored(table))
        state = RunState(ferry_uid="u", ferry_name="n", source_id="s", selection="", tables={table.id: known})
        pair.source.execute(f"UPDATE `{schema}`.t SET a = 1 WHERE b = 1")
        (again,) = rediscovered(source, selection, state).found.tables
        assert again.key == table.key
        assert not differences(again, reread(source, selection, [table.source])[table.source])
        pair.source.execute(f"UPDATE `{schema}`.t SET a = NULL, b = NULL, c = NULL WHERE b = 2")
        (without,) = discover(source, selection)
        assert without.whole
