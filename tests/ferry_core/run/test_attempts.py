"""A series of cutover attempts belongs to what a person said: only a new word of theirs begins another."""

from typing import Any

import pytest

from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import Directive
from ferry_core.api.durations import Duration
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.intent.cutover_request import CutoverRequest
from ferry_core.intent.desired_state import Intent
from ferry_core.run.attempts import AttemptSeries, CaughtUp

GRANTED = CutoverRequest(wanted=True, max_attempts=1)


def test_a_lag_that_is_small_but_not_for_long_enough_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
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


def held() -> Intent:
    """As a copier starts: without any permission."""
    return Intent(directive(generation=0))


@pytest.mark.parametrize("first", ["directive", "state"])
@pytest.mark.parametrize("cutover", [{"approved": True}, {"mode": "Automatic"}])
def test_the_same_said_again_to_the_next_process_is_nothing_new(first: str, cutover: dict[str, Any]) -> None:
    intent = held()
    if first == "state":
        intent.restore_series(GRANTED)
    intent.replace(directive(generation=2, **cutover))
    if first == "directive":
        intent.restore_series(GRANTED)
    assert intent.series == (1, GRANTED)
    intent.replace(directive(generation=3, **cutover))
    assert intent.series == (1, GRANTED)


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
def test_a_new_word_after_a_restart_begins_a_new_series(first: str, said: list[Directive]) -> None:
    intent = held()
    if first == "state":
        intent.restore_series(GRANTED)
    for each in said:
        intent.replace(each)
    if first == "directive":
        intent.restore_series(GRANTED)
    assert intent.series[0] > 1


def test_a_withdrawal_that_an_earlier_run_saw_lasts() -> None:
    intent = held()
    intent.restore_series(CutoverRequest(wanted=False, max_attempts=1))
    intent.replace(directive(approved=True))
    assert intent.series == (2, GRANTED)


@pytest.mark.parametrize("cutover", [{"approved": True}, {"mode": "Automatic"}])
def test_a_manifest_that_grants_it_grants_it_once(cutover: dict[str, Any]) -> None:
    intent = Intent(directive(**cutover))
    intent.restore_series(GRANTED)
    assert intent.series == (1, GRANTED)


def override(*, generation: int = 3, paused: bool = False, withdrawn: bool = True) -> SafetyOverride:
    return SafetyOverride(generation, paused, withdrawn, aborted=False)


def test_a_permission_that_a_refused_directive_withdraws_is_news_once_it_is_given_again() -> None:
    intent = Intent(directive(approved=True))
    intent.override(override())
    assert not intent.wants_cutover
    assert intent.directive.generation == 1, "what was refused is not acted on"
    intent.replace(directive(generation=4, approved=True))
    assert intent.series == (2, GRANTED)


def test_what_refused_directives_hold_back_lasts_until_one_is_taken() -> None:
    intent = Intent(directive(approved=True))
    intent.override(override(paused=True))
    intent.override(override(generation=4, withdrawn=False))  # not paused: nothing is resumed by it
    intent.replace(directive(generation=2, approved=True))  # late
    assert (intent.paused, intent.wants_cutover, intent.directive.generation) == (True, False, 2)
    intent.replace(directive(generation=4, approved=True))
    assert (intent.paused, intent.wants_cutover, intent.directive.generation) == (False, True, 4)


def test_an_older_one_that_is_refused_holds_nothing_back() -> None:
    intent = Intent(directive(generation=5, approved=True))
    intent.override(override(generation=4, paused=True))
    assert intent.wants_cutover
    assert not intent.paused


def test_a_refused_directive_without_a_brake_leaves_a_verbs_pause() -> None:
    intent = Intent(directive(approved=True))
    intent.pause(paused=True)
    intent.override(override(withdrawn=False))
    assert intent.paused_by_verb
    assert intent.paused
    assert intent.wants_cutover


def test_the_verb_always_begins_a_new_series() -> None:
    intent = held()
    intent.restore_series(GRANTED)
    intent.pause(paused=True)
    assert intent.series == (1, GRANTED)
    intent.approve()
    assert intent.series[0] > 1
    assert intent.wants_cutover


def test_a_series_goes_on_where_the_state_says_and_a_new_one_at_zero() -> None:
    kept = SeriesState(attempts=1, wanted=True, max_attempts=1)
    series = AttemptSeries(kept)
    assert not series.follow(1, GRANTED)
    assert not series.may_try(1)
    assert series.follow(2, GRANTED)
    assert series.may_try(1)
    assert series.begins() == kept.attempts == 1
    assert not series.may_try(1)


def test_a_state_without_a_series_loads() -> None:
    text = '{"ferry_uid": "u", "ferry_name": "n", "source_id": "s", "selection": "{}"}'
    assert RunState.model_validate_json(text).series == SeriesState()
