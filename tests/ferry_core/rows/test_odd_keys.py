"""Keys of every kind: chunks partition the table, key sets find each row, and the key's index is used for both."""

import itertools
import random
from collections.abc import Sequence

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import next_bound
from ferry_core.tables.predicates import where
from ferry_core.tables.table import KeyLiterals, KeyRange, KeySet, Selector, Table
from tests.support.compare import assert_equal_schemas, assert_equal_tables
from tests.support.schemas import OddTable, odd_tables
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

SEED = 20260
RANGE_TYPES = {b"range", b"ref", b"eq_ref", b"const"}


def fill(pair: Pair, schema: str, tables: Sequence[OddTable], slots: int = 1200) -> None:
    rng = random.Random(SEED)
    print("seed", SEED)
    for table in tables:
        pair.source.execute(table.ddl(schema), *table.inserts(schema, range(min(slots, table.slots)), rng))


def in_table(session: Session, table: Table, selector: Selector) -> int:
    return session.number(
        f"SELECT COUNT(*) FROM {table.source.sql} FORCE INDEX ({identifier(table.key.index_name)})"
        f" WHERE {where(table.key, selector)}"
    )


def plan(session: Session, table: Table, selector: Selector) -> tuple[bytes | None, int]:
    """Access type and estimated rows of the only step."""
    style = "EXPLAIN FORMAT=TRADITIONAL" if session.flavor is Flavor.MYSQL else "EXPLAIN"
    rows = session.query(
        f"{style} SELECT * FROM {table.source.sql} FORCE INDEX ({identifier(table.key.index_name)})"
        f" WHERE {where(table.key, selector)}"
    )
    assert len(rows) == 1, f"{table.id}: {rows}"
    at = (4, 9) if session.flavor is Flavor.MYSQL else (3, 8)
    return rows[0][at[0]], int(rows[0][at[1]] or 0)


@pytest.mark.parametrize("step", [1, 7, 250])
def test_chunks_partition_every_table(pair: Pair, both: TablePair, schema: str, step: int) -> None:
    fill(pair, schema, odd_tables(pair.family), 1200 if step > 1 else 60)
    for table in both.selected(f"{schema}.*"):
        keys = both.keys(table)
        assert len(set(keys)) == len(keys)
        lo: KeyLiterals | None = None
        seen = chunks = 0
        while True:
            hi = next_bound(both.plain, table, lo, step)
            count = in_table(both.plain, table, KeyRange(lo, hi))
            chunks += 1
            seen += count
            if hi is None:
                break
            assert count == step, f"{table.id}: {count} rows in ({lo}, {hi}]"
            assert hi == keys[seen - 1]
            lo = hi
        assert seen == len(keys), f"{table.id}: {seen} of {len(keys)} rows in {chunks} chunks"


def test_every_kind_of_session_finds_the_same_rows(pair: Pair, both: TablePair, schema: str) -> None:
    fill(pair, schema, odd_tables(pair.family))
    for table in both.selected(f"{schema}.*"):
        keys = both.keys(table)
        assert both.keys(table, both.text) == keys
        middle, later = keys[len(keys) // 2], keys[len(keys) * 3 // 4]
        for session in (both.plain, both.text, both.control):
            assert in_table(session, table, KeySet(tuple(keys[::3]))) == len(keys[::3]), table.id
            assert in_table(session, table, KeyRange(middle, later)) == len(keys) * 3 // 4 - len(keys) // 2, table.id
            assert session.warning_count == 0


def test_ranges_and_key_lists_use_the_key(pair: Pair, both: TablePair, schema: str) -> None:
    unique = [table for table in odd_tables(pair.family) if table.slots >= 4000]
    fill(pair, schema, unique, 4000)
    by_name = {table.source.name: table for table in both.selected(f"{schema}.*")}
    # Enough rows that an index scan never looks cheaper than 300 single reads.
    for table in by_name.values():
        both.control.query(f"ANALYZE TABLE {table.source.sql}")
        keys = both.keys(table)
        for session in (both.plain, both.text):
            for selector in (KeyRange(keys[1000], keys[1200]), KeySet(tuple(keys[::13])), KeySet((keys[5],))):
                access, rows = plan(session, table, selector)
                assert access in RANGE_TYPES, f"{table.id} {type(selector).__name__}: {access!r}"
                assert rows < 2000, f"{table.id}: {rows} rows to read for {type(selector).__name__}"


def test_rows_with_null_are_in_one_range_each(pair: Pair, both: TablePair, schema: str) -> None:
    """Not copied by key, but compared: somebody may have added them on the target."""
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (e ENUM('x', 'y', 'z'), b INT, c VARCHAR(9), n INT, UNIQUE by_all (e, b, c))",
        f"INSERT INTO `{schema}`.t (e, b, c) VALUES "
        + ",".join(f"({1 + row // 1000}, {row % 1000 // 10}, '{row % 10}')" for row in range(3000)),
    )
    (table,) = both.selected(f"{schema}.t")
    assert table.key.nullable
    bounds = [both.keys(table)[at] for at in (300, 377, 1000, 1999, 2500)]
    ranges = [KeyRange(lo, hi) for lo, hi in itertools.pairwise([None, *bounds, None])]
    before = [in_table(both.plain, table, each) for each in ranges]
    nulls = [values for values in itertools.product(("NULL", "2"), ("NULL", "77"), ("NULL", "'n'")) if "NULL" in values]
    pair.source.execute(
        f"INSERT INTO `{schema}`.t (e, b, c) VALUES {','.join(f'({e}, {b}, {c})' for e, b, c in nulls * 2)}",
        f"ANALYZE TABLE `{schema}`.t",
    )
    after = [in_table(both.plain, table, each) for each in ranges]
    assert sum(after) - sum(before) == len(nulls) * 2
    for each in ranges[:-1]:
        access, _ = plan(both.plain, table, each)
        assert access in RANGE_TYPES, f"{each}: {access!r}"


def test_three_thousand_keys_at_once_make_no_scan(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (a INT, w VARCHAR(20) CHARACTER SET utf8mb4, b BIGINT, PRIMARY KEY (a, w, b))",
        *(
            f"INSERT INTO `{schema}`.t VALUES "
            + ",".join(f"({row % 100}, 'wört{row % 7}', {row})" for row in range(start, start + 4000))
            for start in range(0, 40000, 4000)
        ),
        f"ANALYZE TABLE `{schema}`.t",
    )
    table = both.selected(f"{schema}.t")[0]
    keys = tuple(both.keys(table)[::13][:3000])
    for session in (both.plain, both.text):
        access, rows = plan(session, table, KeySet(keys))
        assert access == b"range"
        assert rows <= 4000
        assert in_table(session, table, KeySet(keys)) == 3000
        assert session.warning_count == 0


def test_odd_tables_are_copied_by_range_then_followed_by_key(pair: Pair, both: TablePair, schema: str) -> None:
    odd = odd_tables(pair.family)
    fill(pair, schema, odd)
    tables = {table.source.name: table for table in both.selected(f"{schema}.*")}
    print(both.copy_all(list(tables.values())), "rows sent")
    print(assert_equal_schemas(pair.source, pair.target, schema))
    rng = random.Random(SEED)
    for one in odd:
        table = tables[one.name]
        keys = both.keys(table)
        gone, changed = tuple(keys[::5]), tuple(keys[1::5])
        count = min(1200, one.slots)
        fresh = [] if count == one.slots else list(range(count, min(count + 50, one.slots)))
        pair.source.execute(
            f"DELETE FROM {table.source.sql} WHERE {where(table.key, KeySet(gone))}",
            f"UPDATE {table.source.sql} SET n = 7, s = 'changed' WHERE {where(table.key, KeySet(changed))}",
            *one.inserts(schema, fresh, rng),
        )
        asked = (*gone, *changed, *(key for key in both.keys(table) if key not in set(keys)))
        result = both.copier().copy(table, KeySet(asked))
        assert result.rows_asked == len(asked)
        assert result.deleted_missing == len(gone), table.id
        assert result.rows_sent == len(changed) + len(fresh), table.id
    assert_equal_schemas(pair.source, pair.target, schema)


def test_a_key_changed_within_its_collation_is_replaced(pair: Pair, both: TablePair, schema: str) -> None:
    pair.source.execute(
        f"CREATE TABLE `{schema}`.t (w VARCHAR(20) COLLATE utf8mb4_general_ci PRIMARY KEY, n INT)",
        f"INSERT INTO `{schema}`.t VALUES ('key', 1), ('other', 2), ('gone', 3)",
    )
    table = both.selected(f"{schema}.t")[0]
    both.copy_all([table])
    pair.source.execute(f"UPDATE `{schema}`.t SET w = 'KEY' WHERE w = 'key'", f"DELETE FROM `{schema}`.t WHERE n = 3")
    # As an UPDATE event gives them: the old key and the new one, which is the same to the index.
    asked = (("_utf8mb4 0x6b6579",), ("_utf8mb4 0x4b4559",), ("_utf8mb4 0x676f6e65",))
    both.copier().copy(table, KeySet(asked))
    assert_equal_tables(pair.source, pair.target, f"{schema}.t")
