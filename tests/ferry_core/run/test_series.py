"""A series of cutover attempts belongs to what a person said: only a new word of theirs begins another."""

from typing import Any

import pytest

from ferry_core.api.directive import Directive
from ferry_core.api.handover import Cutover
from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.run.cutting import Asked, Series
from ferry_core.run.wishes import Wishes

GRANTED = Asked(wanted=True, max_attempts=1)


def directive(*, generation: int = 1, **cutover: Any) -> Directive:
    return Directive(generation=generation, cutover=Cutover(**{"max_attempts": 1} | cutover))


def held() -> Wishes:
    """As a copier starts: without any permission."""
    return Wishes(directive(generation=0))


@pytest.mark.parametrize("first", ["directive", "state"])
@pytest.mark.parametrize("cutover", [{"approved": True}, {"mode": "Automatic"}])
def test_the_same_said_again_to_the_next_process_is_nothing_new(first: str, cutover: dict[str, Any]) -> None:
    wishes = held()
    if first == "state":
        wishes.restore_series(GRANTED)
    wishes.replace(directive(generation=2, **cutover))
    if first == "directive":
        wishes.restore_series(GRANTED)
    assert wishes.series == (1, GRANTED)
    wishes.replace(directive(generation=3, **cutover))
    assert wishes.series == (1, GRANTED)


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
    wishes = held()
    if first == "state":
        wishes.restore_series(GRANTED)
    for each in said:
        wishes.replace(each)
    if first == "directive":
        wishes.restore_series(GRANTED)
    assert wishes.series[0] > 1


def test_a_withdrawal_that_an_earlier_run_saw_lasts() -> None:
    wishes = held()
    wishes.restore_series(Asked(wanted=False, max_attempts=1))
    wishes.replace(directive(approved=True))
    assert wishes.series == (2, GRANTED)


@pytest.mark.parametrize("cutover", [{"approved": True}, {"mode": "Automatic"}])
def test_a_manifest_that_grants_it_grants_it_once(cutover: dict[str, Any]) -> None:
    wishes = Wishes(directive(**cutover))
    wishes.restore_series(GRANTED)
    assert wishes.series == (1, GRANTED)


def test_the_verb_always_begins_a_new_series() -> None:
    wishes = held()
    wishes.restore_series(GRANTED)
    wishes.pause(paused=True)
    assert wishes.series == (1, GRANTED)
    wishes.approve()
    assert wishes.series[0] > 1
    assert wishes.wants_cutover


def test_a_series_goes_on_where_the_state_says_and_a_new_one_at_zero() -> None:
    kept = SeriesState(attempts=1, wanted=True, max_attempts=1)
    series = Series(kept)
    assert not series.follow(1, GRANTED)
    assert not series.may_try(1)
    assert series.follow(2, GRANTED)
    assert series.may_try(1)
    assert series.begins() == kept.attempts == 1
    assert not series.may_try(1)


def test_a_state_without_a_series_loads() -> None:
    text = '{"ferry_uid": "u", "ferry_name": "n", "source_id": "s", "selection": "{}"}'
    assert RunState.model_validate_json(text).series == SeriesState()
