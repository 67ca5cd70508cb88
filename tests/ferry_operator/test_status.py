"""The part of a status that is ours, what is rate-limited, and which changes become Events."""

from datetime import UTC, datetime

import pytest

from ferry_core.reasons import Reason
from ferry_core.throttle import SIGNALS
from ferry_operator.names import Object
from ferry_operator.status import TOLD_ONCE, Draft, own_part, transitions, urgent


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


def test_a_throttle_is_told_when_it_begins_and_ends() -> None:
    def said(status: str, reason: str, message: str = "") -> Object:
        return {"conditions": [{"type": "Throttled", "status": status, "reason": reason, "message": message}]}

    off, on = said("False", "NotThrottled"), said("True", "ReplicaLag", "replica-lag 7s > 5s")
    assert transitions({}, off) == []
    assert transitions(off, on) == [("Normal", "ReplicaLag", "throttled: replica-lag 7s > 5s")]
    assert transitions(on, said("True", "ReplicaLag", "replica-lag 9s > 5s")) == []
    assert transitions(on, off) == [("Normal", "NotThrottled", "no longer throttled")]
    assert {*SIGNALS.values(), Reason.NOT_THROTTLED} == TOLD_ONCE


@pytest.mark.parametrize(
    ("kind", "status", "reason", "message", "told"),
    [
        ("Validated", "True", "Passed", "", "preflight passed without warnings"),
        (
            "Validated",
            "True",
            "Passed",
            "preflight passed with 1 warning: A: b",
            "preflight passed with 1 warning: A: b",
        ),
        ("Validated", "False", "BinlogDisabled", "no binlog", "preflight failed: no binlog"),
        (
            "ReadyForCutover",
            "True",
            "GatesPassed",
            "not moved: a.b",
            "every gate is passed: the cutover can begin; not moved: a.b",
        ),
        ("Verified", "True", "NoDifference", "", "the verification found no difference"),
        ("Paused", "True", "PausedByUser", "", "paused: no rows move, progress is kept"),
        ("Stalled", "True", "NodeLost", "node a is gone", "a person is needed: node a is gone"),
    ],
)
def test_events_are_sentences(kind: str, status: str, reason: str, message: str, told: str) -> None:
    draft = Draft({}, 1, datetime(2026, 1, 1, tzinfo=UTC))
    before = draft.status()
    draft = Draft(before, 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert status in ("True", "False")
    draft.condition(kind, "True" if status == "True" else "False", reason, message)
    ((_, given, note),) = transitions(before, draft.status())
    assert (given, note) == (reason, told)


def test_no_condition_is_without_a_sentence() -> None:
    draft = Draft({}, 1, datetime(2026, 1, 1, tzinfo=UTC))
    assert [each["type"] for each in draft.status()["conditions"] if not each["message"]] == []
    assert draft.not_compared == ""


def test_the_end_of_a_copier_and_its_successor_are_events() -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "time": "t"}
    before: Object = {"conditions": [], "copier": {"epoch": 1}}
    after: Object = {"conditions": [], "copier": {"epoch": 1, "lastTermination": ended}}
    resumed: Object = {"conditions": [], "copier": {"epoch": 2, "lastTermination": ended}}
    assert transitions({"conditions": []}, before) == []
    assert transitions(before, after) == [
        ("Warning", "CopierStarting", "the copier ended with exit code 137 (OOMKilled); it resumes from its checkpoint")
    ]
    assert transitions(after, resumed) == [
        ("Normal", "CopierStarting", "a new copier process resumed from the checkpoint, as epoch 2")
    ]
    failed = {"conditions": [], "copier": {"epoch": 1, "lastTermination": ended | {"exitCode": 65}}}
    assert transitions(before, failed) == []
