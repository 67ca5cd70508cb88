"""Passes of the verification in the background: when one begins, who cancels it, and what it waits for."""

import itertools
import threading
import time
from contextlib import nullcontext
from unittest.mock import Mock

import pytest

from ferry_core.api.choices import VerifyMode
from ferry_core.api.spec import Copy
from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.intent.pass_requests import PassRequests
from ferry_core.moves.move_set import MoveSet
from ferry_core.verify.difference import Difference, DifferenceKind, RowsDiffer, RowsKept
from ferry_core.verify.unproven import UnprovenKeys
from ferry_core.verify.verifier import Proof, Verdict, Verifier, WaitFlushed
from ferry_core.workers import background_verifier, passes
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.explained import Explained
from ferry_core.workers.passes import Wanted
from ferry_core.workers.surroundings import Surroundings
from tests.support.tables import mark, move_of, simple_table
from tests.support.verifier_rig import MOVE, VerifierRig
from tests.support.waits import wait_until


def test_an_attempt_cancels_a_pass_that_begins_again_after_it() -> None:
    rig = VerifierRig(lambda: mark(1))
    rig.requests = PassRequests().asked([])
    started = threading.Event()

    def compare_again(cancelled: Cancellation, *_: object) -> dict[object, object]:
        started.set()
        cancelled.wait(60)
        cancelled.check()
        return {}

    rig.verifier.compare_again = Mock(side_effect=compare_again)
    comparing = rig.in_thread(rig.verification._pass_if_due)
    assert started.wait(60)
    rig.verification.stand_aside(Mock())
    comparing.join(60)
    assert not comparing.is_alive()
    rig.events.pass_ends.assert_not_called()
    rig.verification._pass_if_due()
    assert rig.verifier.compare_again.call_count == 1
    rig.verification.go_on()
    rig.verifier.compare_again = Mock(return_value={})
    rig.verification._pass_if_due()
    rig.verification._decide()
    rig.events.pass_ends.assert_called_once_with(0, 1)


def _pass_waits(rig: VerifierRig) -> threading.Event:
    """A pass has found rows whose changes are on their way, and the stream does not deliver them."""
    left = threading.Event()

    def compare_again(cancelled: Cancellation, _progress: object, wait_flushed: WaitFlushed, *_: object) -> object:
        wait_flushed([MOVE])
        left.set()
        cancelled.check()
        return {}

    rig.verifier.compare_again = Mock(side_effect=compare_again)
    return left


def test_a_cancelled_pass_does_not_wait_for_changes_that_are_on_their_way() -> None:
    rig = VerifierRig(lambda: mark(3))
    rig.requests = PassRequests().asked([])
    rig.verifier.prove_some.return_value = Proof()
    left = _pass_waits(rig)
    comparing = rig.in_thread(rig.verification._pass_if_due)
    wait_until(lambda: rig.verifier.compare_again.called, "the pass begins")
    assert not left.wait(0.2)
    rig.verification.stand_aside(Mock())
    comparing.join(20)
    ended = not comparing.is_alive()
    rig.ending.cancel()
    assert ended
    rig.events.pass_cancelled.assert_called_once_with()


def test_the_last_pass_waits_no_longer_than_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = VerifierRig(lambda: mark(3))
    monkeypatch.setattr(background_verifier, "LAST_LOOK_SECONDS", 0.1)
    left = _pass_waits(rig)
    rig.verification.look_again(lambda: None)
    ended = left.wait(20)
    rig.ending.cancel()
    assert ended


@pytest.mark.parametrize("how", ["joins", "starts over"])
def test_a_move_needs_a_pass_of_its_own(how: str) -> None:
    """Even before the next check, which comes half a second later."""
    moves = MoveSet.of([simple_table("a"), simple_table("b")], Copy())
    verifier = Verifier(moves, Mock(), Mock())
    wanted = Wanted(VerifyMode.FINAL, Mock(), PassRequests, Mock(), Mock())
    around = Surroundings(
        ChangeBuffer(mark(1)), Mock(), Mock(), wanted, Cancellation(), Explained(Mock(), Cancellation())
    )
    verification = BackgroundVerifier(verifier, moves, around)
    for move in moves:
        verifier.unproven.begin(move)
    before = verification.proven
    verification._passed.set()
    passed = verification.proven
    if how == "joins":
        moves.join(simple_table("c"))
    else:
        verifier.forget(next(iter(moves)))
    assert (before, passed, verification.proven) == (False, True, False)


def test_continuous_passes_pause_for_a_multiple_of_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = VerifierRig(lambda: mark(1), VerifyMode.CONTINUOUS)
    rig.verifier.compare_again = Mock(return_value={})
    rig.paused = True
    rig.verification._pass_if_due()
    assert not rig.verifier.compare_again.called
    rig.paused = False
    rig.verification._pass_if_due()
    *_, moves, workers = rig.verifier.compare_again.call_args.args
    assert (moves, workers) == ([MOVE], 1)
    rig.verification._decide()
    rig.verification._pass_if_due()
    assert rig.verifier.compare_again.call_count == 1
    monkeypatch.setattr(passes, "SHORTEST_PAUSE_SECONDS", 0.0)
    rig.verification._passes.ended(0.0)
    rig.verification._pass_if_due()
    assert rig.verifier.compare_again.call_count == 2


def test_a_long_continuous_pass_does_not_replace_the_last_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one worker works between the signals of a throttle."""
    rig = VerifierRig(lambda: mark(1), VerifyMode.CONTINUOUS)
    clock = Mock(wraps=time, time=Mock(side_effect=itertools.count(0, 11)))
    monkeypatch.setattr(background_verifier, "time", clock)
    rig.verifier.compare_again = Mock(return_value={})
    rig.verification._pass_if_due()
    rig.verification.look_again(lambda: None)
    assert rig.verifier.compare_again.call_count == 2


def test_changed_keys_are_proven_while_a_pass_is_held_back() -> None:
    rig, release = VerifierRig(lambda: mark(1), VerifyMode.CONTINUOUS), threading.Event()
    rig.verifier.prove_some.return_value = Proof()
    rig.verifier.steady.return_value = []
    rig.verifier.compare_again = Mock(side_effect=lambda *_: {} if release.wait(60) else None)
    comparing = rig.in_thread(rig.verification._pass_if_due)
    wait_until(lambda: rig.verifier.prove_some.call_count > 1, "what changed is checked")
    assert comparing.is_alive()
    release.set()
    comparing.join(60)
    assert not comparing.is_alive()
    assert rig.verification._running is not None


@pytest.mark.parametrize("what", ["request", "pause"])
def test_a_pass_that_is_held_back_ends_for(what: str) -> None:
    rig = VerifierRig(lambda: mark(1), VerifyMode.CONTINUOUS)
    rig.verifier.prove_some.return_value = Proof()
    rig.verifier.steady.return_value = []
    started = threading.Event()

    def held(cancelled: Cancellation, *_: object) -> dict[object, object]:
        started.set()
        cancelled.wait(60)
        cancelled.check()
        return {}

    rig.verifier.compare_again = Mock(side_effect=held)
    comparing = rig.in_thread(rig.verification._pass_if_due)
    assert started.wait(60)
    if what == "pause":
        rig.paused = True
    else:
        rig.requests = rig.requests.asked([])
    comparing.join(60)
    assert not comparing.is_alive()
    rig.events.pass_cancelled.assert_called_once_with()
    rig.verifier.compare_again = Mock(return_value={})
    rig.verification._pass_if_due()
    assert rig.verifier.compare_again.called == (what == "request")


@pytest.mark.parametrize("marked", ["rebuilt", "restarted"])
@pytest.mark.parametrize("found", ["equal", "differs", "unfinished", "undecided"])
def test_rows_of_the_target_are_the_only_copy_no_more_once_a_pass_has_found_their_table_equal(
    found: str, marked: str
) -> None:
    """Otherwise one harmless OPTIMIZE would end the run when a row differs weeks later."""
    rig, move = VerifierRig(lambda: mark(1)), move_of()
    setattr(move.unproven, marked, True)
    rig.verifier.unproven = UnprovenKeys([move])
    differing = [Difference(move.table, ("1",), DifferenceKind.EXTRA)] if found == "differs" else []
    verdict = Verdict(1, differing, {move} if found == "unfinished" else set())
    if found in ("equal", "differs"):
        verdict.decided.add(move)
    rig.verifier.full_pass.return_value = verdict
    with nullcontext() if found != "differs" else pytest.raises(RowsDiffer):
        rig.verification._full_pass([move])
    assert getattr(move.unproven, marked) == (found != "equal")


def test_with_fail_nobody_is_told_to_delete_what_may_be_the_only_copy() -> None:
    rig, move = VerifierRig(lambda: mark(1)), move_of()
    rig.verification._moves = [move]
    move.unproven.restarted = True
    with pytest.raises(RowsKept, match="stay as they are on the target") as caught:
        rig.verification._judge([Difference(move.table, ("1",), DifferenceKind.EXTRA)], {move.table})
    assert not caught.value.reported, "the next start compares them again"


def test_a_table_that_is_rebuilt_when_its_pass_ends_stays_marked() -> None:
    move = move_of()
    unproven = UnprovenKeys([move])
    unproven.begin(move)
    unproven.rebuilt(move)
    unproven.lost_nothing(move)
    assert move.unproven.rebuilt
