"""The limit of rows per second, with a virtual clock."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ferry_core.throttle.rate import BURST_SECONDS, STEP_SECONDS, RateLimit, TokenBucket


class VirtualClock:
    """Waiting advances the time at once."""

    def __init__(self) -> None:
        self.time = 100.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        assert condition
        assert seconds > 0
        self.time += seconds


class Never:
    def is_set(self) -> bool:
        return False


@given(
    rate=st.integers(1, 10**9),
    steps=st.lists(st.tuples(st.floats(0, 100), st.integers(0, 10**6)), min_size=1, max_size=60),
)
def test_the_average_never_exceeds_the_limit(rate: int, steps: list[tuple[float, int]]) -> None:
    now = 0.0
    bucket = TokenBucket(rate, now)
    moved, last = 0, 0
    for idle, rows in steps:
        now += idle
        now += bucket.delay(now) * (1 + 1e-9)
        if bucket.delay(now) > 1e-6:
            raise AssertionError("the wait it asked for was not enough")
        # Everything before the newest request stays under the limit; the newest may cause debt.
        assert moved <= rate * (now + BURST_SECONDS) * (1 + 1e-6) + 1
        bucket.take(rows, now)
        moved, last = moved + rows, rows
    assert moved - last <= rate * (now + BURST_SECONDS) * (1 + 1e-6) + 1


@given(rate=st.integers(1, 10**6), seconds=st.floats(0.001, 5))
def test_a_constant_caller_uses_the_whole_limit(rate: int, seconds: float) -> None:
    rows = max(1, round(rate * seconds))
    clock = VirtualClock()
    limit = RateLimit(rate, clock)
    start = clock.time
    count = 20
    for _ in range(count):
        assert limit.admit(rows, Never())
    # The last one is not waited for, the first had nothing before it.
    assert clock.time - start == pytest.approx((count - 1) * rows / rate, rel=1e-3, abs=1e-3)


def test_without_a_limit_everything_is_admitted_at_once() -> None:
    clock = VirtualClock()
    limit = RateLimit(None, clock)
    for _ in range(1000):
        assert limit.admit(10**9, Never())
    limit.charge(10**9)
    assert clock.time == 100.0
    assert limit.largest_step is None


def test_rows_charged_afterwards_delay_the_next_request() -> None:
    clock = VirtualClock()
    limit = RateLimit(100, clock)
    assert limit.admit(0, Never())
    limit.charge(500)
    assert limit.must_wait()
    assert limit.admit(0, Never())
    assert clock.time == pytest.approx(105.0)
    limit.charge(300)
    limit.charge(-300)
    assert limit.admit(0, Never())
    assert clock.time == pytest.approx(105.0)


def test_the_largest_step_is_half_a_second_of_rows() -> None:
    assert RateLimit(20000).largest_step == 20000 * STEP_SECONDS
    assert RateLimit(1).largest_step == 1


def test_a_changed_limit_applies_to_waiting_threads() -> None:
    limit = RateLimit(1)
    limit.charge(10_000)
    cancelled = threading.Event()
    admitted = threading.Event()

    def work() -> None:
        if limit.admit(1, cancelled):
            admitted.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not admitted.wait(0.2)
    limit.set(1_000_000_000)
    assert admitted.wait(60)
    limit.set(1)
    limit.charge(10_000)
    limit.set(None)
    assert limit.admit(1, cancelled)
    thread.join(60)


def test_a_cancelled_wait_takes_nothing_and_leaves_the_queue() -> None:
    limit = RateLimit(10)
    limit.charge(10_000)
    cancelled = threading.Event()
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(limit.admit(5, cancelled))) for _ in range(3)]
    for thread in threads:
        thread.start()
    cancelled.set()
    for thread in threads:
        thread.join(60)
    assert results == [False] * 3
    limit.charge(-10_000)
    assert limit.admit(1, threading.Event())


def test_first_come_first_served() -> None:
    limit = RateLimit(1)
    limit.charge(10_000)
    order: list[str] = []
    threads = []
    for name in ("large", "small-1", "small-2"):
        rows = 200 if name == "large" else 1

        def work(name: str = name, rows: int = rows) -> None:
            assert limit.admit(rows, Never())
            order.append(name)

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        while len(limit._queue) < len(threads):
            threads[-1].join(0.001)
    limit.set(1_000_000)
    for thread in threads:
        thread.join(60)
    assert order[0] == "large"
