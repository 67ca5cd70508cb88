"""Keys in the character set that old releases call utf8, and new ones utf8mb3: new ones warn of the old name."""

import pytest

from ferry_core.tables.families import crossing
from ferry_core.tables.predicates import where
from ferry_core.tables.table import KeySet
from ferry_core.verify.narrow import check_keys
from tests.support.servers import Pair
from tests.support.table_pair import TablePair

MOVES = (("mysql-5.7.22", "mysql-9.7"), ("mysql-8.0.15", "mysql-9.7"), ("mariadb-10.5", "mysql-9.7"))


@pytest.mark.parametrize("versions", MOVES, ids=" to ".join, indirect=True)
def test_rows_are_found_without_a_warning(versions: Pair) -> None:
    versions.source.execute("CREATE DATABASE names")
    both = TablePair(versions, "names")
    ddl = "CREATE TABLE t (k VARCHAR(20) CHARACTER SET utf8 COLLATE utf8_general_ci PRIMARY KEY)"
    both.on_both(ddl, "INSERT INTO t VALUES (''), ('a'), ('é'), ('日本')")
    table = both.table() if versions.source.flavor is versions.target.flavor else crossing(both.table())
    keys = both.keys(table)
    assert len(keys) == 4
    assert check_keys(table, keys, both.plain, both.target) == []
    both.target.execute(f"DELETE FROM {table.target.sql} WHERE {where(table.key, KeySet(tuple(keys)))}")
    assert both.target.warnings() == []
    assert versions.target.value("SELECT COUNT(*) FROM names.t") == 0
    both.close()
