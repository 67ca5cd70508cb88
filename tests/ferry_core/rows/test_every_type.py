"""Every column type of a family arrives byte by byte, in both kinds of source session."""

import pytest

from ferry_core.mysql.flavor import Flavor
from ferry_core.tables.table import KeySet
from tests.support.all_types import JSON_CHANGED_BY_REPARSING, SESSION, ddl, row_count, rows
from tests.support.compare import assert_equal_tables
from tests.support.crossing import Crossing
from tests.support.servers import Pair

FILTER = "c_varchar <> 'ünï日本🚢!' OR c_varchar IS NULL"


@pytest.mark.parametrize("where", [None, FILTER], ids=["binary", "text"])
def test_every_type_is_copied_by_range_and_by_key(
    pair: Pair, crossing: Crossing, schema: str, where: str | None
) -> None:
    family = pair.family
    pair.source.execute(ddl(family, schema), *rows(family, schema))
    rule = [{"match": f"{schema}.*", "where": where}] if where else []
    tables = crossing.selected(f"{schema}.*", rules=rule)
    changed: list[int] = []
    assert crossing.copy_all(tables, seen=lambda result: changed.append(result.json_changed)) == row_count(family)
    print(assert_equal_tables(pair.source, pair.target, f"{schema}.all_types"))
    assert sum(changed) == 0

    pair.source.execute(*rows(family, schema, shift=1))
    copier = crossing.copier(text=where is not None)
    result = copier.copy(tables[0], KeySet(tuple(crossing.keys(tables[0]))))
    assert (result.rows_sent, result.deleted_missing) == (row_count(family), 0)
    assert_equal_tables(pair.source, pair.target, f"{schema}.all_types")


def test_json_that_its_text_cannot_tell_is_counted(mysql_pair: Pair, schema: str) -> None:
    assert mysql_pair.flavor is Flavor.MYSQL
    values = (
        *JSON_CHANGED_BY_REPARSING,
        "JSON_ARRAY(CAST(1.5 AS DECIMAL(10,1)))",
        "JSON_ARRAY(CAST('abc' AS BINARY))",
        "JSON_OBJECT('t', TIME '10:00:00')",
        "'[1.5, 18446744073709551615, -0.0, 1e300]'",
        "NULL",
    )
    inserts = [f"INSERT INTO j VALUES ({at}, {value})" for at, value in enumerate(values)]
    mysql_pair.source.execute(SESSION, f"USE `{schema}`", "CREATE TABLE j (id INT PRIMARY KEY, j JSON)", *inserts)
    crossing = Crossing(mysql_pair)
    changed: list[int] = []
    crossing.copy_all(crossing.selected(f"{schema}.j"), seen=lambda result: changed.append(result.json_changed))
    crossing.close()
    assert sum(changed) == 5
    assert mysql_pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.j WHERE JSON_TYPE(j) IS NOT NULL") == 6
