"""Verification over every odd key and every type: equal where equal, and each single change seen."""

import pytest

from ferry_core.api.selection import Tables
from ferry_core.cancellation import Cancellation
from ferry_core.errors import ServerRole
from ferry_core.mysql.session import Purpose
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyRange, KeySet, Table
from ferry_core.verify.checksum import row_hashes
from ferry_core.verify.difference import RowsDiffer
from ferry_core.verify.final_pass import FinalPass, PassResult
from ferry_core.verify.narrow import check_keys, compare_rows
from tests.support import all_types
from tests.support.schemas import create_odd_tables, odd_tables
from tests.support.table_pair import TablePair
from tests.support.tables import moves_of

SHARE = 0.1


def found(both: TablePair) -> list[Table]:
    return discover(both.connect_source(Purpose.CONTROL), Tables(include=[f"{both.schema}.*"]))


def compare(both: TablePair, tables: list[Table]) -> PassResult:
    checked = FinalPass(moves_of(tables), both.connect_source, both.connect_target, 2, 150)
    return checked.run(Cancellation(), lambda _table, _rows: None)


def test_every_odd_key_is_compared(both: TablePair) -> None:
    odd = odd_tables(both.pair.family)
    rows = create_odd_tables(both.pair.source, both.schema, odd, share=SHARE)
    create_odd_tables(both.pair.target, both.schema, odd, share=SHARE)
    tables = found(both)
    result = compare(both, tables)
    assert result.candidates == []
    assert result.rows == rows
    # A row from the middle of each table is deleted, and one is changed, on the target by the key's own spelling there.
    for table in tables:
        name, key = table.target.sql, ", ".join(f"`{column.name}`" for column in table.key.columns)
        both.on_target(
            f"DELETE FROM {name} ORDER BY {key} LIMIT 1", f"UPDATE {name} SET n = 77 ORDER BY {key} DESC LIMIT 1"
        )
    result = compare(both, tables)
    print(f"{both.pair.family}: {rows} rows in {len(tables)} tables, {len(result.candidates)} differences")
    for table in tables:
        differing = [each for each in result.candidates if each.table is table]
        assert sorted(each.kind for each in differing) == ["changed", "missing"], str(differing)
        keys = [each.key for each in differing]
        for purpose in (Purpose.SOURCE, Purpose.SOURCE_TEXT):
            again = check_keys(table, keys, both.connect_source(purpose), both.connect_target())
            assert set(again) == set(differing)


@pytest.mark.parametrize(("charset", "foreign"), [("utf8mb3", "🚢"), ("ascii", "é")])
def test_a_key_that_the_sources_character_set_lacks(both: TablePair, charset: str, foreign: str) -> None:
    """The target's is wider, and somebody wrote a row there that no statement can ask the source for."""
    made = f"CREATE TABLE t (k VARCHAR(9) CHARACTER SET {charset} COLLATE {charset}_general_ci PRIMARY KEY)"
    both.on_source(made, "INSERT INTO t VALUES ('a'), ('A1')")
    both.on_target(made.replace(charset, "utf8mb4"), "INSERT INTO t VALUES ('a'), ('A1')")
    assert compare_rows(both.table(), KeyRange(None, None), both.plain, both.target) == []
    both.on_target(f"INSERT INTO t VALUES ('{foreign}')")
    with pytest.raises(RowsDiffer, match="delete them on the target") as raised:
        compare_rows(both.table(), KeyRange(None, None), both.plain, both.target)
    assert "1 row differs" in str(raised.value)


def test_every_two_values_of_every_type_differ(both: TablePair) -> None:
    """The server's own count of changed rows decides: what it counts as a change must change the hash."""
    family = both.pair.family
    both.on_both(all_types.ddl(family, both.schema), *all_types.rows(family, both.schema))
    tables = found(both)
    assert compare(both, tables).candidates == []
    session = both.connect_target()
    session.execute(all_types.SESSION)
    row = KeySet((("-2",),))
    before = row_hashes(session, tables[0], row, ServerRole.TARGET)
    assert len(before) == 1
    changes = same = 0
    for column in all_types.columns(family):
        for literal in [*column.literals, *(["NULL"] if column.literals else [])]:
            session.begin()
            changed = session.execute(f"UPDATE `{both.schema}`.all_types SET `{column.name}` = {literal} WHERE id = -2")
            after = row_hashes(session, tables[0], row, ServerRole.TARGET)
            session.rollback()
            if "json" not in column.name or literal == "NULL":
                assert (after != before) == bool(changed), f"{column.name} = {literal}"
            changes += changed
            same += not changed
    print(f"{family}: {changes} changes seen, {same} that were none")
    assert changes > 150


@pytest.mark.parametrize("shift", [1])
def test_all_types_after_updates(both: TablePair, shift: int) -> None:
    family = both.pair.family
    both.on_both(all_types.ddl(family, both.schema))
    both.on_source(*all_types.rows(family, both.schema), *all_types.updates(family, both.schema, shift=shift))
    both.on_target(*all_types.rows(family, both.schema, shift=shift))
    tables = found(both)
    assert compare(both, tables).candidates == []
    everything = KeyRange(None, None)
    on_source = [
        row_hashes(both.connect_source(purpose), tables[0], everything, ServerRole.SOURCE)
        for purpose in (Purpose.SOURCE, Purpose.SOURCE_TEXT)
    ]
    assert on_source[0] == on_source[1]
    assert len(on_source[0]) == all_types.row_count(family)
