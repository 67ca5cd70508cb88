"""A series of cutover attempts belongs to a person's request: only a new request begins another series."""

from collections.abc import Iterable
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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("ferry_core.run.attempts.time.monotonic", lambda: now[0])
    return now


def seen(caught_up: CaughtUp, clock: list[float], lags: Iterable[float | None]) -> list[bool]:
    """What it says of each lag, a tick apart."""
    said = []
    for lag in lags:
        clock[0] += 0.1
        said.append(caught_up.look(lag))
    return said


def test_a_lag_that_is_not_small_is_reported(clock: list[float]) -> None:
    caught_up, said = CaughtUp(Duration("1s")), []
    for lag in (None, 0.0, 3.21, 0.4):
        seen(caught_up, clock, [lag])
        said.append((caught_up.too_new, caught_up.missing(lag)))
    assert said[1:] == [
        (True, "lag 0.0 s is small, but known for only 0.0 s of 0.5 s"),
        (False, "lag 3.2 s, must be under 1 s, also in the median of 5.0 s"),
        (False, "lag 0.4 s, must be under 1 s, also in the median of 5.0 s"),
    ]
    assert said[0][1] == "the lag is not known yet"


@pytest.mark.parametrize(("lag", "ticks"), [(0.0, 5), (0.05, 5), (0.4, 20), (0.9, 45)])
def test_the_smaller_the_lag_the_sooner_it_counts(clock: list[float], lag: float, ticks: int) -> None:
    said = seen(CaughtUp(Duration("1s")), clock, [lag] * 60)
    assert abs(said.index(True) - ticks) <= 1
    assert all(said[said.index(True) :])


def test_after_a_long_lag_half_of_the_longest_time_must_have_been_small(clock: list[float]) -> None:
    caught_up = CaughtUp(Duration("1s"))
    assert not any(seen(caught_up, clock, [90.0] * 100))
    said = seen(caught_up, clock, [0.0] * 60)
    assert 24 <= said.index(True) <= 27


def test_single_large_lags_of_a_busy_machine_do_not_begin_the_wait_again(clock: list[float]) -> None:
    caught_up = CaughtUp(Duration("1s"))
    said = seen(caught_up, clock, [0.4, 0.8, 0.3, 1.7, 0.6] * 40)
    assert not any(said[:40])
    assert said[55:] == [True, True, True, False, True] * 29, "no attempt starts while the lag is large"


def test_a_lag_that_is_usually_large_is_not_small(clock: list[float]) -> None:
    assert not any(seen(CaughtUp(Duration("1s")), clock, [0.2, 1.3, 1.4] * 60))


def test_ticks_of_a_busy_machine_may_be_long(clock: list[float]) -> None:
    caught_up = CaughtUp(Duration("1s"))
    for _ in range(3):
        clock[0] += 7
        seen(caught_up, clock, [0.9])
    assert caught_up.look(0.9)


def test_an_unknown_lag_and_a_failed_attempt_begin_the_wait_again(clock: list[float]) -> None:
    caught_up = CaughtUp(Duration("1s"))
    assert seen(caught_up, clock, [0.0] * 10)[-1]
    assert not any(seen(caught_up, clock, [None, 0.0, 0.0]))
    assert seen(caught_up, clock, [0.0] * 10)[-1]
    caught_up.reset()
    assert not any(seen(caught_up, clock, [0.0] * 3))


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
        [directive(approved=True, not_before="2026-12-01T02:00:00Z")],
        [directive(approved=True, not_after="2026-12-01T02:00:00Z")],
    ],
    ids=["withdrawn and granted", "granted, withdrawn and granted", "more attempts", "other start", "other end"],
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
