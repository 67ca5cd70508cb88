"""The verification's waits: rows may differ while their changes are on the way, which is not reported."""

import threading
from typing import Any
from unittest.mock import Mock

import pytest

from ferry_core.api.choices import OnMismatch
from ferry_core.errors import ConnectionLost, DataError, RetriableError, Terminated
from ferry_core.reasons import Reason
from ferry_core.verify.difference import Difference, DifferenceKind
from ferry_core.verify.unproven import UnprovenKeys
from ferry_core.verify.verifier import Proof
from ferry_core.workers import background_verifier, stream_waits
from ferry_core.workers.background_verifier import SAME_DIFFERENCE_TIMES
from tests.support.tables import decode, mark
from tests.support.verifier_rig import DIFFERS, MOVE, VerifierRig, flush


def test_verification_waits_for_changes_still_in_the_stream() -> None:
    rig = VerifierRig(lambda: mark(3))
    waiting = rig.in_thread(lambda: rig.waits.flushed([MOVE]))
    rig.buffer.alive(mark(2), None)
    waiting.join(0.3)
    assert waiting.is_alive()
    rig.buffer.alive(mark(3), None)
    waiting.join(60)
    assert not waiting.is_alive()


def test_verification_does_not_wait_for_changes_that_come_during_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a flush takes longer than one slice of the wait, a busy table always has some of them."""
    monkeypatch.setattr(stream_waits, "SLICE_SECONDS", 0.02)
    rig = VerifierRig(lambda: mark(2))

    def changed(key: bytes, number: int) -> None:
        rig.buffer.begin(mark(number - 1), mark(number), None)
        rig.buffer.changed(MOVE, [key], decode)
        rig.buffer.end(mark(number), None)

    asked = threading.Event()
    wait_flushed = rig.buffer.wait_flushed

    def ask(*arguments: Any) -> bool:
        asked.set()
        return wait_flushed(*arguments)

    rig.buffer.wait_flushed = Mock(side_effect=ask)  # type: ignore[method-assign]
    changed(b"1", 2)
    waiting = rig.in_thread(lambda: rig.waits.flushed([MOVE]))
    assert asked.wait(60)
    first = rig.buffer.take(MOVE, 100)
    assert first is not None
    changed(b"2", 3)
    changed(b"3", 4)
    waiting.join(0.5)
    assert waiting.is_alive()
    rig.buffer.committed(MOVE, first)
    waiting.join(20)
    assert not waiting.is_alive()
    flush(rig.buffer)


def test_verification_waits_while_the_source_is_unreachable() -> None:
    answers = Mock(side_effect=[ConnectionLost(Reason.CONNECTION_LOST, "away")] * 3 + [mark(1)])
    rig = VerifierRig(answers)
    assert rig.waits.flushed([MOVE])
    assert answers.call_count == 4


def test_the_end_of_the_run_ends_the_verifications_wait() -> None:
    rig = VerifierRig(lambda: mark(3))
    waiting = rig.in_thread(lambda: rig.waits.flushed([MOVE]))
    rig.ending.cancel()
    waiting.join(60)
    assert not waiting.is_alive()


def test_a_difference_counts_only_when_the_stream_has_caught_up() -> None:
    rig = VerifierRig(lambda: mark(3))
    looking = rig.in_thread(rig.verification._look)
    looking.join(0.3)
    assert looking.is_alive()
    rig.buffer.alive(mark(3), None)
    looking.join(60)
    for _ in range(SAME_DIFFERENCE_TIMES - 2):
        rig.verification._look()
    with pytest.raises(DataError, match="1 row differs"):
        rig.verification._look()


def test_a_constantly_changing_row_is_never_reported_as_different() -> None:
    rig = VerifierRig(lambda: mark(1))
    rig.verifier.steady.return_value = []
    for _ in range(3 * SAME_DIFFERENCE_TIMES):
        rig.verification._look()
    rig.verifier.steady.return_value = [DIFFERS]
    for _ in range(SAME_DIFFERENCE_TIMES - 1):
        rig.verification._look()
    with pytest.raises(DataError, match="1 row differs"):
        rig.verification._look()


def test_there_is_no_verdict_if_a_pass_begins_while_it_is_asked_for() -> None:
    rig = VerifierRig(lambda: mark(1))
    verification = rig.verification
    verification._passed.set()

    def begins() -> list[object]:
        verification._passed.clear()
        return []

    rig.verifier.unproven = Mock(whole_moves=begins)
    assert not verification.proven


def test_there_is_no_verdict_while_a_pass_is_repeated() -> None:
    """The table's chunks are compared again, and are no longer counted as unproven."""
    rig = VerifierRig(lambda: mark(1))
    moved = Mock(copied=True)
    whole = [moved]
    rig.buffer.pending_snapshot = Mock(return_value=([], None))  # type: ignore[method-assign]
    rig.verifier.prove_some.return_value = Proof(found=[])
    rig.verifier.steady.return_value = []
    rig.verifier.prove_all.return_value = []
    rig.verifier.unproven = Mock(whole_moves=Mock(side_effect=lambda: [*whole]), begin=Mock(side_effect=whole.remove))
    rig.verification._passed.set()

    def full_pass(*_: object) -> Mock:
        assert not whole
        with pytest.raises(RetriableError, match="not complete"):
            rig.verification.prove(0, Mock())
        return Mock(rows=1, differing=[], unfinished=[], decided=[])

    rig.verifier.full_pass = Mock(side_effect=full_pass)
    rig.verification._look()
    assert rig.verifier.full_pass.called
    assert rig.verification.prove(0, Mock()) is None


def test_the_last_pass_has_a_deadline_and_obeys_a_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that hangs then blocks nobody, and the verdict keeps the time of the earlier pass."""
    rig = VerifierRig(lambda: mark(1))
    left = threading.Event()
    rig.verifier.compare_again = Mock(side_effect=lambda cancelled, *_: left.set() if cancelled.wait(60) else None)
    before = rig.verification.unseen
    with pytest.raises(Terminated):
        rig.verification.look_again(Mock(side_effect=[None, Terminated(Reason.STOPPED, "stopped")]))
    assert left.wait(60)
    monkeypatch.setattr(background_verifier, "LAST_LOOK_SECONDS", 0.1)
    rig.verification.look_again(lambda: None)
    monkeypatch.setattr(background_verifier, "LAST_LOOK_SECONDS", 60)
    rig.verifier.compare_again = Mock(side_effect=ConnectionLost(Reason.CONNECTION_LOST, "away"))
    rig.verification.look_again(lambda: None)
    assert rig.verification.unseen == before
    assert rig.verifier.compare_again.call_count == 1
    monkeypatch.setattr(background_verifier, "QUICK_SECONDS", -1)
    rig.verification.look_again(lambda: None)
    assert rig.verifier.compare_again.call_count == 1


def test_the_verdict_mentions_a_pass_that_is_too_old() -> None:
    """In that case nothing is compared again before the cutover."""
    verification = VerifierRig(lambda: mark(1)).verification
    assert "took" not in verification.unseen
    verification._took = background_verifier.QUICK_SECONDS + 35
    assert verification.unseen.endswith("(that pass took 45 s: too long to repeat it)")
    before = verification.unseen
    verification.look_again(Mock())
    assert verification.unseen == before


def test_a_row_that_differs_is_copied_again_until_it_is_equal() -> None:
    rig = VerifierRig(lambda: mark(1))
    rig.on_mismatch = OnMismatch.REPAIR
    rig.verifier.unproven.holds = Mock(side_effect=lambda _, rows: list(rows))
    for _ in range(SAME_DIFFERENCE_TIMES):
        rig.verification._look()
    assert (rig.buffer.pending_keys(MOVE), rig.verification.repairing[:6]) == (1, "1 row ")
    rig.events.differ.assert_called_once_with({MOVE.id: 1})
    for _ in range(2 * SAME_DIFFERENCE_TIMES):  # held back, perhaps by a pause: that is no second repair
        rig.verification._look()
    flush(rig.buffer)
    rig.verifier.unproven.holds = Mock(side_effect=lambda _move, _rows: [])
    rig.verifier.prove_some.return_value = Proof()
    rig.verifier.steady.return_value = []
    rig.verification._look()
    rig.events.repaired.assert_called_once_with({MOVE.id: 1})
    assert not rig.verification.repairing


def test_a_row_that_differs_after_two_repairs_ends_the_run() -> None:
    rig = VerifierRig(lambda: mark(1))
    rig.on_mismatch = OnMismatch.REPAIR
    rig.verifier.unproven.holds = Mock(side_effect=lambda _, rows: list(rows))
    for _ in range(2):
        for _ in range(SAME_DIFFERENCE_TIMES):
            rig.verification._look()
        flush(rig.buffer)
    for _ in range(SAME_DIFFERENCE_TIMES - 1):
        rig.verification._look()
    with pytest.raises(DataError, match="copied again 2 times") as caught:
        rig.verification._look()
    assert caught.value.reason == Reason.TARGET_WRITTEN_BY_OTHERS
    rig.events.differ.assert_called_once()


def test_nothing_is_copied_again_during_an_attempt() -> None:
    rig = VerifierRig(lambda: mark(1))
    rig.on_mismatch = OnMismatch.REPAIR
    rig.verifier.unproven.holds = Mock(side_effect=lambda _, rows: list(rows))
    rig.verification.stand_aside(Mock())
    for _ in range(3 * SAME_DIFFERENCE_TIMES):
        rig.verification._look()
    assert not rig.buffer.pending_keys(MOVE)
    rig.verification.go_on()
    rig.verification._look()
    assert rig.buffer.pending_keys(MOVE) == 1


@pytest.mark.parametrize("by_event", [True, False], ids=["keys of events", "keys of a pass"])
def test_rows_that_are_checked_in_turns_are_judged_too(by_event: bool) -> None:
    """A turn checks only some of the unproven keys."""
    rig = VerifierRig(lambda: mark(1))
    unproven = UnprovenKeys([MOVE])
    unproven.begin(MOVE)
    unproven.add(MOVE, [b"1", b"2", b"3"] if by_event else [("1",), ("2",), ("3",)], decode)
    rig.verifier.unproven = unproven

    def one_key(*_: object, **__: object) -> Proof:
        batch = unproven.take(MOVE, 1)
        assert batch is not None
        differing = [Difference(MOVE.table, key, DifferenceKind.CHANGED) for key in batch.literals()]
        rig.verifier.steady.return_value = differing
        return Proof(found=[(batch, differing)], batches=[batch])

    rig.verifier.prove_some = Mock(side_effect=one_key)
    for _ in range(3 * (SAME_DIFFERENCE_TIMES - 1)):
        rig.verification._look()
    with pytest.raises(DataError, match="1 row differs"):
        rig.verification._look()


def test_no_attempt_begins_before_what_the_last_one_found_is_judged() -> None:
    rig = VerifierRig(lambda: mark(1))
    rig.verification._passed.set()
    unproven = UnprovenKeys([MOVE])
    unproven.begin(MOVE)
    unproven.add(MOVE, [DIFFERS.key], None)
    rig.verifier.unproven = rig.verification._passes._unproven = unproven
    seen = [rig.verification.proven]
    rig.verification.stand_aside(Mock())
    rig.verifier.prove_all.return_value = [DIFFERS]
    assert rig.verification.prove(0, Mock())
    rig.verification.go_on()
    seen.append(rig.verification.proven)
    rig.verification._decide()
    seen.append(rig.verification.proven)
    batch = unproven.take(MOVE, 1)
    assert batch is not None
    assert unproven.proven(batch) == 1
    rig.verification._decide()
    assert [*seen, rig.verification.proven] == [True, False, False, True]
