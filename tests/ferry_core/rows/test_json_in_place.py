"""Which JSON documents change as text. A document updated in place does not."""

import pytest

from tests.support.servers import Pair
from tests.support.table_pair import TablePair

SIZED = "SELECT COUNT(*) FROM `{}`.t WHERE JSON_STORAGE_FREE(j) > 0"


@pytest.mark.parametrize("row_format", ["DYNAMIC", "COMPRESSED"])
def test_holes_and_old_offsets_are_not_counted_as_changed(mysql_pair: Pair, schema: str, row_format: str) -> None:
    table = f"`{schema}`.t"
    mysql_pair.source.execute(
        f"CREATE TABLE {table} (id INT PRIMARY KEY, j JSON) ROW_FORMAT={row_format}",
        f"INSERT INTO {table} SELECT n, JSON_OBJECT('a', REPEAT('x', n), 'b', JSON_ARRAY(1, 'long text', NULL), 'c', "
        "JSON_OBJECT('d', 1e0, 'e', 2)) FROM JSON_TABLE('[100,2000,70000]', '$[*]' COLUMNS (n INT PATH '$')) AS n",
        f"UPDATE {table} SET j = JSON_SET(j, '$.b[1]', 'short')",
        f"UPDATE {table} SET j = JSON_REMOVE(j, '$.c.d')",
        f"UPDATE {table} SET j = JSON_REPLACE(j, '$.c', 7) WHERE id = 2000",
        # Created with more than 64 KiB, so that its offsets take four bytes each; small by now.
        f"UPDATE {table} SET j = JSON_SET(j, '$.a', 'small') WHERE id = 70000",
    )
    assert mysql_pair.source.value(SIZED.format(schema)) == 3, "these updates were not made in place"
    assert _changed(mysql_pair, schema) == 0
    mysql_pair.source.execute(
        f"UPDATE {table} SET j = JSON_SET(j, '$.a', CAST('1.10' AS DECIMAL(9,2))) WHERE id = 70000",
        f"UPDATE {table} SET j = JSON_SET(j, '$.c', DATE '2024-01-01') WHERE id = 2000",
    )
    assert _changed(mysql_pair, schema) == 2


def test_decimals_as_long_as_a_double(mysql_pair: Pair, schema: str) -> None:
    """Equal to the double in value, text and size, alone and combined, at any depth; only its type differs."""
    table = f"`{schema}`.t"
    exact = ("[1.5, 2]", '{"a.b": [[1, [2.25]]]}', '"12345.67"', "[]", "-0.0", '[1, "1.5"]')
    lost = (
        *("CAST(12345.67 AS JSON)", "JSON_ARRAY(123.456)", "JSON_OBJECT('p', JSON_ARRAY(1, JSON_ARRAY(-1234.567, 2)))"),
        *("JSON_OBJECT('a', JSON_OBJECT('b.c', 1.123456))", "JSON_ARRAY(1.5, 12345678.91, 12345678.91)"),
    )
    values = [*(f"CAST('{text}' AS JSON)" for text in exact), *lost, "NULL"]
    mysql_pair.source.execute(
        f"CREATE TABLE {table} (id INT PRIMARY KEY, j JSON, `leaf` JSON)",
        f"INSERT INTO {table} (id, j) VALUES " + ", ".join(f"({at}, {value})" for at, value in enumerate(values)),
    )
    assert _changed(mysql_pair, schema) == len(lost)


def _changed(pair: Pair, schema: str) -> int:
    both = TablePair(pair)
    try:
        seen: list[int] = []
        both.copy_all(both.selected(f"{schema}.t"), seen=lambda result: seen.append(result.json_changed))
        return sum(seen)
    finally:
        both.close()
