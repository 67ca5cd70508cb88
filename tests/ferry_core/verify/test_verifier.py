import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from ferry_core.binlog.sink import RowKey
from ferry_core.cancellation import Cancellation
from ferry_core.errors import Interrupted, RetriableError, Terminated
from ferry_core.moves.move import TableMove
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import KeyLiterals, Table
from ferry_core.verify.difference import Difference
from ferry_core.verify.narrow import check_keys
from ferry_core.verify.verifier import Proof, Verdict, Verifier
from tests.support.table_pair import TablePair
from tests.support.tables import decode, move_of


class Interposed(Session):
    """A session that runs a callback before its first query, to force a race between two reads."""

    before: Callable[[], None] | None = None

    def query(self, statement: str | bytes) -> list[tuple[bytes | None, ...]]:
        if self.before is not None:
            happen, self.before = self.before, None
            happen()
        return super().query(statement)


def nothing_pending(_move: TableMove, _key: RowKey) -> bool:
    return False


def no_wait(_moves: Sequence[TableMove]) -> None:
    """Nothing is pending."""


def no_progress(_table: Table, _rows: int) -> None:
    """Ignores progress."""


def check_cancelled() -> None:
    """Never cancels."""


def full_pass(verifier: Verifier) -> Verdict:
    return verifier.full_pass(Cancellation(), no_progress, no_wait)


def soon() -> float:
    return time.monotonic() + 180


def never() -> Session:
    raise AssertionError("no server is needed")


def texts(differences: list[Difference]) -> list[str]:
    return sorted(f"{each.kind} {each.key[0]}" for each in differences)


def test_single_keys_are_compared(both: TablePair, move: TableMove) -> None:
    source, target = both.connect_source(Purpose.SOURCE_TEXT), both.connect_target()
    keys: list[KeyLiterals] = [("1",), ("2",), ("3",), ("4",)]
    assert check_keys(move.table, keys, source, target) == []
    both.on_target("DELETE FROM t WHERE id = 1", "UPDATE t SET a = '' WHERE id = 2", "INSERT INTO t VALUES (4, '')")
    assert texts(check_keys(move.table, keys, source, target)) == ["changed 2", "extra 4", "missing 1"]
    assert texts(check_keys(move.table, keys, source, target, " LOCK IN SHARE MODE")) == [
        "changed 2",
        "extra 4",
        "missing 1",
    ]
    assert check_keys(move.table, [("3",), ("5",)], source, target) == []
    filtered = both.table(row_filter="a <> 'one'")
    assert texts(check_keys(filtered, keys, source, target)) == ["changed 2", "extra 4"]


def test_two_spellings_of_a_key_name_the_same_row(both: TablePair, move: TableMove) -> None:
    both.on_target("UPDATE t SET a = '' WHERE id = 2")
    source, target = both.connect_source(Purpose.SOURCE), both.connect_target()
    assert texts(check_keys(move.table, [("2e0",), ("+2",), ("0x02 + 0",)], source, target)) == ["changed 2"]


def test_the_target_may_idle_for_longer_than_its_timeout_while_the_source_reads(
    both: TablePair, move: TableMove
) -> None:
    slow = move_of(replace(move.table, row_filter="SLEEP(0.7) = 0"))

    def impatient() -> Session:
        session = both.connect_target()
        session.execute("SET SESSION wait_timeout = 1")
        return session

    verifier = Verifier([slow], both.connect_source, impatient, workers=1)
    verifier.unproven.begin(slow)
    verifier.unproven.add(slow, [("1",), ("2",), ("3",)], None)
    assert (full_pass(verifier).rows, verifier.unproven.size()) == (3, 3)
    assert verifier.prove_some(nothing_pending).proven == 3
    verifier.close()


def test_no_verdict_without_a_pass(both: TablePair, move: TableMove) -> None:
    verifier = Verifier([move], both.connect_source, both.connect_target)
    with pytest.raises(RetriableError, match=r"VerificationUnfinished.*\.t yet"):
        verifier.prove_all(soon(), check_cancelled)


def test_equal_tables_are_proven(verifier: Verifier) -> None:
    verdict = full_pass(verifier)
    assert (verdict.rows, verdict.differing, verdict.unfinished) == (3, [], set())
    assert len(verdict.decided) == 1
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_a_difference_is_named_before_the_lock(both: TablePair, verifier: Verifier) -> None:
    both.on_target("UPDATE t SET a = 'zwei' WHERE id = 2", "DELETE FROM t WHERE id = 3")
    assert texts(full_pass(verifier).differing) == ["changed 2", "missing 3"]


def test_an_unflushed_change_is_not_a_difference(both: TablePair, move: TableMove, verifier: Verifier) -> None:
    both.on_source("UPDATE t SET a = 'zwei' WHERE id = 2")
    verifier.changed(move, [b"2"], decode)

    def flush(_moves: Sequence[TableMove]) -> None:
        both.on_target("UPDATE t SET a = 'zwei' WHERE id = 2")

    verdict = verifier.full_pass(Cancellation(), no_progress, flush)
    assert verdict.differing == []
    assert verifier.unproven.size(move) == 1, "a pass takes no key out"
    assert verifier.prove_all(soon(), check_cancelled) == []
    assert verifier.unproven.size(move) == 0


def test_a_row_that_keeps_changing_is_left_to_the_lock(both: TablePair, verifier: Verifier) -> None:
    turns = 0

    def change_again(_moves: Sequence[TableMove]) -> None:
        nonlocal turns
        turns += 1
        both.on_target(f"UPDATE t SET a = 'v{turns}' WHERE id = 2")
        both.on_source(f"UPDATE t SET a = 'v{turns + 1}' WHERE id = 2")

    both.on_source("UPDATE t SET a = 'v1' WHERE id = 2")
    verdict = verifier.full_pass(Cancellation(), no_progress, change_again)
    assert turns == 3
    assert (verdict.differing, verdict.decided) == ([], set())
    assert texts(verifier.prove_all(soon(), check_cancelled)) == ["changed 2"], "no event named it: only the pass knows"
    both.on_target(f"UPDATE t SET a = 'v{turns + 1}' WHERE id = 2")
    verifier.prove_some(nothing_pending)
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_a_row_that_flips_between_two_values_is_not_a_difference(
    both: TablePair, move: TableMove, verifier: Verifier
) -> None:
    """It changes many times a second, and its change is always pending; each comparison shows the same pair of
    hashes.
    """

    def flip(_moves: Sequence[TableMove]) -> None:
        both.on_source("UPDATE t SET a = IF(a = 'off', 'on', 'off') WHERE id = 2")
        both.on_source("UPDATE t SET a = IF(a = 'off', 'on', 'off') WHERE id = 2")
        verifier.changed(move, [b"2"], decode)

    both.on_source("UPDATE t SET a = 'on' WHERE id = 2")
    both.on_target("UPDATE t SET a = 'off' WHERE id = 2")
    assert verifier.full_pass(Cancellation(), no_progress, flip).differing == []
    for _ in range(3):
        proof = verifier.prove_some(nothing_pending)
        assert texts(proof.differing) == ["changed 2"]
        flip([move])
        assert verifier.steady(proof) == []
    # It stops changing, and its last change never arrives.
    assert texts(verifier.steady(verifier.prove_some(nothing_pending))) == ["changed 2"]


@pytest.mark.parametrize("kind", ["missing", "extra"])
def test_a_row_found_by_an_equal_key_is_not_judged_while_the_change_of_its_own_key_is_pending(
    both: TablePair, kind: str
) -> None:
    """Each of DELETE 'a' and INSERT 'A' names a row that SQL finds by the other's key."""
    both.on_both("CREATE TABLE k (name VARCHAR(9) CHARACTER SET latin1 COLLATE latin1_swedish_ci PRIMARY KEY)")
    (both.on_source if kind == "missing" else both.on_target)("INSERT INTO k VALUES ('A')")
    move = move_of(both.table("k"))
    verifier = Verifier([move], both.connect_source, both.connect_target)
    verifier.unproven.begin(move)
    verifier.unproven.add(move, [("'a'",)], None)
    ((_, (difference,)),) = verifier.prove_some(nothing_pending).found
    upper = difference.key[0].encode()
    lower = upper.replace(b"41", b"61")
    assert (difference.kind, lower != upper) == (kind, True)
    verifier.unproven.begin(move)
    verifier.changed(move, [lower], decode)
    assert verifier.steady(verifier.prove_some(nothing_pending)) == [difference]
    verifier.changed(move, [upper], decode)
    assert verifier.steady(verifier.prove_some(lambda _, key: key == upper)) == []
    assert verifier.steady(verifier.prove_some(nothing_pending)) == [difference]
    verifier.close()


def test_unproven_keys_are_proven_in_the_background(both: TablePair, move: TableMove, verifier: Verifier) -> None:
    full_pass(verifier)
    verifier.changed(move, [b"1", b"2", b"3", b"9"], decode)
    both.on_target("UPDATE t SET a = '' WHERE id = 2")
    proof = verifier.prove_some(lambda _move, key: key == b"3")
    assert (proof.looked_at, proof.proven, proof.pending, texts(proof.differing)) == (4, 2, 1, ["changed 2"])
    assert verifier.unproven.size(move) == 2
    assert texts(verifier.prove_all(soon(), check_cancelled)) == ["changed 2"]
    both.on_target("UPDATE t SET a = 'two' WHERE id = 2")
    proof = verifier.prove_some(nothing_pending)
    assert (proof.proven, verifier.unproven.size(move)) == (2, 0)


def between_the_reads(both: TablePair, move: TableMove, happen: list[str], on_event: bool) -> tuple[Verifier, Proof]:
    """``prove_some`` over key 2 while both rows change after the source's read and before the target's."""

    def change() -> None:
        both.on_both(*happen)
        if on_event:
            made.changed(move, [b"2"], decode)

    def connect_target() -> Session:
        session = Interposed(both.pair.target.endpoint("target"), Purpose.TARGET)
        session.before = change
        return session

    made = Verifier([move], both.connect_source, connect_target)
    made.unproven.begin(move)
    made.changed(move, [b"2"], decode)
    return made, made.prove_some(nothing_pending)


def test_a_change_between_the_two_reads_proves_nothing(both: TablePair, move: TableMove) -> None:
    verifier, proof = between_the_reads(both, move, ["UPDATE t SET a = 'new' WHERE id = 2"], on_event=True)
    assert (proof.proven, texts(proof.differing)) == (0, ["changed 2"])
    assert verifier.unproven.size() == 1
    assert verifier.prove_some(nothing_pending).proven == 1
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_an_event_between_the_two_reads_keeps_the_key_unproven(both: TablePair, move: TableMove) -> None:
    verifier, proof = between_the_reads(both, move, ["UPDATE t SET a = 'two' WHERE id = 2"], on_event=True)
    assert proof.differing == []
    assert proof.proven == 0, "the rows were equal, but the event is newer than the source's read"
    assert verifier.unproven.size() == 1


def test_a_change_between_the_reads_of_a_pass_is_only_a_candidate(both: TablePair, move: TableMove) -> None:
    changed = threading.Event()

    def connect_target() -> Session:
        session = Interposed(both.pair.target.endpoint("target"), Purpose.TARGET)
        if not changed.is_set():
            changed.set()
            session.before = lambda: both.on_both("UPDATE t SET a = 'new' WHERE id = 2")
        return session

    verifier = Verifier([move], both.connect_source, connect_target, workers=1)
    verifier.unproven.begin(move)
    verdict = full_pass(verifier)
    assert changed.is_set()
    assert verdict.differing == []


def test_no_verdict_past_the_deadline(both: TablePair, move: TableMove, verifier: Verifier) -> None:
    full_pass(verifier)
    verifier.changed(move, [b"2"], decode)
    with both.pair.target.connect() as blocker, blocker.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{both.schema}`.t WRITE")
        started = time.monotonic()
        with pytest.raises(RetriableError, match="VerificationDeadline"):
            verifier.prove_all(started + 0.5, check_cancelled)
        assert time.monotonic() - started < 60
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_a_stopping_run_does_not_wait_for_the_verdict(both: TablePair, move: TableMove, verifier: Verifier) -> None:
    full_pass(verifier)
    verifier.changed(move, [b"2"], decode)
    looks = 0

    def stop() -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise Terminated(Reason.STOPPED, "asked to")

    with both.pair.target.connect() as blocker, blocker.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{both.schema}`.t WRITE")
        background = threading.Thread(target=verifier.prove_some, args=(nothing_pending,))
        for _ in ("in its own statements", "for the background's turn"):
            looks, started = 0, time.monotonic()
            with pytest.raises(Terminated):
                verifier.prove_all(started + 180, stop)
            assert time.monotonic() - started < 90
            if not background.is_alive():
                background.start()
    background.join()
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_an_attempt_uses_no_sessions_that_one_given_up_still_uses(
    both: TablePair, move: TableMove, verifier: Verifier
) -> None:
    full_pass(verifier)
    verifier.changed(move, [b"2"], decode)
    pairs, opened = verifier._last_check._pairs, 0

    def next_attempt() -> None:
        nonlocal opened
        connecting = threading.Thread(target=verifier.connect)
        connecting.start()
        connecting.join()
        opened = sum(pair._target is not None for pair in pairs[1:])
        raise Terminated(Reason.STOPPED, "given up")

    with both.pair.target.connect() as blocker, blocker.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{both.schema}`.t WRITE")
        with pytest.raises(Terminated):
            verifier.prove_all(soon(), next_attempt)
    assert not opened
    verifier.connect()
    assert all(pair._target is not None for pair in pairs[1:])
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_a_hanging_background_turn_does_not_delay_the_deadline(
    both: TablePair, move: TableMove, verifier: Verifier
) -> None:
    full_pass(verifier)
    verifier.changed(move, [b"2"], decode)
    looked = threading.Event()

    def looking(_move: TableMove, _key: RowKey) -> bool:
        looked.set()
        return False

    with both.pair.target.connect() as blocker, blocker.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{both.schema}`.t WRITE")
        background = threading.Thread(target=verifier.prove_some, args=(looking,))
        background.start()
        assert looked.wait(60)
        started = time.monotonic()
        with pytest.raises(RetriableError, match="VerificationDeadline"):
            verifier.prove_all(started + 0.5, check_cancelled)
        assert time.monotonic() - started < 60
    background.join()
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_many_keys_under_the_lock(both: TablePair, move: TableMove, verifier: Verifier) -> None:
    both.on_both(
        "INSERT INTO t WITH RECURSIVE n AS (SELECT 10 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000) "
        "SELECT i, i FROM n"
    )
    verifier.changed(move, [b"%d" % number for number in range(10_000)], decode)
    assert verifier.prove_all(soon(), check_cancelled) == []
    assert verifier.unproven.size() == 0
    verifier.changed(move, [b"%d" % number for number in range(10_000)], decode)
    both.on_target("UPDATE t SET a = '' WHERE id IN (11, 999)", "INSERT INTO t VALUES (9999, '')")
    assert texts(verifier.prove_all(soon(), check_cancelled)) == ["changed 11", "changed 999", "extra 9999"]


def test_over_the_memory_limit_the_table_needs_another_pass(both: TablePair, move: TableMove) -> None:
    verifier = Verifier([move], both.connect_source, both.connect_target, max_bytes=1000)
    verifier.unproven.begin(move)
    full_pass(verifier)
    verifier.changed(move, [b"%d" % number for number in range(100)], decode)
    with pytest.raises(RetriableError, match="VerificationUnfinished"):
        verifier.prove_all(soon(), check_cancelled)
    verifier.unproven.begin(move)
    full_pass(verifier)
    assert verifier.prove_all(soon(), check_cancelled) == []


def test_there_is_no_verdict_if_more_keys_change_than_are_kept_while_it_waits() -> None:
    move = move_of()
    verifier = Verifier([move], lambda _: never(), never)
    verifier.unproven.begin(move)
    assert verifier._background_lock.acquire()

    def meanwhile() -> None:
        if not move.unproven.whole:
            verifier.unproven.give_up(move)
            verifier._background_lock.release()

    with pytest.raises(RetriableError, match="VerificationUnfinished"):
        verifier.prove_all(soon(), meanwhile)


def test_what_a_cancelled_pass_has_found_stays_unproven(both: TablePair, move: TableMove) -> None:
    """An attempt cancels a pass, and compares what is unproven under the lock."""
    one_worker = Verifier([move], both.connect_source, both.connect_target, workers=1, rows_per_chunk=2)
    one_worker.unproven.begin(move)
    both.on_target("UPDATE t SET a = 'else' WHERE id = 1")
    cancelled = Cancellation()
    with pytest.raises(Interrupted):
        one_worker.compare_again(
            cancelled,
            lambda *_: cancelled.cancel(Interrupted(Reason.VERIFICATION_CANCELLED, "an attempt begins")),
            no_wait,
        )
    assert [one.key for one in one_worker.prove_all(time.monotonic() + 60, lambda: None)] == [("1",)]
    one_worker.close()
