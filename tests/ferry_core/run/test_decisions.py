"""The coordinator's decisions, without a run."""

from dataclasses import replace
from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.report import Stage
from ferry_core.cutover.gates import MissingGate
from ferry_core.errors import ConnectionLost, DataError, OtherServer
from ferry_core.intent.desired_state import DesiredState
from ferry_core.reasons import Reason
from ferry_core.run import decisions
from ferry_core.run.decisions import Facts, Next

EARLY, MISSED = MissingGate(Reason.OUTSIDE_WINDOW, "early"), MissingGate(Reason.WINDOW_MISSED, "late")


def wanted(*, paused: bool = False, **cutover: Any) -> DesiredState:
    return DesiredState.at_start(Directive.model_validate({"generation": 1, "paused": paused, "cutover": cutover}))


def test_an_abort_goes_before_a_stop() -> None:
    assert decisions.cancelled(wanted()) is None
    stopped = wanted().stopped()
    assert [str(decisions.cancelled(each)).partition(":")[0] for each in (stopped, stopped.with_abort())] == [
        "Stopped",
        "Aborted",
    ]


@pytest.mark.parametrize("stage", list(Stage))
def test_a_pause_applies_in_every_phase_where_it_cannot_block_the_source(stage: Stage) -> None:
    held = decisions.paused_by(stage, wanted(paused=True))
    assert held == ("" if stage in (Stage.CUTTING_OVER, Stage.COMPLETED) else "spec.paused")
    assert decisions.paused_by(stage, wanted()) == ""
    by_verb = wanted().paused_or_resumed(True)
    assert decisions.paused_by(Stage.COPYING, by_verb) == "ferry pause"


def test_steps_get_a_moment_to_end_by_themselves() -> None:
    assert [decisions.must_interrupt(seconds) for seconds in (None, 0.0, 0.3, 0.4)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("facts", "reasons"),
    [
        ({}, []),
        ({"copied": False}, [Reason.COPYING]),
        ({"lag": 9.0, "caught_up": False}, [Reason.LAG_ABOVE_THRESHOLD]),
        ({"lag": None, "caught_up": False}, [Reason.LAG_UNKNOWN]),
        ({"caught_up": False, "lag_too_new": True}, [Reason.LAG_UNKNOWN]),
        ({"proven": False, "paused": True}, [Reason.VERIFICATION_PENDING, Reason.PAUSED_BY_USER]),
        ({"too_slow": "too slow", "paused": True}, [Reason.WHOLE_TABLE_TOO_SLOW, Reason.PAUSED_BY_USER]),
        ({"outside_window": EARLY, "paused": True}, [Reason.PAUSED_BY_USER, Reason.OUTSIDE_WINDOW]),
        ({"outside_window": MISSED, "copied": False}, [Reason.WINDOW_MISSED, Reason.COPYING]),
        (
            {"lag": None, "caught_up": False, "copied": False, "proven": False, "paused": True},
            [Reason.COPYING, Reason.LAG_UNKNOWN, Reason.VERIFICATION_PENDING, Reason.PAUSED_BY_USER],
        ),
    ],
)
def test_missing_gates_are_in_order(facts: dict[str, Any], reasons: list[Reason]) -> None:
    all_passed = Facts(
        lag=0.1, caught_up=True, lag_message="", lag_too_new=False, copied=True, proven=True, paused=False
    )
    assert [gate.reason for gate in decisions.missing_gates(replace(all_passed, **facts))] == reasons


@pytest.mark.parametrize(
    ("cutover", "attempts", "seconds", "following"),
    [
        ({}, 0, 0.0, Next.WAIT),
        ({"approved": True}, 0, 0.0, Next.ATTEMPT),
        ({"mode": "Automatic"}, 0, 0.0, Next.ATTEMPT),
        ({"approved": True, "max_attempts": 2}, 1, 4.9, Next.WAIT),
        ({"approved": True, "max_attempts": 2}, 1, 0.0, Next.ATTEMPT),
        ({"approved": True, "max_attempts": 2}, 2, 0.0, Next.ASK_A_PERSON),
        ({"max_attempts": 2}, 2, 0.0, Next.WAIT),
    ],
)
def test_what_follows_once_all_gates_are_passed(
    cutover: dict[str, Any], attempts: int, seconds: float, following: Next
) -> None:
    assert decisions.next_after_gates(wanted(**cutover), attempts, seconds) is following


def test_the_error_that_a_run_ends_with() -> None:
    lost, other = ConnectionLost(Reason.CONNECTION_LOST, "gone"), OtherServer(Reason.SOURCE_REPLACED, "another")
    assert decisions.ending(lost, wanted()) is lost
    assert decisions.ending(lost, wanted().stopped()).reason is Reason.STOPPED
    assert isinstance(decisions.ending(other, wanted()), DataError)
    assert decisions.ending(other, wanted().stopped()).reason is Reason.STOPPED
