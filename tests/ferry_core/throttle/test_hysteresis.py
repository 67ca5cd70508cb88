"""A value throttles at once above its limit, and not again until it has stayed lower."""

from hypothesis import given
from hypothesis import strategies as st

from ferry_core.throttle.hysteresis import CALM_SECONDS, RELEASE_SHARE, SETTLE_SECONDS, Hysteresis

LIMIT = 10.0


def test_it_begins_at_once_and_ends_after_a_settled_low() -> None:
    one = Hysteresis(LIMIT)
    assert not one.observe(LIMIT, 0)
    assert one.observe(LIMIT + 0.1, 1)
    assert one.observe(1, 2)
    assert one.observe(1, 2 + SETTLE_SECONDS - 0.1)
    assert not one.observe(1, 2 + SETTLE_SECONDS)


def test_a_peak_begins_the_wait_again() -> None:
    one = Hysteresis(LIMIT)
    one.observe(11, 0)
    one.observe(1, 1)
    one.observe(11, 2)
    assert one.observe(1, 3)
    assert one.observe(1, 4.9)
    assert not one.observe(1, 5)


def test_a_value_just_below_the_limit_ends_it_later() -> None:
    one = Hysteresis(1.0)
    one.observe(2, 0)
    assert one.observe(1, 1)
    assert one.observe(1, CALM_SECONDS)
    assert not one.observe(1, 1 + CALM_SECONDS)


def test_unknown_throttles() -> None:
    one = Hysteresis(LIMIT)
    assert one.observe(None, 0)
    assert one.observe(0, 1)
    assert not one.observe(0, 1 + SETTLE_SECONDS)


@given(st.lists(st.tuples(st.floats(0, 5), st.none() | st.floats(0, 20)), min_size=1, max_size=80))
def test_it_never_moves_above_the_limit_and_never_flaps(steps: list[tuple[float, float | None]]) -> None:
    one, now, last_above = Hysteresis(LIMIT), 0.0, float("-inf")
    for wait, value in steps:
        now += wait
        before = one.on
        on = one.observe(value, now)
        if value is None or value > LIMIT:
            assert on
            last_above = now
        elif not on and before:
            assert now - last_above >= SETTLE_SECONDS
            assert value <= LIMIT * RELEASE_SHARE or now - last_above >= CALM_SECONDS
        elif on:
            assert before, "only a value above the limit begins it"
