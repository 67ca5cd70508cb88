"""MySQL and MariaDB compute the same hash of a row, and another one of a row that differs in one value."""

import math
import random
import struct
from collections.abc import Iterator

import pytest

from ferry_core.api.selection import Tables
from ferry_core.tables.discovery import discover
from ferry_core.tables.families import crossing
from ferry_core.verify.narrow import check_keys
from tests.support.schemas import OF_ONE_FAMILY, create_odd_tables, odd_tables
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

NUMBERS = 500


@pytest.fixture(params=["mysql", "mariadb"])
def across(request: pytest.FixtureRequest, mysql_pair: Pair, mariadb_pair: Pair, schema: str) -> Iterator[TablePair]:
    """The parameter is the source's family."""
    one, other = (mysql_pair, mariadb_pair) if request.param == "mysql" else (mariadb_pair, mysql_pair)
    both = TablePair(Pair(one.source, other.target), schema)
    yield both
    both.close()


def numbers(form: str, size: int) -> list[float]:
    rng = random.Random(7)
    drawn = (struct.unpack(form, rng.randbytes(size))[0] for _ in range(NUMBERS))
    return [number for number in drawn if math.isfinite(number)]


@pytest.mark.parametrize(("kind", "form", "size"), [("DOUBLE", "<d", 8), ("FLOAT", "<f", 4)])
def test_numbers_have_one_spelling(across: TablePair, kind: str, form: str, size: int) -> None:
    """Also as keys, by whose text the rows of both servers are paired."""
    rows = [*numbers(form, size), 0.0, -0.0, *(10.0**power for power in range(-37, 38))]
    values = ",".join(f"({at},{row!r}{'' if 'e' in repr(row) else 'e0'})" for at, row in enumerate(rows))
    across.on_both(f"CREATE TABLE t (id INT PRIMARY KEY, n {kind})", f"INSERT INTO t VALUES {values}")
    across.on_both("CREATE TABLE k (n DOUBLE PRIMARY KEY)", "INSERT INTO k SELECT DISTINCT n FROM t")
    for name in ("t", "k"):
        table = crossing(across.table(name))
        assert check_keys(table, across.keys(table), across.plain, across.target) == []


def test_rows_of_every_kind_of_key_are_paired(across: TablePair) -> None:
    tables = [table for table in odd_tables(across.pair.family) if table.name not in OF_ONE_FAMILY]
    for server in (across.pair.source, across.pair.target):
        rows = create_odd_tables(server, across.schema, tables, seed=1, share=0.05)
    paired = 0
    for table in map(crossing, discover(across.control, Tables(include=[f"{across.schema}.*"]))):
        keys = across.keys(table)
        assert keys == across.keys(table, across.target), table.id
        assert check_keys(table, keys, across.plain, across.target) == [], table.id
        paired += len(keys)
    assert paired == rows


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("DOUBLE", "0.1e0", "0.10000000000000002e0"),
        ("DOUBLE", "1e20", "1e21"),
        ("DOUBLE", "12e0", "-12e0"),
        ("FLOAT", "16777216e0", "16777218e0"),
        ("VARCHAR(9) CHARACTER SET utf8mb4", "'a'", "'A'"),
        ("ENUM('x', 'y')", "'x'", "'y'"),
        ("TIME(6)", "'-00:00:00.000001'", "'00:00:00.000001'"),
        ("GEOMETRY", "ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('POINT(1 3)')"),
    ],
)
def test_one_different_value_is_found(across: TablePair, kind: str, one: str, other: str) -> None:
    across.on_both(f"CREATE TABLE t (id INT PRIMARY KEY, v {kind})", f"INSERT INTO t VALUES (1, {one}), (2, NULL)")
    table = crossing(across.table())
    keys = across.keys(table)
    assert check_keys(table, keys, across.plain, across.target) == []
    across.on_target(f"UPDATE t SET v = {other} WHERE id = 1")
    (found,) = check_keys(table, keys, across.plain, across.target)
    assert found.key == ("1",)
