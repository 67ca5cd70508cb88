"""Every data movement passes here: first the pause, then the limit of rows per second.

Copy workers and the flusher call ``admit`` before a read-write pair and ``charge`` after it. The coordinator reads
``state`` for the report and ``seconds`` for the metrics. The reason is text for people: no code branches on it.
"""

from collections.abc import Callable, Mapping

from ferry_core.reasons import Reason
from ferry_core.throttle.clock import Cancelled, Clock, SystemClock
from ferry_core.throttle.pause import Pause
from ferry_core.throttle.rate import RateLimit
from ferry_core.throttle.tracker import ThrottleState, ThrottleTracker

ROWS_PER_SECOND = "rows-per-second"
SIGNALS: Mapping[str, Reason] = {ROWS_PER_SECOND: Reason.RATE_LIMIT}
"""What may throttle, and the reason that the condition Throttled then has."""


class _Either:
    """Cancelled or paused: both end a wait for the rate limit."""

    def __init__(self, cancelled: Cancelled, pause: Pause) -> None:
        self._cancelled = cancelled
        self._pause = pause

    def is_set(self) -> bool:
        return self._pause.paused or self._cancelled.is_set()


class Throttle:
    """Thread-safe. ``rate`` may change, and a pause begin or end, while threads wait."""

    def __init__(self, clock: Clock | None = None, *, paused_by: Callable[[], str] = str) -> None:
        """``paused_by`` returns what pauses the run now; empty: nothing."""
        self._clock = clock or SystemClock()
        self.rate = RateLimit(None, self._clock)
        self.pause = Pause(paused_by, self._clock)
        self._tracker = ThrottleTracker(self._clock)

    def admit(self, rows: int, cancelled: Cancelled) -> bool:
        """Block until that many rows may move. False, without taking anything, if ``cancelled`` was set first."""
        stop = _Either(cancelled, self.pause)
        while self.pause.wait_resumed(cancelled):
            if self._wait_rate(rows, stop):
                return True
        return False

    def _wait_rate(self, rows: int, stop: Cancelled) -> bool:
        if not self.rate.must_wait():
            return self.rate.admit(rows, stop)
        limit = self.rate.limit
        with self._tracker.held(ROWS_PER_SECOND, f"{ROWS_PER_SECOND} {limit} >= {limit}"):
            return self.rate.admit(rows, stop)

    def charge(self, rows: int) -> None:
        """Account for rows moved beyond the number admitted; negative if fewer were moved."""
        self.rate.charge(rows)

    def state(self) -> ThrottleState:
        """State for the report."""
        return self._tracker.state()

    def seconds(self) -> Mapping[str, float]:
        """Seconds so far in which something was throttled, by signal. Overlapping waits for one signal count once."""
        return self._tracker.seconds()
