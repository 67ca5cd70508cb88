"""Records what is throttled and why: a state for people, seconds for metrics. Used by ``throttle``."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ferry_core.throttle.clock import Clock
from ferry_core.throttle.names import ROWS_PER_SECOND

LINGER_SECONDS = 1.0
"""Nothing waits between two chunks; the state must not flicker because of that."""
REWORD_SECONDS = 10.0
"""How often the observed value in a reason is renewed: people are told of each new reason."""


@dataclass(frozen=True)
class ThrottleState:
    """Whether and why data movement is throttled. A pause is not a throttle."""

    active: bool = False
    reason: str | None = None
    since: datetime | None = None
    signals: tuple[str, ...] = ()
    """Every signal that is active. ``reason`` and ``since`` are the first one's."""

    @property
    def holds_all(self) -> bool:
        """Whether changed keys are held back too, so that binlogs are needed for longer."""
        return self.active and self.signals[0] != ROWS_PER_SECOND


@dataclass
class _Hold:
    """One signal that throttles now, or did so until a moment ago."""

    reason: str
    since: datetime
    worded_at: float
    waiting: int = 0
    counted_from: float = 0.0
    released_at: float = 0.0


class ThrottleTracker:
    """Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._holds: dict[str, _Hold] = {}
        self._seconds: dict[str, float] = {}

    @contextmanager
    def held(self, signal: str, reason: str) -> Iterator[None]:
        """While entered, ``signal`` holds back the caller's thread."""
        self.begin(signal, reason)
        try:
            yield
        finally:
            self.end(signal)

    def begin(self, signal: str, reason: str) -> None:
        """``signal`` throttles from now on, until ``end``."""
        with self._lock:
            now = self._clock.now()
            hold = self._holds.get(signal)
            if hold is None or not self._shows(hold, now):
                hold = self._holds[signal] = _Hold(reason, datetime.now(UTC), now)
            hold.reason, hold.worded_at = reason, now
            if not hold.waiting:
                hold.counted_from = now
            hold.waiting += 1

    def reword(self, signal: str, reason: str) -> None:
        """It still throttles; the value observed may be another one."""
        with self._lock:
            hold, now = self._holds[signal], self._clock.now()
            if now - hold.worded_at >= REWORD_SECONDS:
                hold.reason, hold.worded_at = reason, now

    def end(self, signal: str) -> None:
        with self._lock:
            hold = self._holds[signal]
            hold.waiting -= 1
            if not hold.waiting:
                hold.released_at = self._clock.now()
                self._seconds[signal] = self._seconds.get(signal, 0.0) + hold.released_at - hold.counted_from

    @staticmethod
    def _shows(hold: _Hold, now: float) -> bool:
        return bool(hold.waiting) or now - hold.released_at < LINGER_SECONDS

    def state(self) -> ThrottleState:
        """What is active now: first what holds everything back, then what has been active for longest."""
        with self._lock:
            now = self._clock.now()
            showing = sorted(
                (signal == ROWS_PER_SECOND, hold.since, signal, hold.reason)
                for signal, hold in self._holds.items()
                if self._shows(hold, now)
            )
        if not showing:
            return ThrottleState()
        _, since, _, reason = showing[0]
        return ThrottleState(True, reason, since, tuple(signal for _, _, signal, _ in showing))

    def seconds(self) -> Mapping[str, float]:
        """By signal: seconds in which at least one thread was held back."""
        with self._lock:
            now = self._clock.now()
            total = dict(self._seconds)
            for name, hold in self._holds.items():
                if hold.waiting:
                    total[name] = total.get(name, 0.0) + now - hold.counted_from
        return total
