"""The part of a status that is ours, what is rate-limited, and which changes become Events."""

from datetime import UTC, datetime

from ferry_operator.names import Object
from ferry_operator.status import Draft, own_part, transitions, urgent


def test_only_numbers_can_wait() -> None:
    said: Object = {"phase": "Copying", "progress": {"percent": 1}, "throttle": {"active": True, "reason": "a"}}
    assert not urgent(said, said | {"progress": {"percent": 2}, "message": "new", "throttle": {"active": True}})
    changes: list[Object] = [{"phase": "Paused"}, {"throttle": {"active": False}}, {"failure": {}}]
    for change in changes:
        assert urgent(said, said | change)


def test_conditions_of_other_controllers_are_left_alone() -> None:
    theirs = {"type": "Theirs", "status": "True", "reason": "R", "message": "", "lastTransitionTime": "t"}
    draft = Draft({"conditions": [theirs]}, 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert "Theirs" not in {each["type"] for each in draft.status()["conditions"]}
    assert own_part({"phase": "Copying", "conditions": [theirs]}) == {"phase": "Copying", "conditions": []}
    assert own_part({}) == {}


def test_events_are_posted_for_transitions_only() -> None:
    def said(status: str, reason: str, kind: str = "CutOver") -> Object:
        told = {"type": kind, "status": status, "reason": reason, "message": "m"}
        return {"conditions": [told], "cutover": {"lastResult": "DeadlineExceeded"}}

    assert transitions({}, said("False", "InProgress")) == []
    assert transitions(said("False", "InProgress"), said("False", "DeadlineExceeded")) == [
        ("Warning", "DeadlineExceeded", "m")
    ]
    assert transitions(said("False", "DeadlineExceeded"), said("False", "AwaitingApproval")) == [
        ("Normal", "AwaitingApproval", "m")
    ]
    exhausted = said("False", "AttemptsExhausted")
    exhausted["conditions"] += said("True", "AttemptsExhausted", "Stalled")["conditions"]
    assert transitions(said("False", "DeadlineExceeded"), exhausted) == [("Warning", "AttemptsExhausted", "m")]
    assert transitions(said("False", "DeadlineExceeded"), said("False", "DeadlineExceeded")) == []
    assert transitions(said("False", "DeadlineExceeded"), said("True", "Done")) == [("Normal", "Done", "m")]
