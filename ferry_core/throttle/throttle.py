"""The one door that every data movement goes through: pause, then the cap of rows a second.

Copy workers and the flusher call ``admit`` before a read-write pair and ``charge`` after it; the coordinator reads
``state`` for the report and ``seconds`` for the metrics. The reason text is for people: nothing branches on it.
"""

from collections.abc import Callable, Mapping

from ferry_core.throttle.clock import Cancelled, Clock, SystemClock
from ferry_core.throttle.pause import Pause
from ferry_core.throttle.rate import RateLimit
from ferry_core.throttle.tracker import ThrottleState, ThrottleTracker

ROWS_PER_SECOND = "rows-per-second"


class _Either:
    """Cancelled, or paused: what a wait behind the pause must end for."""

    def __init__(self, cancelled: Cancelled, pause: Pause) -> None:
        self._cancelled = cancelled
        self._pause = pause

    def is_set(self) -> bool:
        return self._pause.paused or self._cancelled.is_set()


class Throttle:
    """Thread-safe. ``rate`` may be changed, and a pause begin or end, while threads wait."""

    def __init__(self, clock: Clock | None = None, *, paused_by: Callable[[], str] = str) -> None:
        """``paused_by`` says what pauses the run now; empty: nothing."""
        self._clock = clock or SystemClock()
        self.rate = RateLimit(None, self._clock)
        self.pause = Pause(paused_by, self._clock)
        self._tracker = ThrottleTracker(self._clock)

    def admit(self, rows: int, cancelled: Cancelled) -> bool:
        """Block until that many rows may move; False, and nothing taken, if ``cancelled`` was set first."""
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
        """Rows that were moved beyond what ``admit`` was asked for; negative if it was fewer."""
        self.rate.charge(rows)

    def state(self) -> ThrottleState:
        """What the report says."""
        return self._tracker.state()

    def seconds(self) -> Mapping[str, float]:
        """Seconds so far in which something was held back, by signal; the same second counts once a signal."""
        return self._tracker.seconds()
