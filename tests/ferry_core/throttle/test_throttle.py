"""The throttle: what blocks, why, since when, and for how many seconds in total."""

import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ferry_core.api.spec import Throttle as Settings
from ferry_core.throttle import Throttle, ThrottleState
from ferry_core.throttle.signal import FREE, Verdict

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


class Switch:
    """A signal with a verdict that a test chooses."""

    name = "query"

    def __init__(self) -> None:
        self.says = Verdict(True, "query true > false")

    def apply(self, settings: Settings) -> None:
        """It has no settings."""

    def verdict(self, now: float) -> Verdict:  # noqa: ARG002 - the test decides
        return self.says

    def close(self) -> None:
        """Nothing is open."""


def test_a_signal_holds_until_it_is_evaluated_again() -> None:
    throttle, clock = make()
    switch = Switch()
    throttle.watch([switch])
    assert throttle.admit(1, threading.Event()), "not evaluated yet"
    throttle.evaluate()

    def after_five_seconds() -> None:
        if clock.time > 5:
            switch.says = FREE
            throttle.evaluate()

    clock.on_wait = after_five_seconds
    assert throttle.admit(1, threading.Event())
    assert clock.time == pytest.approx(5.1)
    assert {state.reason for state in clock.seen} == {"query true > false"}
    assert throttle.seconds() == {"query": pytest.approx(5.1)}


def test_the_first_answer_is_awaited_without_a_report() -> None:
    throttle, clock = make()
    switch = Switch()
    switch.says = Verdict(True, "")
    throttle.watch([switch])
    throttle.evaluate()
    cancelled = threading.Event()
    clock.on_wait = cancelled.set
    assert not throttle.admit(1, cancelled)
    assert throttle.state() == ThrottleState()


def test_the_value_in_a_reason_is_renewed_now_and_then() -> None:
    throttle, clock = make()
    switch = Switch()
    throttle.watch([switch])
    seen = []
    for second in range(25):
        clock.time = float(second)
        switch.says = Verdict(True, f"lag {second}")
        throttle.evaluate()
        seen.append(throttle.state().reason)
    assert list(dict.fromkeys(seen)) == ["lag 0", "lag 10", "lag 20"]


def test_nothing_is_throttled_while_exempt() -> None:
    exempt: list[bool] = []
    clock = VirtualClock()
    throttle = Throttle(clock, exempt=lambda: bool(exempt))
    throttle.watch([Switch()])
    throttle.rate.set(1)
    throttle.charge(1000)
    throttle.evaluate()
    clock.on_wait = lambda: exempt.append(True)
    throttle.hold(threading.Event())
    assert throttle.admit_whole(threading.Event()) == 0
    assert clock.time < 1
    throttle.evaluate()
    assert not throttle._reported


def test_a_limit_of_rows_that_becomes_exempt_lets_a_whole_copy_go_on() -> None:
    exempt: list[bool] = []
    clock = VirtualClock()
    throttle = Throttle(clock, exempt=lambda: bool(exempt))
    throttle.rate.set(1)
    throttle.charge(1000)
    clock.on_wait = lambda: exempt.append(True)
    assert throttle.admit_whole(threading.Event()) < 1


def test_settings_are_patched_live() -> None:
    throttle, _ = make()
    throttle.apply(Settings(max_rows_per_second=7))
    assert throttle.rate.limit == 7
    throttle.apply(Settings())
    assert throttle.rate.limit is None
