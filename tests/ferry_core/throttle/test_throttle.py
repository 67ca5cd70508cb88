"""The throttle: what blocks, why, since when, and for how many seconds in total."""

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ferry_core.throttle import Throttle, ThrottleState

if TYPE_CHECKING:
    from collections.abc import Callable


class VirtualClock:
    def __init__(self) -> None:
        self.time = 0.0
        self.paused_by = ""
        self.seen: list[ThrottleState] = []
        self.throttle: Throttle | None = None
        self.on_wait: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        assert condition
        self.time += seconds
        if self.throttle is not None:
            self.seen.append(self.throttle.state())
        self.on_wait()


def make(limit: int | None = None) -> tuple[Throttle, VirtualClock]:
    clock = VirtualClock()
    throttle = Throttle(clock, paused_by=lambda: clock.paused_by)
    throttle.rate.set(limit)
    clock.throttle = throttle
    return throttle, clock


def test_nothing_is_throttled_by_default() -> None:
    throttle, _ = make()
    assert throttle.admit(0, threading.Event())
    throttle.charge(10**9)
    assert throttle.admit(5, threading.Event())
    assert throttle.state() == ThrottleState()
    assert throttle.seconds() == {}


def test_the_limit_reports_reason_and_duration() -> None:
    throttle, clock = make(20000)
    assert throttle.admit(0, threading.Event())
    throttle.charge(100_000)
    assert throttle.state() == ThrottleState()
    started = datetime.now(UTC)
    assert throttle.admit(0, threading.Event())
    assert clock.time == pytest.approx(5.0)
    assert {state.reason for state in clock.seen} == {"rows-per-second 20000 >= 20000"}
    assert all(state.active and state.since is not None and state.since >= started for state in clock.seen)
    assert throttle.state().active, "it flickers between two chunks"
    clock.time += 2
    assert throttle.state() == ThrottleState()
    assert throttle.seconds() == {"rows-per-second": pytest.approx(5.0)}


def test_cancelling_ends_the_wait() -> None:
    cancelled = threading.Event()
    cancelled.set()
    throttle, _ = make(1)
    throttle.charge(100)
    assert not throttle.admit(0, cancelled)


def test_a_pause_blocks_and_is_not_a_throttle() -> None:
    throttle, clock = make()
    clock.paused_by = "spec.paused"
    clock.on_wait = lambda: setattr(clock, "paused_by", "") if clock.time > 3 else None
    assert throttle.admit(5, threading.Event())
    assert clock.time > 3
    assert throttle.state() == ThrottleState()
    assert throttle.seconds() == {}


def test_a_pause_while_waiting_for_the_limit_blocks_admission() -> None:
    throttle, clock = make(10)
    throttle.charge(100)
    clock.on_wait = lambda: setattr(clock, "paused_by", "ferry pause" if 2 < clock.time < 30 else "")
    assert throttle.admit(100, threading.Event())
    assert clock.time >= 30
    assert throttle.pause.by == ""
    assert 2 < throttle.seconds()["rows-per-second"] < 2.3


def test_the_end_of_a_pause_wakes_waiting_threads() -> None:
    paused_by = ["spec.paused"]
    throttle = Throttle(paused_by=lambda: paused_by[0])
    admitted = threading.Event()

    def work() -> None:
        if throttle.admit(1, threading.Event()):
            admitted.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert not admitted.wait(0.2)
    paused_by[0] = ""
    assert admitted.wait(60)
    thread.join(60)


def test_a_cancelled_pause_admits_nobody() -> None:
    paused_by = ["spec.paused"]
    throttle = Throttle(paused_by=lambda: paused_by[0])
    cancelled = threading.Event()
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(throttle.admit(1, cancelled)))
    thread.start()
    cancelled.set()
    thread.join(60)
    assert results == [False]


def test_seconds_count_once_however_many_wait() -> None:
    throttle = Throttle()
    throttle.rate.set(100)
    throttle.charge(40)
    began = time.monotonic()
    threads = [threading.Thread(target=throttle.admit, args=(0, threading.Event())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert throttle.seconds()["rows-per-second"] <= time.monotonic() - began
