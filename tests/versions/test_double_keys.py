"""A DOUBLE key has one spelling on all releases of a family: by it the verification pairs the rows of both servers."""

import pytest

from ferry_core.verify.narrow import check_keys
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

MOVES = (
    ("mysql-8.0.15", "mysql-8.0.33"),
    ("mysql-8.0.15", "mysql-9.7"),
    ("mysql-9.7", "mysql-8.0.33"),
    ("mariadb-10.5", "mariadb-11.8"),
)
DIGITS = ("1", "3.5", "1.2345678901234567", "-9.999999999999999", "-2.2250738585072014")


@pytest.mark.parametrize("versions", MOVES, ids=" to ".join, indirect=True)
def test_rows_are_paired(versions: Pair) -> None:
    schema = "doubles"
    versions.source.execute(f"CREATE DATABASE {schema}")
    both = TablePair(versions, schema)
    rows = ",".join(f"({digits}e{exponent})" for digits in DIGITS for exponent in (*range(-20, 25), -308, 307))
    both.on_both("CREATE TABLE t (k DOUBLE PRIMARY KEY)", f"INSERT INTO t VALUES {rows},(0),(5e-324)")
    table = both.table()
    keys = both.keys(table)
    assert len(keys) == len(DIGITS) * 47 + 2
    assert check_keys(table, keys, both.plain, both.target) == []
    both.close()
