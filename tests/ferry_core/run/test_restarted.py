"""A restart of the source is remembered by the checkpoint until rows that it may have lost were reported."""

from unittest.mock import Mock

import pytest

from ferry_core.api.spec import Copy
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.checkpoint.state import FORMAT, RunState
from ferry_core.checkpoint.store import parse
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.flavor import Flavor
from ferry_core.run.checkpoints import Checkpoints, Stored, moves_of
from ferry_core.run.restarted import meet_source
from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer, RowsKept
from ferry_core.workers.chunk_source import ChunkSource
from tests.support.tables import mark, simple_table

TABLE, OTHER = simple_table("t"), simple_table("other")
DIFFERS = [Difference(TABLE, ("1",), DifferenceKind.EXTRA)]


def state(**fields: object) -> RunState:
    return RunState.model_validate({"ferry_uid": "u", "ferry_name": "f", "source_id": "s", "selection": "{}"} | fields)


def source(start: str) -> Mock:
    return Mock(**{"identity.start": start, "endpoint.where": "source s:3306"})


def checkpoints(of: RunState, report: Mock) -> tuple[Checkpoints, MoveSet]:
    moves = moves_of(of, [TABLE, OTHER], Copy(), Flavor.MYSQL)
    return Checkpoints(Stored(Mock(), 1), of, ChunkSource(moves), ChangeBuffer(mark(1)), report), moves


def test_every_later_process_knows_of_the_restart(caplog: pytest.LogCaptureFixture) -> None:
    kept = state(tables={TABLE.id: {"started": True}, "later": {}})
    for start, restarted in (("1", False), ("1", False), ("2", True), ("2", True), ("3", True)):
        meet_source(kept, source(start), verifies=True)
        assert [table.restarted for table in kept.tables.values()] == [restarted, restarted]
        kept = parse(kept.model_dump_json(), FORMAT, "here")
    assert caplog.text.count("may have lost some of them in a crash") == 3


def test_without_verification_it_says_that_nothing_finds_lost_rows(caplog: pytest.LogCaptureFixture) -> None:
    kept = state(source_start="1", tables={TABLE.id: {"started": True}})
    meet_source(kept, source("2"), verifies=False)
    assert "nothing finds rows that only the target has" in caplog.text


def test_a_state_of_an_older_version_tells_nothing() -> None:
    kept = state(tables={TABLE.id: {"started": True}})
    meet_source(kept, source("2"), verifies=True)
    assert (kept.source_start, kept.tables[TABLE.id].restarted) == ("2", False)


@pytest.mark.parametrize(
    ("error", "marked"),
    [
        (RowsDiffer(DIFFERS), [True, True]),
        (RowsKept(DIFFERS, "", {TABLE}), [False, True]),
        (RowsKept(DIFFERS, "", ()), [True, True]),
    ],
)
def test_what_was_reported_is_forgotten_and_nothing_else(
    error: RowsDiffer, marked: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    """It is reported before that: somebody knows of it although the process is killed right after the checkpoint."""
    known = {"started": True, "restarted": True, "rebuilt": True}
    kept = state(position=str(mark(1).position), tables={TABLE.id: known, OTHER.id: known})
    report = Mock(json_changed=0)
    saving, moves = checkpoints(kept, report)
    for move in moves:
        move.unproven.clear(whole=False)  # a pass has looked at all of it
    learnt = saving.learns(error)
    assert learnt == isinstance(error, RowsKept)
    assert report.failed.called == learnt
    assert (error.message in caplog.text) == learnt
    saving.save()
    tables = kept.tables[TABLE.id], kept.tables[OTHER.id]
    assert [table.restarted for table in tables] == [table.rebuilt for table in tables] == marked


def test_a_table_that_is_copied_again_is_not_older_than_the_restart() -> None:
    kept = state(position=str(mark(1).position), tables={TABLE.id: {"started": True, "restarted": True}, OTHER.id: {}})
    saving, _ = checkpoints(kept, Mock(json_changed=0))
    saving.copy_again([TABLE.id])
    saving.save()
    assert kept.tables[TABLE.id].only_copies, "until somebody was told that its rows are dropped"
    _, moves = checkpoints(kept, Mock())
    assert not any(move.unproven.restarted for move in moves)
