"""Values that each server has computed and kept are compared too, and told apart from values that were copied."""

from dataclasses import replace

from ferry_core.api.selection import Tables
from ferry_core.mysql.session import Purpose
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyRange, Table
from ferry_core.verify.checksum import Side, chunk_sum
from ferry_core.verify.difference import Difference, RowsDiffer
from ferry_core.verify.narrow import compare_chunk
from tests.support.ends import Ends

ALL = KeyRange(None, None)


def compared(ends: Ends, table: Table) -> list[Difference]:
    source, target = ends.connect_source(Purpose.SOURCE), ends.connect_target()
    equal = chunk_sum(source, table, ALL, Side.SOURCE) == chunk_sum(target, table, ALL, Side.TARGET)
    found = compare_chunk(table, ALL, source, target, 10).differing
    assert equal == (not found)
    return found


def test_what_each_server_has_stored_is_compared(ends: Ends) -> None:
    ends.on_both(
        "CREATE TABLE t (id INT PRIMARY KEY, at TIMESTAMP NULL, v INT, hour INT AS (HOUR(at)) STORED, "
        "again INT AS (HOUR(at)) VIRTUAL, j JSON AS (JSON_ARRAY(v)) STORED, g VARCHAR(9) AS (v) STORED)"
    )
    for zone, written in (("+00:00", ends.on_source), ("+05:00", ends.on_target)):
        written(f"SET SESSION time_zone = '{zone}'", "INSERT INTO t (id, at, v) VALUES (1, FROM_UNIXTIME(9999), 1)")
    ends.on_both("INSERT INTO t (id, at, v) VALUES (2, NULL, 7)")
    (table,) = discover(ends.connect_source(Purpose.CONTROL), Tables(include=[f"{ends.schema}.t"]))
    assert [column.name for column in table.stored_columns] == ["hour", "j", "g"]
    (difference,) = compared(ends, table)
    assert difference.only_generated
    said = RowsDiffer([difference]).message
    assert f"{ends.schema}.t (id=1): other values in generated columns (hour, j, g)" in said
    assert "acknowledge: [GeneratedValues]" in said
    assert compared(ends, replace(table, compares_stored=False)) == []
    ends.on_target("UPDATE t SET v = 8 WHERE id = 2")
    other, copied = sorted(compared(ends, table), key=lambda difference: difference.key)
    assert (other.only_generated, copied.only_generated) == (True, False)
    assert "delete them on the target" in RowsDiffer([other, copied]).message
