"""A source that changes more rows during a pass than are kept: they are proven meanwhile, and the pass counts."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from unittest.mock import Mock

import pytest

from ferry_core.api.choices import OnMismatch, VerifyMode
from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.errors import ConnectionLost
from ferry_core.intent.pass_requests import PassRequests
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.reasons import Reason
from ferry_core.tables.table import ALL_ROWS, ALL_ROWS_RAW, Table
from ferry_core.verify import final_pass
from ferry_core.verify.difference import Difference
from ferry_core.verify.verifier import KEYS_PER_TURN, Proof, Verifier
from ferry_core.workers import background_verifier
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.explained import Explained
from ferry_core.workers.passes import Wanted
from ferry_core.workers.stream_waits import StreamWaits
from ferry_core.workers.surroundings import Surroundings
from tests.support.table_pair import TablePair
from tests.support.tables import decode, mark, move_of
from tests.support.waits import Background, wait_until

ROWS = 2000
AT_ONCE = 50
KEPT_KEYS = 300
KEPT_BYTES = KEPT_KEYS * 134
NUMBERS = f"WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS}) SELECT "


@pytest.fixture
def move(both: TablePair, monkeypatch: pytest.MonkeyPatch) -> TableMove:
    monkeypatch.setattr(final_pass, "MEANWHILE_SECONDS", 0.01)
    monkeypatch.setattr(final_pass, "CANDIDATES_PER_TABLE", 100)
    limit = "cte_max_recursion_depth" if both.pair.family == "mysql" else "max_recursive_iterations"
    both.on_both(
        f"SET {limit} = {ROWS}", "CREATE TABLE t (id int PRIMARY KEY, a int)", f"INSERT INTO t {NUMBERS} i, 0 FROM n"
    )
    made = move_of(both.table())
    made.state = MoveState.FOLLOWING
    return made


def verifier_of(both: TablePair, move: TableMove, rows_per_chunk: int = AT_ONCE) -> Verifier:
    sessions = both.connect_source, both.connect_target
    return Verifier([move], *sessions, workers=1, rows_per_chunk=rows_per_chunk, max_bytes=KEPT_BYTES)


class Writing:
    """Called after each chunk: other rows change on both servers, or first on the source. Their events follow."""

    def __init__(self, both: TablePair, verifier: Verifier, move: TableMove) -> None:
        self._both = both
        self._verifier = verifier
        self._move = move
        self._lock = threading.Lock()
        self._patient = True
        self.changed = 0

    def after_a_chunk(self, _table: Table, _rows: int) -> None:
        with self._lock:
            first = self.changed % ROWS + 1
            self.changed += AT_ONCE
            statement = f"UPDATE t SET a = a + 1 WHERE id BETWEEN {first} AND {first + AT_ONCE - 1}"
            self._both.on_both(statement)
            self._verifier.changed(self._move, [b"%d" % key for key in range(first, first + AT_ONCE)], decode)
            self._until_some_are_proven()

    def _until_some_are_proven(self) -> None:
        """An application that writes as much between two turns as a verification that keeps up has room for."""
        end = time.monotonic() + (20 if self._patient else 0)
        while self._verifier.unproven.size() > KEPT_KEYS - 2 * AT_ONCE and self._patient:
            self._patient = time.monotonic() < end
            time.sleep(0.01)


@contextlib.contextmanager
def running(verifier: Verifier, move: TableMove, writing: Writing) -> Iterator[BackgroundVerifier]:
    """The verification's thread, over a stream that has delivered everything."""
    buffer, ending, events = ChangeBuffer(mark(1)), Cancellation(), Mock()
    events.verified = writing.after_a_chunk
    waits = StreamWaits(buffer, ending, lambda: lambda: True)
    wanted = Wanted(VerifyMode.FINAL, lambda: OnMismatch.FAIL, PassRequests, lambda: False, Mock())
    verification = BackgroundVerifier(
        verifier, [move], Surroundings(buffer, waits, events, wanted, ending, Explained(Mock(), ending))
    )
    thread = threading.Thread(target=verification.run, daemon=True)
    thread.start()
    try:
        yield verification
    finally:
        ending.cancel()
        thread.join(60)
        verifier.close()


def test_more_keys_than_are_kept_change_during_the_pass(both: TablePair, move: TableMove) -> None:
    verifier = verifier_of(both, move)
    writing = Writing(both, verifier, move)
    with running(verifier, move, writing) as verification:
        wait_until(lambda: verification.proven or writing.changed > 2 * ROWS, "the pass ends")
        assert verification.proven
    assert writing.changed > 3 * KEPT_KEYS


@pytest.mark.parametrize("fails", [False, True], ids=["ends", "fails"])
def test_a_pass_is_over_although_there_are_always_more_keys_to_prove(
    both: TablePair, move: TableMove, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    verifier = verifier_of(both, move, ROWS)
    verifier.unproven.begin(move)
    always = Proof(proven=KEYS_PER_TURN)
    turns = Mock(return_value=always)
    monkeypatch.setattr(verifier, "prove_some", turns)

    def progress(*_: object) -> None:
        wait_until(lambda: turns.call_count > 2, "keys are proven meanwhile")
        if fails:
            raise ConnectionLost(Reason.CONNECTION_LOST, "away")

    passing = Background(lambda: verifier.full_pass(Cancellation(), progress, lambda _: None, is_pending=Mock()))
    try:
        with pytest.raises(ConnectionLost) if fails else contextlib.nullcontext():
            passing.join(30)
    finally:
        always.proven = 0


class OnTheirWay:
    """Rows change on the source after each chunk, and are on the target when somebody waits for them."""

    def __init__(self, both: TablePair) -> None:
        self._both = both
        self._lock = threading.Lock()
        self.waits = 0

    def after_a_chunk(self, _table: Table, _rows: int) -> None:
        with self._lock:
            self._both.on_source("UPDATE t SET a = a + 1")

    def wait_flushed(self, _moves: Sequence[TableMove]) -> None:
        with self._lock:
            self.waits += 1
            (value,) = self._both.pair.source.query(f"SELECT MAX(a) FROM `{self._both.schema}`.t")[0]
            self._both.on_target(f"UPDATE t SET a = {value}")


@pytest.mark.parametrize("rows_per_chunk", [AT_ONCE, 5 * AT_ONCE])
def test_more_rows_than_are_kept_differ_during_the_pass(both: TablePair, move: TableMove, rows_per_chunk: int) -> None:
    """Because their changes are on their way: also more in one chunk than are kept."""
    verifier = verifier_of(both, move, rows_per_chunk)
    verifier.unproven.begin(move)
    changing = OnTheirWay(both)
    both.on_source("UPDATE t SET a = 1")
    verdict = verifier.full_pass(Cancellation(), changing.after_a_chunk, changing.wait_flushed)
    assert (verdict.unfinished, verdict.differing) == (set(), [])
    assert changing.waits > 3


def test_more_rows_than_are_kept_differ_during_a_further_pass(both: TablePair, move: TableMove) -> None:
    """The rows that it finds are unproven until a turn of the verification's thread: there is room for all of them."""
    verifier = Verifier([move], both.connect_source, both.connect_target, workers=1, rows_per_chunk=AT_ONCE)
    verifier.unproven.begin(move)
    changing = OnTheirWay(both)
    both.on_source("UPDATE t SET a = 1")
    verifier.compare_again(Cancellation(), changing.after_a_chunk, changing.wait_flushed)
    assert not move.unproven.whole


def test_a_pass_ends_when_too_many_rows_really_differ(both: TablePair, move: TableMove) -> None:
    verifier = verifier_of(both, move)
    verifier.unproven.begin(move)
    both.on_target("UPDATE t SET a = 7")
    verdict = verifier.full_pass(Cancellation(), lambda *_: None, lambda _: None)
    assert (verdict.unfinished, verdict.decided) == ({move}, set())
    assert verdict.differing
    assert all(isinstance(one, Difference) for one in verdict.differing)


def test_a_pass_does_not_wait_for_the_copy_of_a_table_without_a_key(both: TablePair) -> None:
    """An event that comes during the wait makes it another one, which may be over only under the cutover's lock."""
    both.on_both("CREATE TABLE k (n INT)")
    both.on_source("INSERT INTO k VALUES (1)")
    keyless = move_of(both.selected(f"{both.schema}.k")[0])
    verifier = verifier_of(both, keyless)
    verifier.unproven.begin(keyless)
    waited: list[TableMove] = []

    def an_event_comes(moves: Sequence[TableMove]) -> None:
        waited.extend(moves)
        verifier.changed(keyless, [ALL_ROWS_RAW], lambda _: ALL_ROWS)

    verdict = verifier.full_pass(Cancellation(), lambda *_: None, an_event_comes)
    assert (waited, verdict.differing) == ([], [])
    assert verifier.unproven.size(keyless) == 1


def test_the_pause_between_turns_is_left_out_while_there_are_many_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = Mock(unproven=Mock(size=lambda: 6))
    verification = BackgroundVerifier(verifier, [], Surroundings(Mock(), Mock(), Mock(), Mock(), Mock(), Mock()))
    monkeypatch.setattr(background_verifier, "MANY_KEYS", 5)
    monkeypatch.setattr(background_verifier, "KEYS_PER_TURN", 3)
    found = []
    for proven in (0, 2, 3):
        verification._proven_last = proven
        found.append(verification._pause())
    assert found == [background_verifier.LOOK_SECONDS, background_verifier.LOOK_SECONDS, 0.0]
