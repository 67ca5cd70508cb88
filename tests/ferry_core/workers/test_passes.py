"""When tables are compared again, and what ends such a pass."""

from unittest.mock import Mock

from ferry_core.api.choices import OnMismatch, VerifyMode
from ferry_core.intent.pass_requests import PassRequests
from ferry_core.moves.move import MoveState
from ferry_core.workers.passes import Passes, Wanted
from tests.support.tables import move_of


class Asked:
    """What people want: ``requests`` and ``paused`` may be changed at any time."""

    def __init__(self, mode: VerifyMode) -> None:
        self.requests = PassRequests()
        self.paused = False
        self.move = move_of()
        self.move.unproven.whole, self.move.state = False, MoveState.FOLLOWING
        self.unproven = Mock(whole_moves=Mock(return_value=[]))
        wanted = Wanted(mode, lambda: OnMismatch.REPAIR, lambda: self.requests, lambda: self.paused, Mock())
        self.passes = Passes([self.move], self.unproven, wanted)


def test_an_interrupted_pass_answers_all_requests_the_next_time() -> None:
    asked = Asked(VerifyMode.FINAL)
    assert asked.passes.due() is None
    asked.requests = asked.requests.asked([]).asked(["another table"])
    first = asked.passes.due()
    assert first is not None
    assert [*first.moves] == [asked.move]
    asked.passes.began(first)
    asked.passes.interrupted(first)
    assert asked.passes.due() == first


def test_what_ends_a_continuous_pass() -> None:
    asked = Asked(VerifyMode.CONTINUOUS)
    due = asked.passes.due()
    assert due is not None
    assert asked.passes.hindered(due) == ""
    asked.paused = True
    assert asked.passes.hindered(due) == "the run is paused"
    assert asked.passes.due() is None
    asked.paused = False
    asked.unproven.whole_moves.return_value = [asked.move]
    assert asked.passes.hindered(due) == "a table needs a full pass"
    asked.requests = asked.requests.asked([])
    assert asked.passes.hindered(due) == "a pass was asked for"


def test_a_table_that_is_proven_before_its_finding_is_known_is_decided() -> None:
    """It was copied again meanwhile, because of an event."""
    asked = Asked(VerifyMode.FINAL)
    asked.move = Mock(table=Mock(whole=True))
    asked.unproven.newest.return_value = 0
    asked.passes.suspected(asked.move, [])
    assert not asked.passes.undecided
    asked.unproven.newest.return_value = 3
    asked.passes.suspected(asked.move, [])
    assert asked.passes.undecided
