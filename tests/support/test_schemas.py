"""Odd tables are as described: each slot has another key that its literals find again; every literal is accepted."""

import contextlib
import random

import pytest

from tests.support import all_types
from tests.support.compare import assert_equal_tables
from tests.support.schemas import OddTable, create_odd_tables, odd_tables
from tests.support.servers import Pair


@pytest.mark.slow
def test_every_slot_of_every_odd_table_is_another_key(pair: Pair, schema: str) -> None:
    tables = odd_tables(pair.family)
    total = create_odd_tables(pair.source, schema, tables, share=1)
    assert total == sum(table.slots for table in tables)
    for table in tables:
        assert pair.source.value(f"SELECT COUNT(*) FROM {schema}.{table.name}") == table.slots
        for slot in random.Random(1).sample(range(table.slots), 12):
            where = table.where(slot)
            assert pair.source.value(f"SELECT COUNT(*) FROM {schema}.{table.name} WHERE {where}") == 1, where


def test_another_spelling_is_the_same_key(pair: Pair, schema: str) -> None:
    for table in odd_tables(pair.family):
        if table.respelt is None:
            continue
        create_odd_tables(pair.source, schema, [table], share=1)
        differing = 0
        for slot in range(20):
            plain, respelt = table.key_of(slot)[0], table.respelt(slot)[0]
            where = f"{table.key[0]} = {respelt}"
            assert pair.source.value(f"SELECT COUNT(*) FROM {schema}.{table.name} WHERE {where}") == 1
            differing += plain != respelt
        assert differing > 10


def test_every_literal_of_every_type_is_stored(pair: Pair, schema: str) -> None:
    pair.source.execute(all_types.ddl(pair.family, schema))
    pair.source.execute(*all_types.rows(pair.family, schema))
    count = all_types.row_count(pair.family)
    assert pair.source.value(f"SELECT COUNT(*) FROM {schema}.all_types") == count
    for column in all_types.columns(pair.family):
        if column.literals:
            nulls = pair.source.value(f"SELECT COUNT(*) FROM {schema}.all_types WHERE {column.name} IS NULL")
            assert nulls == 1, f"{column.name}: {nulls} rows are NULL"
    kinds = {
        row[0]
        for row in pair.source.query(
            "SELECT DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s", (schema,)
        )
    }
    print(f"{pair.family}: {len(all_types.columns(pair.family))} columns, {count} rows, types {sorted(kinds)}")


@pytest.mark.parametrize("shift", [1, 2])
def test_updates_end_where_rows_of_the_same_shift_do(pair: Pair, schema: str, shift: int) -> None:
    for name in ("a", "b"):
        pair.source.execute(all_types.ddl(pair.family, schema, name), *all_types.rows(pair.family, schema, name))
    pair.source.execute(*all_types.rows(pair.family, schema, "a", shift=shift))
    pair.source.execute(*all_types.updates(pair.family, schema, "b", shift=shift))
    compared = assert_equal_tables(pair.source, pair.source, (schema, "a"), (schema, "b"))
    assert compared.rows == all_types.row_count(pair.family)


def test_literals_keep_their_value(pair: Pair, schema: str) -> None:
    """Values whose loss would go unnoticed, because the insert, not the copy, would cause it."""
    pair.source.execute(all_types.ddl(pair.family, schema), *all_types.rows(pair.family, schema))
    with contextlib.closing(pair.source.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT 1 FROM {schema}.all_types WHERE c_enum = 0 AND c_enum IS NOT NULL")
        assert cursor.fetchall()
        for found in (
            "CAST(c_set_64 AS UNSIGNED) = 18446744073709551615",
            "c_bit_64 = 18446744073709551615",
            "HEX(c_gbk) = '815C'",
            "HEX(c_varbinary) LIKE '000102%FEFF'",
            "CAST(c_date AS CHAR) = '2024-00-15'",
            "CAST(c_timestamp_max AS CHAR) = '0000-00-00 00:00:00.000000'",
            "CAST(c_time_6 AS CHAR) = '-838:59:59.000000'",
            "c_double = 0.1e0 + 0.2e0",
            "LENGTH(c_longblob) = 256000",
            "g_stored = c_smallint * 2",
            "i_hidden = 'hidden'",
        ):
            cursor.execute(f"SELECT COUNT(*) FROM {schema}.all_types WHERE {found}")
            row = cursor.fetchone()
            assert row is not None
            assert row[0] > 0, found


def test_values_write_every_column(pair: Pair, schema: str) -> None:
    table: OddTable = next(table for table in odd_tables(pair.family) if table.unique)
    statement = next(iter(table.inserts(schema, [5], random.Random(0))))
    assert statement.count("`") == 2 * (2 + len(table.key) + 5)
