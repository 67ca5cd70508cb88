"""Reads of the source that take longer than this end waits, or than the target's session may idle."""

from dataclasses import replace

import pytest

from ferry_core.errors import TooLarge
from ferry_core.mysql.processes import processes
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import KeyRange
from ferry_core.workers import sessions
from ferry_core.workers.connections import Connections
from tests.support.engine_in_process import EngineInProcess
from tests.support.servers import Pair
from tests.support.table_pair import TablePair, make_table
from tests.support.waits import wait_until

SIX_ROWS = "(1), (2), (3), (4), (5), (6)"


def test_a_read_that_takes_too_long_asks_for_less_and_is_ended_on_the_source(pair: Pair, schema: str) -> None:
    make_table(pair, schema, "id INT PRIMARY KEY", SIX_ROWS, on_target=True)
    both = TablePair(pair, schema)
    slow = replace(both.table(), row_filter="SLEEP(600) = 0")
    copier = both.copier(text=True)
    both.text.answers_within(1)
    with pytest.raises(TooLarge) as caught:
        copier.copy(slow, KeyRange(None, None))
    assert caught.value.reason is Reason.READ_TOO_SLOW
    wait_until(
        lambda: all(one.ident != both.text.connection_id for one in processes(both.control)), "the statement ends"
    )
    both.close()


def test_chunks_and_changed_keys_whose_reads_take_too_long_are_divided(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six rows take 6 s. Three are read in time, but for longer than the target's session may idle."""
    make_table(pair, schema, "id INT PRIMARY KEY", SIX_ROWS)
    source, target = Connections.source, Connections.target

    def impatient(connections: Connections, *, text: bool = False) -> Session:
        session = source(connections, text=text)
        session.answers_within(5)
        return session

    def short(connections: Connections) -> Session:
        session = target(connections)
        session.execute("SET SESSION wait_timeout = 2")
        return session

    monkeypatch.setattr(Connections, "source", impatient)
    monkeypatch.setattr(Connections, "target", short)
    monkeypatch.setattr(sessions, "IDLE_SECONDS", 1.0)
    rules = [{"match": f"{schema}.t", "where": "SLEEP(1) = 0"}]
    with EngineInProcess(pair, schema, rules=rules) as run:
        run.go()
        run.quiet()
        assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t") == 6
        pair.source.execute(f"UPDATE `{schema}`.t SET id = id + 10 ORDER BY id")
        run.quiet()
        assert pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.t WHERE id > 10") == 6
        assert Reason.READ_TOO_SLOW in {error.reason for error in run.errors}
