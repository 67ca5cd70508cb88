"""Values that each server has computed and stored are compared too, and distinguished from copied values."""

from dataclasses import replace

from ferry_core.api.selection import Tables
from ferry_core.errors import ServerRole
from ferry_core.mysql.session import Purpose
from ferry_core.tables.discovery import discover
from ferry_core.tables.families import crossing
from ferry_core.tables.table import KeyRange, Table
from ferry_core.verify.checksum import chunk_sum
from ferry_core.verify.difference import Difference, RowsDiffer
from ferry_core.verify.narrow import compare_chunk
from tests.support.table_pair import TablePair

ALL = KeyRange(None, None)


def compared(both: TablePair, table: Table) -> list[Difference]:
    source, target = both.connect_source(Purpose.SOURCE), both.connect_target()
    equal = chunk_sum(source, table, ALL, ServerRole.SOURCE) == chunk_sum(target, table, ALL, ServerRole.TARGET)
    found = compare_chunk(table, ALL, source, target, 10).differing
    assert equal == (not found)
    return found


def test_stored_generated_values_of_both_servers_are_compared(both: TablePair) -> None:
    both.on_both(
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, v INT, hour INT AS (HOUR(at)) STORED, "
        "again INT AS (HOUR(at)) VIRTUAL, j JSON AS (JSON_ARRAY(v)) STORED, g VARCHAR(9) AS (v) STORED)"
    )
    for zone, written in (("+00:00", both.on_source), ("+05:00", both.on_target)):
        written(f"SET SESSION time_zone = '{zone}'", "INSERT INTO t (id, at, v) VALUES (1, FROM_UNIXTIME(9999), 1)")
    both.on_both("INSERT INTO t (id, at, v) VALUES (2, NULL, 7)")
    (table,) = discover(both.connect_source(Purpose.CONTROL), Tables(include=[f"{both.schema}.t"]))
    assert [column.name for column in table.stored_columns] == ["hour", "j", "g"]
    (difference,) = compared(both, table)
    assert difference.only_generated
    said = RowsDiffer([difference]).message
    assert f"{both.schema}.t: other values in generated columns (hour, j, g)" in said
    assert "acknowledge: [GeneratedValues]" in said
    assert "rebuild" in said
    across = RowsDiffer([replace(difference, table=crossing(table))]).message
    assert "rebuilding the table changes nothing" in across
    assert compared(both, replace(table, compares_stored=False)) == []
    both.on_target("UPDATE t SET v = 8 WHERE id = 2")
    other, copied = sorted(compared(both, table), key=lambda difference: difference.key)
    assert (other.only_generated, copied.only_generated) == (True, False)
    assert "delete them on the target" in RowsDiffer([other, copied]).message
