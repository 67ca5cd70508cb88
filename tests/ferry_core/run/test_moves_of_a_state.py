"""The position from which a table's events count: tables known to a checkpoint, and tables that start over."""

import pytest

from ferry_core.api.spec import Copy
from ferry_core.binlog.sink import StreamMark
from ferry_core.checkpoint.state import FORMAT, RunState, TableState
from ferry_core.checkpoint.store import parse
from ferry_core.moves.move import MoveState
from ferry_core.mysql.flavor import Flavor
from ferry_core.run.checkpoints import moves_of
from tests.support.tables import mark, simple_table

EARLIER, LATER = str(mark(3).position), mark(9)


def state(**tables: TableState) -> RunState:
    known = {f"shop.{name}": table for name, table in tables.items()}
    return RunState(ferry_uid="u", ferry_name="f", source_id="s", selection="{}", position=EARLIER, tables=known)


def test_each_table_has_its_own_place_in_the_stream() -> None:
    known = state(
        copied=TableState(started=True, walked=True, definition="d"),
        joined=TableState(started=True, counts_from=str(mark(7).position), definition="e"),
        again=TableState(started=False, rows_copied=0),
    )
    tables = [simple_table(name) for name in ("copied", "joined", "again", "fresh")]
    moves = {move.table.source.name: move for move in moves_of(known, tables, Copy(), Flavor.MYSQL, LATER)}
    assert {name: move.counts_from for name, move in moves.items()} == {
        "copied": None,
        "joined": StreamMark(0, mark(7).position),
        "again": LATER,
        "fresh": LATER,
    }
    assert {name: move.started for name, move in moves.items()} == {
        "copied": True,
        "joined": True,
        "again": False,
        "fresh": False,
    }
    assert [move.state for move in moves.values()] == [MoveState.FOLLOWING, *[MoveState.COPYING] * 3]


@pytest.mark.parametrize("form", [1, 2, 4, 5])
def test_a_state_of_an_earlier_format_is_resumed(form: int) -> None:
    table = TableState(started=True, walked=True)
    written = (
        state(t=table)
        .model_copy(update={"format": form})
        .model_dump_json(exclude={"tables": {"shop.t": {"counts_from"}}})
    )
    read = parse(written, form, "here")
    assert (read.format, read.tables) == (FORMAT, {"shop.t": table})
