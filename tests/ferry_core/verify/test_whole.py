"""Tables without a key are compared as collections: how often a row is there counts, and nothing else."""

from dataclasses import replace

import pytest

from ferry_core.mysql.session import Purpose
from ferry_core.tables.table import ALL_ROWS, KeyRange, Table
from ferry_core.verify import whole
from ferry_core.verify.difference import Difference, RowsDiffer
from ferry_core.verify.narrow import check_keys, compare_chunk
from ferry_core.verify.whole import compare_whole
from tests.support.table_pair import TablePair

COLUMNS = "(n INT, note VARCHAR(40) CHARACTER SET utf8mb4, raw BLOB)"


def compared(both: TablePair, table: Table) -> list[Difference]:
    """As a pass does it, and as the check of changed keys does."""
    source = both.connect_source(Purpose.SOURCE_TEXT if table.row_filter else Purpose.SOURCE)
    target = both.connect_target()
    found = compare_chunk(table, KeyRange(None, None), source, target, 10)
    assert found.complete
    assert found.differing == check_keys(table, [ALL_ROWS], source, target)
    assert check_keys(table, [], source, target) == []
    return found.differing


@pytest.fixture
def table(both: TablePair) -> Table:
    both.on_both(f"CREATE TABLE t {COLUMNS}")
    return both.selected(f"{both.schema}.t")[0]


def test_equal_however_the_rows_are_stored(both: TablePair, table: Table) -> None:
    both.on_source("INSERT INTO t VALUES (1, 'ü', X'00'), (1, 'ü', X'00'), (NULL, NULL, NULL), (2, '', '')")
    both.on_target("INSERT INTO t VALUES (2, '', ''), (1, 'ü', X'00'), (NULL, NULL, NULL), (1, 'ü', X'00')")
    assert compared(both, table) == []


def test_the_same_rows_in_other_numbers_differ(both: TablePair, table: Table) -> None:
    """Two sets of the same rows, and as many of them: an XOR of the hashes would find only the last one."""
    both.on_source("INSERT INTO t VALUES (1, 'a', ''), (1, 'a', ''), (1, 'a', ''), (2, 'b', '')")
    both.on_target("INSERT INTO t VALUES (1, 'a', ''), (2, 'b', ''), (2, 'b', ''), (2, 'b', '')")
    (difference,) = compared(both, table)
    assert (difference.key, difference.source_hash != difference.target_hash) == (ALL_ROWS, True)
    said = RowsDiffer([difference]).message
    assert f"{both.schema}.t: 2 rows are missing on the target or there too few times" in said
    assert "2 are on the target only or there too many times" in said


@pytest.mark.parametrize("doubled", ["source", "target"])
def test_a_row_that_is_there_twice_more_on_one_end(both: TablePair, table: Table, doubled: str) -> None:
    both.on_both("INSERT INTO t VALUES (1, 'a', ''), (5, NULL, NULL)")
    (both.on_source if doubled == "source" else both.on_target)("INSERT INTO t VALUES (1, 'a', ''), (1, 'a', '')")
    (difference,) = compared(both, table)
    assert ("2 rows are missing" in str(difference)) is (doubled == "source")
    assert ("2 are on the target only" in str(difference)) is (doubled == "target")


def test_an_empty_table_and_none(both: TablePair, table: Table) -> None:
    assert compared(both, table) == []
    both.on_target("INSERT INTO t VALUES (NULL, NULL, NULL)")
    (difference,) = compared(both, table)
    assert "0 rows are missing" in str(difference)
    assert "1 are on the target only" in str(difference)


def test_only_rows_inside_of_the_filter_count_on_the_source(both: TablePair, table: Table) -> None:
    filtered = replace(table, row_filter="note = 'ü' -- only these")
    both.on_source("INSERT INTO t VALUES (1, 'ü', ''), (1, 'ü', ''), (2, 'other', '')")
    both.on_target("INSERT INTO t VALUES (1, 'ü', ''), (1, 'ü', '')")
    assert compared(both, filtered) == []
    both.on_target("INSERT INTO t VALUES (2, 'other', '')")
    assert len(compared(both, filtered)) == 1


def test_not_every_row_is_counted_where_nearly_all_differ(
    both: TablePair, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole, "MOST_PARTS", 2)
    both.on_source(f"INSERT INTO t (n) VALUES {', '.join(f'({n})' for n in range(40))}")
    (difference,) = compared(both, table)
    assert "at least" in str(difference)


def test_what_each_server_has_stored_is_told_apart(both: TablePair) -> None:
    both.on_both("CREATE TABLE g (at TIMESTAMP NULL, v INT, hour INT AS (HOUR(at)) STORED)")
    for zone, written in (("+00:00", both.on_source), ("+05:00", both.on_target)):
        written(f"SET SESSION time_zone = '{zone}'", *["INSERT INTO g (at, v) VALUES (FROM_UNIXTIME(9999), 1)"] * 2)
    (table,) = both.selected(f"{both.schema}.g")
    (difference,) = compared(both, table)
    assert difference.only_generated
    said = RowsDiffer([difference]).message
    assert f"{both.schema}.g: other values in generated columns (hour)" in said
    assert "acknowledge: [GeneratedValues]" in said
    assert compared(both, replace(table, compares_stored=False)) == []
    both.on_target("UPDATE g SET v = 8 LIMIT 1")
    (difference,) = compared(both, table)
    assert not difference.only_generated


@pytest.mark.parametrize("idle", ["target", "source"])
def test_one_end_may_idle_for_longer_than_its_timeout_while_the_other_reads(
    both: TablePair, table: Table, idle: str
) -> None:
    """A table of a hundred million rows is hashed for minutes, and the other session has nothing to do meanwhile."""
    both.on_both("INSERT INTO t VALUES (1, 'a', ''), (2, 'b', ''), (3, 'c', '')")
    slow = replace(table, row_filter="SLEEP(0.7) = 0")
    source, target = both.connect_source(Purpose.SOURCE_TEXT), both.connect_target()
    if idle == "source":
        both.on_target("RENAME TABLE t TO fast", "CREATE VIEW t AS SELECT * FROM fast WHERE SLEEP(0.7) = 0")
        slow = table
    (source if idle == "source" else target).execute("SET SESSION wait_timeout = 1")
    assert compare_whole(slow, source, target) == (3, [])
    assert source.number("SELECT @@SESSION.wait_timeout") == (1 if idle == "source" else 600)
    assert target.number("SELECT @@SESSION.wait_timeout") == (1 if idle == "target" else 60)
