"""Rows that differ are copied again, or end the run."""

from unittest.mock import Mock

import pytest

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer
from ferry_core.verify.unproven import UnprovenKeys
from ferry_core.workers import repairs as repairs_module
from ferry_core.workers.repairs import Repairs
from tests.support.tables import decode, mark, move_of

MOVE = move_of()
DIFFERS = Difference(MOVE.table, ("1",), DifferenceKind.CHANGED)


def flush(buffer: ChangeBuffer) -> None:
    """As a flusher does."""
    generation = buffer.take(MOVE, 100)
    assert generation is not None
    buffer.committed(MOVE, generation)


@pytest.mark.parametrize("kind", DifferenceKind)
def test_nothing_is_replaced_on_the_target_once_the_source_was_restarted(kind: DifferenceKind) -> None:
    """It may have lost rows in a crash, which its binlog contains."""
    buffer, differs = ChangeBuffer(mark(1)), [Difference(MOVE.table, ("1",), kind)]
    repairs = Repairs([MOVE], buffer, Mock(), Mock(), source_restarted=True)
    if kind is DifferenceKind.MISSING:
        repairs.repair(differs)
        flush(buffer)
    else:
        with pytest.raises(RowsDiffer, match="stay as they are on the target"):
            repairs.repair(differs)
        assert not buffer.pending_keys(MOVE)


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
    events.repaired.assert_called_once_with(1)
    flush(buffer)
