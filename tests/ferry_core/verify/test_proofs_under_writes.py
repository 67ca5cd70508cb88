"""Passes and proofs while rows change: equal rows are proven, a lost change is found."""

import random
import threading
import time

import pytest

from ferry_core.binlog.sink import RowKey
from ferry_core.cancellation import Cancellation
from ferry_core.moves.move import TableMove
from ferry_core.verify.verifier import Verifier
from tests.ferry_core.verify.test_verifier import check_cancelled, no_progress, no_wait, soon, texts
from tests.support.table_pair import TablePair
from tests.support.tables import decode


class ChangePath:
    """A model of the change path: writes on the source, late flushes, each event reported to the verifier.

    The key named by ``lost`` is not flushed after its last change: the defect that verification must find.
    """

    def __init__(self, both: TablePair, move: TableMove, seed: int) -> None:
        self._both = both
        self._move = move
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.verifier: Verifier | None = None
        self.pending: set[bytes] = set()
        self.lost: bytes | None = None
        self.changes = 0

    def is_pending(self, _move: TableMove, key: RowKey) -> bool:
        return key in self.pending

    def start(self, verifier: Verifier) -> None:
        self.verifier = verifier
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        assert self.verifier is not None
        name = self._move.table.source.sql
        with self._both.pair.source.connect() as source, self._both.pair.target.connect() as target:
            write, flush = source.cursor(), target.cursor()
            while not self._stop.is_set():
                key = self._random.randrange(300)
                raw = b"%d" % key
                write.execute(f"REPLACE INTO {name} VALUES ({key}, {self._random.randrange(10**6)})")
                self.pending.add(raw)
                self.verifier.changed(self._move, [raw], decode)
                self._stop.wait(self._random.random() * 0.002)
                if raw != self.lost:
                    write.execute(f"SELECT a FROM {name} WHERE id = {key}")
                    ((value,),) = write.fetchall()
                    flush.execute(f"REPLACE INTO {name} VALUES ({key}, '{value}')")
                self.pending.discard(raw)
                self.changes += 1


@pytest.mark.parametrize("lost", [None, b"77"])
def test_proofs_hold_while_rows_change(
    both: TablePair, move: TableMove, verifier: Verifier, lost: bytes | None
) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    path = ChangePath(both, move, seed)
    path.lost = lost
    path.start(verifier)
    try:
        turns = 0
        end = time.monotonic() + 180
        while path.changes <= 300 or turns <= 10:
            assert time.monotonic() < end, f"only {path.changes} changes and {turns} turns, seed {seed}"
            if turns % 10 == 0:
                verifier.unproven.begin(move)
                verifier.changed(move, list(path.pending), decode)
                assert verifier.full_pass(Cancellation(), no_progress, no_wait).unfinished == set()
            verifier.prove_some(path.is_pending, 50)
            turns += 1
    finally:
        path.stop()
    left = verifier.unproven.size()
    print(f"{path.changes} changes, {turns} turns, {left} keys left to the lock")
    both.on_source("REPLACE INTO t VALUES (77, 'the last change')")
    if lost is None:
        both.on_target("REPLACE INTO t VALUES (77, 'the last change')")
    verifier.changed(move, [b"77"], decode)
    assert texts(verifier.prove_all(soon(), check_cancelled)) == (
        [] if lost is None else ["changed 77"] if _there(both) else ["missing 77"]
    )


def _there(both: TablePair) -> bool:
    return bool(both.pair.target.query(f"SELECT 1 FROM `{both.schema}`.t WHERE id = 77"))
