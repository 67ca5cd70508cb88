"""A series of cutover attempts belongs to a person's request: only a new request begins another series."""

from typing import Any

import pytest

from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import Directive
from ferry_core.api.durations import Duration
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.intent.cutover_request import CutoverRequest
from ferry_core.intent.desired_state import DesiredState
from ferry_core.run.attempts import AttemptSeries, CaughtUp

GRANTED = CutoverRequest(wanted=True, max_attempts=1)


def test_a_lag_that_is_not_small_for_long_enough_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("ferry_core.run.attempts.time.monotonic", lambda: clock[0])
    caught_up, said = CaughtUp(Duration("1s")), []
    for clock[0], lag in ((100.0, None), (101.0, 3.21), (102.0, 0.4), (104.7, 0.5), (107.0, 1.0)):
        caught_up.look(lag)
        said.append(caught_up.missing(lag))
    assert said[:4] == [
        "lag unknown, must stay under 1 s for 5 s",
        "lag 3.2 s, must stay under 1 s for 5 s",
        "lag 0.4 s, under 1 s for 0 of 5 s",
        "lag 0.5 s, under 1 s for 2 of 5 s",
    ]
    assert caught_up.look(0.5)


def directive(*, generation: int = 1, **cutover: Any) -> Directive:
    return Directive(generation=generation, cutover=Cutover(**{"max_attempts": 1} | cutover))


def held() -> DesiredState:
    """As at the start of a copier: without any permission."""
    return DesiredState.at_start(directive(generation=0))


@pytest.mark.parametrize("first", ["directive", "state"])
@pytest.mark.parametrize("cutover", [{"approved": True}, {"mode": "Automatic"}])
def test_the_same_request_to_the_next_process_is_not_new(first: str, cutover: dict[str, Any]) -> None:
    wanted = held()
    if first == "state":
        wanted = wanted.with_stored_request(GRANTED)
    wanted = wanted.replaced(directive(generation=2, **cutover))
    if first == "directive":
        wanted = wanted.with_stored_request(GRANTED)
    assert (wanted.series, wanted.cutover_request) == (1, GRANTED)
    wanted = wanted.replaced(directive(generation=3, **cutover))
    assert (wanted.series, wanted.cutover_request) == (1, GRANTED)


@pytest.mark.parametrize("first", ["directive", "state"])
@pytest.mark.parametrize(
    "said",
    [
        [directive(), directive(approved=True)],
        [directive(approved=True), directive(), directive(approved=True)],
        [directive(approved=True, max_attempts=2)],
    ],
    ids=["withdrawn and granted", "granted, withdrawn and granted", "more attempts"],
)
def test_a_new_request_after_a_restart_begins_a_new_series(first: str, said: list[Directive]) -> None:
    wanted = held()
    if first == "state":
        wanted = wanted.with_stored_request(GRANTED)
    for each in said:
        wanted = wanted.replaced(each)
    if first == "directive":
        wanted = wanted.with_stored_request(GRANTED)
    assert wanted.series > 1


def test_a_withdrawal_received_by_an_earlier_run_is_remembered() -> None:
    wanted = held()
    wanted = wanted.with_stored_request(CutoverRequest(wanted=False, max_attempts=1))
    wanted = wanted.replaced(directive(approved=True))
    assert (wanted.series, wanted.cutover_request) == (2, GRANTED)


@pytest.mark.parametrize("cutover", [{"approved": True}, {"mode": "Automatic"}])
def test_a_manifest_with_permission_grants_it_once(cutover: dict[str, Any]) -> None:
    wanted = DesiredState.at_start(directive(**cutover))
    wanted = wanted.with_stored_request(GRANTED)
    assert (wanted.series, wanted.cutover_request) == (1, GRANTED)


def override(*, generation: int = 3, paused: bool = False, withdrawn: bool = True) -> SafetyOverride:
    return SafetyOverride(generation, paused, withdrawn, aborted=False)


def test_permission_granted_after_a_refused_directive_withdrew_it_begins_a_new_series() -> None:
    wanted = DesiredState.at_start(directive(approved=True))
    wanted = wanted.overridden(override())
    assert not wanted.wants_cutover
    assert wanted.directive.generation == 1, "what was refused is not acted on"
    wanted = wanted.replaced(directive(generation=4, approved=True))
    assert (wanted.series, wanted.cutover_request) == (2, GRANTED)


def test_an_override_lasts_until_a_directive_is_accepted() -> None:
    wanted = DesiredState.at_start(directive(approved=True))
    wanted = wanted.overridden(override(paused=True))
    wanted = wanted.overridden(override(generation=4, withdrawn=False))  # not paused: nothing is resumed by it
    wanted = wanted.replaced(directive(generation=2, approved=True))  # late
    assert (bool(wanted.paused_by), wanted.wants_cutover, wanted.directive.generation) == (True, False, 2)
    wanted = wanted.replaced(directive(generation=4, approved=True))
    assert (bool(wanted.paused_by), wanted.wants_cutover, wanted.directive.generation) == (False, True, 4)


def test_an_older_refused_directive_overrides_nothing() -> None:
    wanted = DesiredState.at_start(directive(generation=5, approved=True))
    wanted = wanted.overridden(override(generation=4, paused=True))
    assert wanted.wants_cutover
    assert not wanted.paused_by


def test_a_refused_directive_keeps_the_pause_of_a_verb() -> None:
    wanted = DesiredState.at_start(directive(approved=True))
    wanted = wanted.paused_or_resumed(True)
    wanted = wanted.overridden(override(withdrawn=False))
    assert wanted.paused_by_verb
    assert wanted.paused_by == "ferry pause"
    assert wanted.wants_cutover


def test_the_verb_always_begins_a_new_series() -> None:
    wanted = held()
    wanted = wanted.with_stored_request(GRANTED)
    wanted = wanted.paused_or_resumed(True)
    assert (wanted.series, wanted.cutover_request) == (1, GRANTED)
    wanted = wanted.approved()
    assert wanted.series > 1
    assert wanted.wants_cutover


def test_a_series_continues_from_the_state_and_a_new_one_starts_at_zero() -> None:
    kept = SeriesState(attempts=1, wanted=True, max_attempts=1)
    series = AttemptSeries(kept)
    assert not series.follow(1, GRANTED)
    assert kept.attempts == 1
    assert series.follow(2, GRANTED)
    assert kept.attempts == 0
    assert series.begins() == kept.attempts == 1


def test_a_state_without_a_series_loads() -> None:
    text = '{"ferry_uid": "u", "ferry_name": "n", "source_id": "s", "selection": "{}"}'
    assert RunState.model_validate_json(text).series == SeriesState()
