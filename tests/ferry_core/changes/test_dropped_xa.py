"""A prepared XA transaction that vanished without a decision in the binlog, as after a crash, must not hold anything
back.

XA ROLLBACK with sql_log_bin=0 removes one in the same way on both families, without a crash.
"""

import contextlib
from collections.abc import Iterator

import pytest

from ferry_core.changes.dropped_xa import DroppedXa
from tests.support.engine_in_process import EngineInProcess
from tests.support.servers import Pair
from tests.support.waits import wait_until

CHANGES = ("INSERT INTO t VALUES (2, 'two')", "UPDATE t SET v = 'other' WHERE id = 1")


class Prepared:
    """An XA transaction of the run's table, prepared and left undecided; ``run`` has streamed it."""

    def __init__(self, pair: Pair, schema: str) -> None:
        self.pair = pair
        self.xid = f"'{schema[-12:]}'"
        pair.source.execute(
            f"USE `{schema}`", "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9))", "INSERT INTO t VALUES (1, 'one')"
        )
        self.run = EngineInProcess(pair, schema)
        self.run.stream()
        connection = pair.source.connect(database=schema)
        with contextlib.closing(connection), connection.cursor() as cursor:
            for statement in (f"XA START {self.xid}", *CHANGES, f"XA END {self.xid}", f"XA PREPARE {self.xid}"):
                cursor.execute(statement)
        wait_until(self.run.buffer.undecided, "the PREPARE was streamed")
        self.look = DroppedXa(
            self.run.buffer,
            self.run.connections.source_control,
            self.run.visibility,
            self.run.streamer.reached,
            self.run.engine.ending.wait,
        ).look

    def decide(self, decision: str, log_bin: int = 1) -> None:
        self.pair.source.decide_xa(f"XA {decision} {self.xid}", before=f"SET sql_log_bin = {log_bin}")


@pytest.fixture
def prepared(pair: Pair, schema: str) -> Iterator[Prepared]:
    prepared = Prepared(pair, schema)
    with prepared.run:
        yield prepared


def test_a_prepared_transaction_that_the_source_lost(prepared: Prepared) -> None:
    buffer = prepared.run.buffer
    held = buffer.checkpoint_mark()
    prepared.decide("ROLLBACK", log_bin=0)
    prepared.look()
    assert buffer.undecided(), "one look is not enough"
    prepared.look()
    assert not buffer.undecided()
    assert buffer.pending_keys() == 2
    prepared.run.flush().join()
    assert held < buffer.checkpoint_mark()


def test_a_prepared_transaction_that_still_waits(prepared: Prepared) -> None:
    for _ in range(3):
        prepared.look()
    assert prepared.run.buffer.undecided()
    prepared.decide("COMMIT")
    wait_until(lambda: prepared.run.buffer.pending_keys() == 2, "its keys")


def test_a_dropped_transaction_that_is_committed_after_all(prepared: Prepared) -> None:
    """No server is known to do that; its keys are kept anyway."""
    buffer = prepared.run.buffer
    for xid, mark in buffer.undecided().items():
        assert buffer.dropped(xid, mark)
    prepared.run.flush().join()
    assert buffer.pending_keys() == 0
    prepared.decide("COMMIT")
    wait_until(lambda: buffer.pending_keys() == 2, "its keys again")
