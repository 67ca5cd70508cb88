"""Rows that differ are copied again, or end the run."""

from unittest.mock import Mock

import pytest

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import TableMove
from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer, RowsKept
from ferry_core.verify.unproven import UnprovenKeys
from ferry_core.workers import repairs as repairs_module
from ferry_core.workers.repairs import Repairs
from tests.support.tables import decode, mark, move_of, simple_table

MOVE = move_of()
DIFFERS = Difference(MOVE.table, ("1",), DifferenceKind.CHANGED)


def flush(buffer: ChangeBuffer, move: TableMove = MOVE) -> None:
    """As a flusher does."""
    generation = buffer.take(move, 100)
    assert generation is not None
    buffer.committed(move, generation)


@pytest.mark.parametrize("kind", DifferenceKind)
def test_nothing_is_replaced_on_the_target_once_the_source_was_restarted(kind: DifferenceKind) -> None:
    """It may have lost rows in a crash, which its binlog contains."""
    buffer, move = ChangeBuffer(mark(1)), move_of()
    differs = [Difference(move.table, ("1",), kind)]
    move.unproven.restarted = True
    repairs = Repairs([move], buffer, Mock(), Mock())
    if kind is DifferenceKind.MISSING:
        repairs.repair(differs)
        flush(buffer, move)
    else:
        with pytest.raises(RowsDiffer, match="stay as they are on the target"):
            repairs.repair(differs)
        assert not buffer.pending_keys(move)


def test_a_table_that_was_copied_since_the_restart_is_repaired() -> None:
    before, since = move_of(simple_table("before")), move_of(simple_table("since"))
    before.unproven.restarted = True
    repairs = Repairs([before, since], buffer := ChangeBuffer(mark(1)), Mock(), Mock())
    repairs.repair([Difference(since.table, ("1",), DifferenceKind.EXTRA)])
    assert buffer.pending_keys(since) == 1
    flush(buffer, since)


@pytest.mark.parametrize("marked", ["rebuilt", "restarted"])
def test_rows_are_deleted_by_the_next_start_only_if_all_of_their_table_were_reported(marked: str) -> None:
    """A pass of a table with very many such rows ends early, and single rows are judged before others are compared."""
    moves = [move_of(simple_table("all")), move_of(simple_table("some"))]
    for move in moves:
        setattr(move.unproven, marked, True)
    differs = [Difference(move.table, ("1",), DifferenceKind.EXTRA) for move in moves]
    repairs = Repairs(moves, ChangeBuffer(mark(1)), Mock(), Mock())
    with pytest.raises(RowsKept, match=r"There may be more such rows of \S*some") as caught:
        repairs.repair(differs, decided={moves[0].table})
    assert caught.value.reported == {moves[0].table}
    with pytest.raises(RowsKept, match="next start copies the source's rows over"):
        repairs.repair(differs[:1], decided={moves[0].table})


def test_too_many_rows_that_differ_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repairs_module, "MOST_ROWS", 3)
    buffer = ChangeBuffer(mark(1))
    repairs = Repairs([MOVE], buffer, Mock(), Mock())
    repairs.repair([Difference(MOVE.table, (str(key),), DifferenceKind.MISSING) for key in range(3)])
    with pytest.raises(RowsDiffer, match="have differed so far"):
        repairs.repair([Difference(MOVE.table, ("3",), DifferenceKind.MISSING)])
    flush(buffer)


def test_a_repaired_row_that_the_source_changes_all_the_time_keeps_nobody_waiting() -> None:
    buffer, unproven, events = ChangeBuffer(mark(1)), UnprovenKeys([MOVE]), Mock()
    unproven.begin(MOVE)
    repairs = Repairs([MOVE], buffer, unproven, events)
    repairs.repair([DIFFERS])
    unproven.add(MOVE, [DIFFERS.key], None)
    repairs.look()
    assert repairs.open == 1
    unproven.add(MOVE, [b"1"], decode)
    repairs.look()
    assert repairs.open == 0
    events.repaired.assert_called_once_with({MOVE.id: 1})
    flush(buffer)
