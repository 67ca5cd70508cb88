"""A JSON document that was updated in place is no loss; one that its text cannot tell still is."""

import pytest

from tests.support.crossing import Crossing
from tests.support.servers import Pair

SIZED = "SELECT COUNT(*) FROM `{}`.t WHERE JSON_STORAGE_FREE(j) > 0"


@pytest.mark.parametrize("row_format", ["DYNAMIC", "COMPRESSED"])
def test_holes_and_old_offsets_are_no_loss(mysql_pair: Pair, schema: str, row_format: str) -> None:
    table = f"`{schema}`.t"
    mysql_pair.source.execute(
        f"CREATE TABLE {table} (id INT PRIMARY KEY, j JSON) ROW_FORMAT={row_format}",
        f"INSERT INTO {table} SELECT n, JSON_OBJECT('a', REPEAT('x', n), 'b', JSON_ARRAY(1, 'long text', NULL), 'c', "
        "JSON_OBJECT('d', 1e0, 'e', 2)) FROM JSON_TABLE('[100,2000,70000]', '$[*]' COLUMNS (n INT PATH '$')) AS n",
        f"UPDATE {table} SET j = JSON_SET(j, '$.b[1]', 'short')",
        f"UPDATE {table} SET j = JSON_REMOVE(j, '$.c.d')",
        f"UPDATE {table} SET j = JSON_REPLACE(j, '$.c', 7) WHERE id = 2000",
        # Begun as a document of more than 64 KiB, whose offsets take four bytes each, and small by now.
        f"UPDATE {table} SET j = JSON_SET(j, '$.a', 'small') WHERE id = 70000",
    )
    assert mysql_pair.source.value(SIZED.format(schema)) == 3, "these updates were not made in place"
    assert _changed(mysql_pair, schema) == 0
    mysql_pair.source.execute(
        f"UPDATE {table} SET j = JSON_SET(j, '$.a', CAST('1.10' AS DECIMAL(9,2))) WHERE id = 70000",
        f"UPDATE {table} SET j = JSON_SET(j, '$.c', DATE '2024-01-01') WHERE id = 2000",
    )
    assert _changed(mysql_pair, schema) == 2


def _changed(pair: Pair, schema: str) -> int:
    crossing = Crossing(pair)
    try:
        seen: list[int] = []
        crossing.copy_all(crossing.selected(f"{schema}.t"), seen=lambda result: seen.append(result.json_changed))
        return sum(seen)
    finally:
        crossing.close()
