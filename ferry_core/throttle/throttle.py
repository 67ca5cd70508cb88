"""Every data movement passes here: first the pause, then the signals, then the limit of rows per second.

Copy workers call ``admit`` before a read-write pair and ``charge`` after it, the flusher ``hold``, and a copy of a
whole table ``admit_whole`` before it reads and ``charge_whole`` while it does. The coordinator gives the settings
(``apply``), evaluates the signals ten times a second, and reads ``state`` for the report and ``seconds`` for the
metrics. The reason is text for people: no code branches on it. The limit of rows per second is for the copy; the
signals hold changed keys back too.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ferry_core.api.spec import Copy
from ferry_core.api.spec import Throttle as Settings
from ferry_core.throttle.active_hours import ActiveHours
from ferry_core.throttle.backoff import Backoff
from ferry_core.throttle.clock import LOOK_SECONDS, Cancelled, Clock, SystemClock
from ferry_core.throttle.commit_latency import COMMIT_LATENCY
from ferry_core.throttle.names import ROWS_PER_SECOND
from ferry_core.throttle.pause import Pause
from ferry_core.throttle.rate import RateLimit
from ferry_core.throttle.signal import Limited, Signal
from ferry_core.throttle.tracker import ThrottleState, ThrottleTracker

log = logging.getLogger(__name__)


class _Either:
    """Cancelled or paused, or whatever ``others`` tell: each ends a wait."""

    def __init__(self, cancelled: Cancelled, pause: Pause, *others: Callable[[], bool]) -> None:
        self._cancelled = cancelled
        self._pause = pause
        self._others = others

    def is_set(self) -> bool:
        return self._pause.paused or self._cancelled.is_set() or any(other() for other in self._others)


@dataclass(frozen=True)
class Slowed:
    """The wanted size of chunks, made smaller by ``Backoff``."""

    chunk_target_duration: float
    chunk_target_bytes: int


@dataclass(frozen=True)
class Observed:
    """What the signals measure now, for metrics: by signal and server, only what is known."""

    values: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    speed: float = 1.0
    """The share of the wanted speed that the copy uses."""


def _never() -> bool:
    return False


class Throttle:
    """Thread-safe. Settings may change, and a pause begin or end, while threads wait."""

    def __init__(
        self, clock: Clock | None = None, *, paused_by: Callable[[], str] = str, exempt: Callable[[], bool] = _never
    ) -> None:
        """``paused_by`` returns what pauses the run now; empty: nothing. While ``exempt``, nothing is throttled: writes
        on the source wait for the rows.
        """
        self._clock = clock or SystemClock()
        self._exempt = exempt
        self.rate = RateLimit(None, self._clock)
        self.pause = Pause(paused_by, self._clock)
        self._tracker = ThrottleTracker(self._clock)
        self._signals: tuple[Signal, ...] = (ActiveHours(),)
        self._backoff = Backoff()
        self._holding = False
        self._waiting = threading.Condition()
        self._reported: set[str] = set()

    # -- the coordinator ------------------------------------------------------------------------------------------

    def watch(self, signals: Sequence[Signal]) -> None:
        """These signals too. Call it once, before the first ``apply``."""
        self._signals += tuple(signals)

    def apply(self, settings: Settings) -> None:
        """Use these settings from now on, also for threads that wait."""
        self.rate.set(settings.max_rows_per_second)
        for signal in self._signals:
            signal.apply(settings)

    def evaluate(self) -> None:
        """Decide whether the signals hold data movement back, until the next call."""
        now, reasons, holding = self._clock.now(), dict[str, str](), False
        for signal in () if self._exempt() else self._signals:
            verdict = signal.verdict(now)
            holding = holding or verdict.holds
            if verdict.reason:
                reasons.setdefault(signal.name, verdict.reason)
        self._holding = holding
        self._report(reasons)
        self._slow_down(now)

    def _report(self, reasons: Mapping[str, str]) -> None:
        for name in self._reported - reasons.keys():
            self._tracker.end(name)
            log.info("no longer throttled by %s", name)
        for name, reason in reasons.items():
            if name in self._reported:
                self._tracker.reword(name, reason)
            else:
                self._tracker.begin(name, reason)
                log.info("throttled: %s", reason)
        self._reported = set(reasons)

    def _slow_down(self, now: float) -> None:
        loads = [one.load() for one in self._limited() if one.name == COMMIT_LATENCY]
        known = [load for load in loads if load is not None]
        before = self._backoff.factor
        after = self._backoff.observe(max(known, default=None), now)
        if before == 1 > after:
            log.info("commits on the target become slow: the copy uses fewer workers and smaller chunks")
        elif before < 1 == after:
            log.info("commits on the target are fast: the copy uses all workers and full chunks again")

    def _limited(self) -> list[Limited]:
        return [signal for signal in self._signals if isinstance(signal, Limited)]

    def slowed(self, wanted: Copy) -> Slowed:
        """The size of chunks to use now."""
        factor = self._backoff.factor
        return Slowed(wanted.chunk_target_duration * factor, int(wanted.chunk_target_bytes * factor))

    def workers(self, wanted: int) -> int:
        """The number of copy workers to use now."""
        return max(1, int(wanted * self._backoff.factor))

    def close(self) -> None:
        """Ask the servers no more."""
        for signal in self._signals:
            signal.close()

    # -- the threads that move rows -------------------------------------------------------------------------------

    def admit(self, rows: int, cancelled: Cancelled) -> bool:
        """Block until that many rows may move. False, without taking anything, if ``cancelled`` was set first."""
        stop = _Either(cancelled, self.pause)
        while self.pause.wait_resumed(cancelled):
            if self._wait_signals(stop) and self._wait_rate(rows, stop):
                return True
        return False

    def hold(self, cancelled: Cancelled) -> None:
        """Block while a signal throttles. Returns early if ``cancelled`` is set or the run is paused."""
        self._wait_signals(_Either(cancelled, self.pause))

    def admit_whole(self, cancelled: Cancelled) -> float:
        """Block until a copy of a whole table may go on. Returns the seconds that this took.

        Returns early if ``cancelled`` is set, the run is paused or nothing is throttled now.
        """
        began, stop = self._clock.now(), _Either(cancelled, self.pause, self._exempt)
        if self._wait_signals(stop):
            self._wait_rate(0, stop)
        return self._clock.now() - began

    def _wait_signals(self, stop: Cancelled) -> bool:
        while self._holding and not self._exempt() and not stop.is_set():
            with self._waiting:
                self._clock.wait(self._waiting, LOOK_SECONDS)
        return not stop.is_set()

    def _wait_rate(self, rows: int, stop: Cancelled) -> bool:
        if not self.rate.must_wait():
            return self.rate.admit(rows, stop)
        limit = self.rate.limit
        with self._tracker.held(ROWS_PER_SECOND, f"{ROWS_PER_SECOND} {limit} >= {limit}"):
            return self.rate.admit(rows, stop)

    def charge(self, rows: int) -> None:
        """Account for rows moved beyond the number admitted; negative if fewer were moved."""
        self.rate.charge(rows)

    def charge_whole(self, rows: int) -> None:
        """Account for rows of a copy of a whole table, unless nothing is throttled now."""
        if not self._exempt():
            self.rate.charge(rows)

    # -- the report -----------------------------------------------------------------------------------------------

    def state(self) -> ThrottleState:
        """State for the report."""
        return self._tracker.state()

    def seconds(self) -> Mapping[str, float]:
        """Seconds so far in which something was throttled, by signal. Overlapping waits for one signal count once."""
        return self._tracker.seconds()

    def observed(self) -> Observed:
        """What the signals measure now."""
        values: dict[str, dict[str, float]] = {}
        for one in self._limited():
            value = one.value()
            if value is not None:
                values.setdefault(one.name, {})[one.where] = value
        return Observed(values, self._backoff.factor)
