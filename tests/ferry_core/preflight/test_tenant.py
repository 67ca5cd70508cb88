"""``tables.tenant``: values that are none of the column's type, or without rows. Filters that read every row."""

from dataclasses import replace
from typing import Any

import pytest

from ferry_core.preflight import Status, row_filters
from tests.support.preflight import check, opened, told
from tests.support.servers import Pair, Server

COLUMNS = {"whole": "INT", "exact": "DECIMAL(6,2)", "day": "DATE", "text": "VARCHAR(4) CHARACTER SET latin1"}
FITS = {"whole": ["42", "-7"], "exact": ["42", "0.50"], "day": ["2026-12-01"], "text": ["acme", "42x", "é"]}
NOT = {
    "whole": ["acme", "42x", "4.2", "2147483648", " ", "2026-12-01"],
    "exact": ["acme", "0.505", "10000"],
    "day": ["2026-13-01", "2026-12-01 10:00:00", "20", "acme"],
    "text": ["acme corp", "日本"],
}


def make(source: Server, schema: str, *kinds: str) -> None:
    for kind in kinds:
        source.execute(
            f"CREATE TABLE `{schema}`.t_{kind} (id INT PRIMARY KEY, tenant_id {COLUMNS[kind]}, "
            "KEY of_tenant (tenant_id))",
            f"INSERT INTO `{schema}`.t_{kind} VALUES (1, '{FITS[kind][0]}')",
        )


def selection(schema: str, **fields: Any) -> dict[str, Any]:
    return {"include": [f"{schema}.*"], **fields}


def test_values_that_the_column_cannot_have_are_refused(pair: Pair, schema: str) -> None:
    make(pair.source, schema, *COLUMNS)
    for kind in COLUMNS:
        values = FITS[kind] + NOT[kind]
        only = selection(schema, tenant={"column": "TENANT_ID", "values": values})
        only["include"] = [f"{schema}.t_{kind}"]
        found = told(check(pair.source, pair.target, schema, tables=only))
        print(found)
        also = found.pop("RowFilterInvalid", "")  # the comparison itself fails for characters that latin1 lacks
        assert (list(found), bool(also)) == (["TenantValueInvalid"], kind == "text"), kind
        assert not also or also.endswith("correct its values in tables.tenant")
        named = ", ".join(f"values[{at}]" for at in range(len(FITS[kind]), len(values)))
        assert f"tables.tenant: {named} cannot be a value of column tenant_id (" in found["TenantValueInvalid"]
        assert f"of {schema}.t_{kind}:" in found["TenantValueInvalid"]
        assert "acme" not in found["TenantValueInvalid"]
    assert ("tenant_value_check",) not in pair.target.query("SELECT TABLE_NAME FROM information_schema.TABLES")


def test_a_value_without_rows_is_named(pair: Pair, schema: str) -> None:
    make(pair.source, schema, "whole", "text")
    tables = selection(schema, tenant={"column": "tenant_id", "values": ["42", "43"]})
    results = check(pair.source, pair.target, schema, tables=tables)
    assert not told(results)
    assert (
        "has a row of tables.tenant.values[1] in column tenant_id" in told(results, Status.WARNING)["TenantWithoutRows"]
    )
    other = selection(schema, tenant={"column": "tenant_id", "values": ["42", "acme"]})
    other["rules"] = [{"match": f"{schema}.t_whole", "where": "tenant_id = 42"}]
    assert not {"TenantValueInvalid", "TenantWithoutRows"} & {one.reason for one in _without_42(pair, schema, other)}


def _without_42(pair: Pair, schema: str, tables: dict[str, Any]) -> Any:
    """A table whose rule has a ``where`` is not chosen from by the tenant."""
    pair.source.execute(f"INSERT INTO `{schema}`.t_text VALUES (2, '42')")
    return check(pair.source, pair.target, schema, tables=tables)


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("tenant_id + 0 = 42", "t_whole (index: of_tenant); name an index"),
        ("id > 0 OR tenant_id = 42", "t_whole (index: PRIMARY); name an index"),
        ("free = 42", "t_whole (no index begins with free)"),
        ("tenant_id = 42", ""),
    ],
)
def test_a_large_table_whose_filter_reads_every_row(pair: Pair, schema: str, where: str, words: str) -> None:
    make(pair.source, schema, "whole")
    pair.source.execute(f"ALTER TABLE `{schema}`.t_whole ADD COLUMN free INT")
    rules = [{"match": f"{schema}.t_whole", "where": where}]
    with opened(pair.source, pair.target, schema, tables=selection(schema, rules=rules)) as context:

        def warned() -> str:
            (check,) = [each for each in row_filters.CHECKS if each.name == "rows that filters read"]
            return "".join(f"{finding.reason} {finding.message}" for finding in check.find(context))

        assert not warned()  # a small table
        context.selected = [replace(table, rows_estimated=2_000_000) for table in context.selected]
        del context.tables
        assert words in warned()
        assert ("FilterReadsEveryRow" in warned()) is bool(words)
        context.reads_lock = True
        assert "t_whole; reads without GTIDs lock rows (GtidModeOff)" in warned()


def test_the_name_of_an_index_is_checked_also_where_it_is_not_used(pair: Pair, schema: str) -> None:
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT)")  # without a key: moved as a whole
    rules = [{"match": f"{schema}.t", "where": "id > 0", "index": "misspelt"}]
    found = told(check(pair.source, pair.target, schema, tables=selection(schema, rules=rules)))
    assert "'misspelt'" in found["RuleIndexInvalid"]
