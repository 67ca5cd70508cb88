"""The copy backs off before commits reach their limit, and comes back once they are fast."""

from hypothesis import given
from hypothesis import strategies as st

from ferry_core.throttle.backoff import FAST, INTERVAL_SECONDS, LEAST, SLOW, STEP, Backoff


def test_it_backs_off_below_the_limit_and_comes_back() -> None:
    one, now, seen = Backoff(), 0.0, []
    for _ in range(20):
        seen.append(one.observe(SLOW + 0.1, now))
        now += 1
    assert seen[0] == 0.5
    assert seen[-1] == LEAST
    for _ in range(40):
        seen.append(one.observe(FAST - 0.1, now))
        now += 1
    assert seen[-1] == 1.0


def test_between_slow_and_fast_nothing_changes() -> None:
    one = Backoff()
    one.observe(1, 0)
    assert {one.observe((SLOW + FAST) / 2, float(now)) for now in range(1, 60)} == {0.5}


def test_without_a_limit_it_is_at_full_speed() -> None:
    one = Backoff()
    one.observe(1, 0)
    assert one.observe(None, 0.1) == 1


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 3)), min_size=1, max_size=80))
def test_it_changes_in_bounded_steps(steps: list[tuple[float, float]]) -> None:
    one, now, changed_at = Backoff(), 0.0, float("-inf")
    for wait, load in steps:
        now += wait
        before = one.factor
        after = one.observe(load, now)
        assert LEAST <= after <= 1
        if after != before:
            assert now - changed_at >= INTERVAL_SECONDS
            assert after == before / 2 or after == LEAST or 0 < after - before <= STEP
            changed_at = now
