"""Rows that must be refused are checked before their chunk counts as done, so that the next start meets them again."""

import dataclasses

import pytest

from ferry_core.errors import DataError
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Reason
from ferry_core.rows.copier import CopyResult
from tests.support.engine_in_process import EngineInProcess
from tests.support.servers import Pair


def refuse(_move: TableMove, _result: CopyResult) -> None:
    raise DataError(Reason.JSON_PRECISION, "not these")


def test_a_refused_chunk_is_not_done(mysql_pair: Pair, schema: str) -> None:
    mysql_pair.source.execute(
        f"CREATE TABLE `{schema}`.t (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.t VALUES (1), (2)"
    )
    with EngineInProcess(mysql_pair, schema) as run:
        run.engine._events = dataclasses.replace(run.engine._events, judge=refuse)
        with pytest.raises(DataError, match="not these"):
            run.chunk().join()
        state = run.chunks.state(run.move)
        assert state.unfinished, "the chunk counts as done"
        assert not run.chunks.done(run.move)
        assert state.rows_copied == 0
