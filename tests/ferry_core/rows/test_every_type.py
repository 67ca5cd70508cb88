"""Every column type of a family arrives byte by byte, in both kinds of source session."""

from collections.abc import Iterator

import pytest

from ferry_core.errors import ServerRole
from ferry_core.mysql.flavor import Flavor
from ferry_core.tables.table import KeyRange, KeySet
from ferry_core.verify.checksum import chunk_sum
from tests.support.all_types import JSON_CHANGED_BY_REPARSING, SESSION, ddl, row_count, rows
from tests.support.compare import assert_equal_tables
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

FILTER = "c_varchar <> 'ünï日本🚢!' OR c_varchar IS NULL"


@pytest.fixture(params=["load", "values"])
def taking(request: pytest.FixtureRequest, pair: Pair) -> Iterator[None]:
    """How the target takes rows: by LOAD DATA LOCAL, or by REPLACE ... VALUES."""
    pair.target.execute(f"SET GLOBAL local_infile = {'ON' if request.param == 'load' else 'OFF'}")
    yield
    pair.target.execute("SET GLOBAL local_infile = ON")


@pytest.mark.usefixtures("taking")
@pytest.mark.parametrize("where", [None, FILTER], ids=["binary", "text"])
def test_every_type_is_copied_by_range_and_by_key(pair: Pair, both: TablePair, schema: str, where: str | None) -> None:
    family = pair.family
    pair.source.execute(ddl(family, schema), *rows(family, schema))
    rule = [{"match": f"{schema}.*", "where": where}] if where else []
    tables = both.selected(f"{schema}.*", rules=rule)
    changed: list[int] = []
    assert both.copy_all(tables, seen=lambda result: changed.append(result.json_changed)) == row_count(family)
    print(assert_equal_tables(pair.source, pair.target, f"{schema}.all_types"))
    assert sum(changed) == 0

    pair.source.execute(*rows(family, schema, shift=1))
    copier = both.copier(text=where is not None)
    result = copier.copy(tables[0], KeySet(tuple(both.keys(tables[0]))))
    assert (result.rows_sent, result.deleted_missing) == (row_count(family), 0)
    assert_equal_tables(pair.source, pair.target, f"{schema}.all_types")


def test_json_that_changes_as_text_is_counted(mysql_pair: Pair, schema: str) -> None:
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
    both = TablePair(mysql_pair)
    changed: list[int] = []
    both.copy_all(both.selected(f"{schema}.j"), seen=lambda result: changed.append(result.json_changed))
    both.close()
    assert sum(changed) == 5
    assert mysql_pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.j WHERE JSON_TYPE(j) IS NOT NULL") == 6


def test_unsigned_integers_in_json_arrive_exactly(mysql_pair: Pair, schema: str) -> None:
    """A small one becomes an INTEGER of equal value on the target, because its text says no more. MariaDB's JSON is
    text.
    """
    values = (
        "CAST(CAST(5 AS UNSIGNED) AS JSON)",
        "CAST(9223372036854775808 AS JSON)",
        "JSON_OBJECT('n', 18446744073709551615)",
        "'[9223372036854775807, -9223372036854775808, 18446744073709551614]'",
    )
    inserts = [f"INSERT INTO j VALUES ({at}, {value})" for at, value in enumerate(values)]
    mysql_pair.source.execute(f"USE `{schema}`", "CREATE TABLE j (id INT PRIMARY KEY, j JSON)", *inserts)
    both = TablePair(mysql_pair)
    changed: list[int] = []
    (table,) = both.selected(f"{schema}.j")
    both.copy_all([table], seen=lambda result: changed.append(result.json_changed))
    sums = [
        chunk_sum(session, table, KeyRange(None, None), side)
        for session, side in ((both.plain, ServerRole.SOURCE), (both.target, ServerRole.TARGET))
    ]
    both.close()
    assert (sum(changed), sums[0]) == (0, sums[1])
    text = f"SELECT CAST(j AS CHAR) FROM `{schema}`.j ORDER BY id"
    assert mysql_pair.source.query(text) == mysql_pair.target.query(text)
    kinds = f"SELECT JSON_TYPE(COALESCE(j->'$.n', j)) FROM `{schema}`.j WHERE id < 3 ORDER BY id"
    unsigned = ("UNSIGNED INTEGER",)
    assert mysql_pair.source.query(kinds) == [unsigned] * 3
    assert mysql_pair.target.query(kinds) == [("INTEGER",), unsigned, unsigned]
