"""Rows of a small tenant of a large table: found by an index, so that the other rows are not read."""

from collections.abc import Callable, Iterator

import pytest

from ferry_core.api.durations import Quantity
from ferry_core.api.selection import Tables
from ferry_core.api.spec import Copy
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.rows.bounds import midpoint, next_bound
from ferry_core.run.filter_indexes import found_by_index
from ferry_core.schema.create import create_missing
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyRange, Table
from ferry_core.verify.narrow import compare_chunk
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

ROWS = 65_536
OURS = ROWS // 1024
"""A thousandth of the rows is the tenant's, spread over the whole key."""
TABLES = {
    "id": "id INT NOT NULL PRIMARY KEY, tenant_id INT NOT NULL, v VARCHAR(20), KEY of_tenant (tenant_id)",
    "longer": "id INT NOT NULL PRIMARY KEY, tenant_id INT NOT NULL, v VARCHAR(20), KEY of_tenant (tenant_id, v)",
    "pair": "id INT NOT NULL, tenant_id INT NOT NULL, v VARCHAR(20) NOT NULL, PRIMARY KEY (v, id), "
    "KEY of_tenant (tenant_id)",
    "first": "id INT NOT NULL, tenant_id INT NOT NULL, v VARCHAR(20), PRIMARY KEY (tenant_id, id)",
    "text": "id INT NOT NULL PRIMARY KEY, tenant_id VARCHAR(20) CHARACTER SET latin1 NOT NULL, v VARCHAR(20), "
    "KEY of_tenant (tenant_id)",
}


@pytest.fixture
def both(pair: Pair, schema: str) -> Iterator[TablePair]:
    it = TablePair(pair, schema)
    yield it
    it.close()


def fill(both: TablePair, shape: str) -> None:
    tenant = "CONCAT('tenant ', n % 1024)" if shape == "text" else "n % 1024"
    four = "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3)"
    digits = " CROSS JOIN ".join(f"{four} AS d{at}" for at in range(8))
    number = "+".join(f"d{at}.d*{4**at}" for at in range(8))
    both.on_source(
        f"CREATE TABLE t ({TABLES[shape]})",
        "INSERT INTO t (id, tenant_id, v)"
        f" SELECT n, {tenant}, HEX(n) FROM (SELECT {number} AS n FROM {digits}) AS numbers",
        "ANALYZE TABLE t",
    )


def selected(both: TablePair, **selection: object) -> Table:
    (table,) = discover(both.control, Tables.model_validate({"include": [f"{both.schema}.t"], **selection}))
    create_missing(both.control, both.target, [table], both.fence)
    return table


def reads(session: Session, work: Callable[[], object]) -> int:
    """How many rows and index entries the storage engine of this session read for it."""
    session.execute("FLUSH STATUS")
    work()
    rows = session.query("SHOW SESSION STATUS LIKE 'Handler_read%'")
    return sum(int(value or 0) for _, value in rows)


@pytest.mark.parametrize("shape", TABLES)
def test_only_the_rows_of_the_tenant_are_read(both: TablePair, shape: str) -> None:
    fill(both, shape)
    tenant = "tenant 7" if shape == "text" else "7"
    table = selected(both, tenant={"column": "TENANT_ID", "values": [tenant]})
    assert table.filter_index == ("PRIMARY" if shape == "first" else "of_tenant")
    pace = Copy(chunk_target_bytes=Quantity("64Ki"))
    sent: list[int] = []
    copying = reads(both.text, lambda: sent.append(both.copy_all([table], pace)))
    assert sent == [OURS]
    assert both.target.number(f"SELECT COUNT(*) FROM `{both.schema}`.t") == OURS
    compared = compare_chunk(table, KeyRange(None, None), both.text, both.target, 10)
    assert (compared.rows, compared.differing) == (OURS, [])
    verifying = reads(both.text, lambda: compare_chunk(table, KeyRange(None, None), both.text, both.target, 10))
    print(f"{shape}: Handler_read of {OURS} of {ROWS} rows: copy {copying}, verification {verifying}")
    assert copying < 20 * OURS
    assert verifying < 20 * OURS


def test_without_an_index_every_row_is_read(both: TablePair) -> None:
    """What the index is for."""
    fill(both, "id")
    table = selected(both, rules=[{"match": f"{both.schema}.t", "where": "tenant_id + 0 = 7"}])
    assert table.filter_index == ""
    copying = reads(both.text, lambda: both.copy_all([table]))
    print(f"without: Handler_read of {OURS} of {ROWS} rows: copy {copying}")
    assert copying >= ROWS


def test_a_plain_filter_finds_its_index_and_how_many_rows_pass(both: TablePair) -> None:
    fill(both, "id")
    plain = selected(both, rules=[{"match": f"{both.schema}.t", "where": "tenant_id = 7"}])
    assert plain.filter_index == "of_tenant"
    assert OURS // 4 < (plain.rows_passing or 0) < 4 * OURS
    assert plain.rows_moved == plain.rows_walked == plain.rows_passing
    assert plain.rows_estimated > ROWS // 2
    without = selected(both, rules=[{"match": f"{both.schema}.t", "where": "tenant_id + 0 = 7"}])
    assert without.rows_walked == without.rows_estimated
    assert selected(both).rows_moved == without.rows_estimated
    wrong = selected(both, rules=[{"match": f"{both.schema}.t", "where": "no_column = 7"}])
    assert wrong.rows_passing is None


@pytest.mark.parametrize("where", ["tenant_id = 7", "tenant_id IN (7, 9)", "tenant_id BETWEEN 5 AND 8 AND v > 'c' # x"])
@pytest.mark.parametrize("shape", ["id", "pair", "longer"])
def test_chunks_found_by_an_index_hold_each_row_once(both: TablePair, shape: str, where: str) -> None:
    fill(both, shape)
    table = selected(both, rules=[{"match": f"{both.schema}.t", "where": where, "index": "OF_TENANT"}])
    assert table.filter_index == "of_tenant"
    lo, bounds = None, []
    while (bound := next_bound(both.text, table, lo, 10)) is not None:
        bounds.append(bound)
        lo = bound
    wanted = both.control.number(f"SELECT COUNT(*) FROM `{both.schema}`.t WHERE (\n{where}\n)")
    assert len(bounds) == wanted // 10
    middle = midpoint(both.text, table, KeyRange(bounds[0], bounds[1]))
    assert middle is not None
    assert middle not in bounds
    both.copy_all([table], Copy(chunk_target_bytes=Quantity("64Ki")))
    assert both.target.number(f"SELECT COUNT(*) FROM `{both.schema}`.t") == wanted
    compared = compare_chunk(table, KeyRange(bounds[0], bounds[-1]), both.text, both.target, 10)
    assert (compared.rows, compared.differing) == (10 * (len(bounds) - 1), [])


def test_an_index_whose_entries_are_not_in_the_keys_order_is_used_for_few_rows(both: TablePair) -> None:
    """Else each chunk would read every row of the filter."""
    fill(both, "id")

    def found(where: str, *, reads_lock: bool = False) -> Table:
        rules = [{"match": f"{both.schema}.t", "where": where, "index": "of_tenant"}]
        tables = discover(both.control, Tables.model_validate({"include": [f"{both.schema}.t"], "rules": rules}))
        (table,) = found_by_index(both.control, tables, 1 << 16, reads_lock=reads_lock)
        return table

    few = ("tenant_id = 7", "tenant_id BETWEEN 5 AND 8", "tenant_id = no_column")
    assert [found(where).finding_index for where in few] == ["of_tenant"] * 3
    assert found("tenant_id = 7", reads_lock=True).finding_index == ""
    slow = found("tenant_id < 512 AND SLEEP(0.001) = 2")  # no row matches, but each entry is read
    wrong = found("tenant_id < 512 AND tenant_id * 9223372036854775807 > 0")  # an error of a row: preflight explains it
    assert (slow.finding_index, wrong.finding_index) == ("", "")
    many = found("tenant_id < 512")
    assert many.finding_index == ""
    create_missing(both.control, both.target, [many], both.fence)
    pace = Copy(chunk_target_bytes=Quantity("64Ki"))
    assert reads(both.text, lambda: both.copy_all([many], pace)) < 3 * ROWS
    both.on_source("UPDATE t SET tenant_id = 7 WHERE id % 4 <> 0", "ANALYZE TABLE t")
    assert found("tenant_id = 7").finding_index == "of_tenant"


def test_reads_that_lock_find_rows_by_the_key(both: TablePair) -> None:
    fill(both, "id")
    table = selected(both, tenant={"column": "tenant_id", "values": ["7"]})
    copier = both.copier(text=True, lock=" LOCK IN SHARE MODE")
    before = reads(both.text, lambda: copier.copy(table, KeyRange(("0",), ("10000",))))
    assert before >= 9_000


@pytest.mark.parametrize(
    ("index", "usable"),
    [("of_tenant", True), ("prefixed", False), ("hidden", False), ("words", False), ("none", False), ("PRIMARY", True)],
)
def test_which_indexes_find_rows(both: TablePair, index: str, usable: bool) -> None:
    hidden = "IGNORED" if both.pair.flavor is Flavor.MARIADB else "INVISIBLE"
    both.on_source(
        "CREATE TABLE t (id INT PRIMARY KEY, tenant_id INT, v VARCHAR(20), KEY of_tenant (tenant_id),"
        f" KEY prefixed (v(3)), KEY hidden (tenant_id, v) {hidden}, FULLTEXT KEY words (v))"
    )
    rules = [{"match": f"{both.schema}.t", "where": "tenant_id = 7", "index": index}]
    (table,) = discover(both.control, Tables.model_validate({"include": [f"{both.schema}.t"], "rules": rules}))
    assert (table.filter_index == index) is usable
