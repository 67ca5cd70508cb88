"""When to cut over: the gates, the attempts of a series, the wait between them. No I/O except the clock."""

import logging
import time
from collections import deque
from dataclasses import dataclass, field
from statistics import median

from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.cutover.outcome import WRITES_STOPPED
from ferry_core.intent.cutover_request import CutoverRequest

log = logging.getLogger(__name__)

LONGEST_SECONDS = 5.0
"""How far back the lag is looked at (condition CaughtUp)."""
SHORTEST_SECONDS = 0.5
TIMES_LAG = 5
"""For how many times the largest lag it must have been small: the less it is, the sooner that is certain."""
BETWEEN_ATTEMPTS_SECONDS = 5.0


@dataclass
class CaughtUp:
    """Whether the lag is small, and usually was: on a busy machine a stream that follows has large lags at times.

    Unknown lag is not small.
    """

    max_lag: float
    _seen: deque[tuple[float, float]] = field(default_factory=deque)  # when, and the lag in seconds

    def look(self, lag: float | None) -> bool:
        """Call at each tick with the lag in seconds."""
        now = time.monotonic()
        if lag is None:
            self.reset()
            return False
        self._seen.append((now, lag))
        while len(self._seen) > 1 and self._seen[1][0] <= now - LONGEST_SECONDS:
            self._seen.popleft()  # the oldest one left tells what the lag was when that time began
        usual = median(seen for at, seen in self._seen if at >= now - self._needed)
        return max(lag, usual) <= self.max_lag and self._known_for >= self._needed

    def reset(self) -> None:
        """Begin again: what was seen so far does not count."""
        self._seen.clear()

    def missing(self, lag: float | None) -> str:
        """Why it is not caught up yet."""
        if lag is None:
            return "the lag is not known yet"
        if self.too_new:
            return f"lag {lag:.1f} s is small, but known for only {self._known_for:.1f} s of {self._needed:.1f} s"
        return f"lag {lag:.1f} s, must be under {float(self.max_lag):g} s, also in the median of {self._needed:.1f} s"

    @property
    def too_new(self) -> bool:
        """Whether it was small whenever it was looked at, but that is not long enough yet."""
        return self._known_for < self._needed and all(seen <= self.max_lag for _, seen in self._seen)

    @property
    def _needed(self) -> float:
        largest = max((seen for _, seen in self._seen), default=LONGEST_SECONDS)
        return min(LONGEST_SECONDS, max(SHORTEST_SECONDS, TIMES_LAG * largest))

    @property
    def _known_for(self) -> float:
        return self._seen[-1][0] - self._seen[0][0] if self._seen else 0.0


class AttemptTimings:
    """When an attempt reached each step. Logged only after the attempt: slow logging must not keep writes stopped."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._reached: list[tuple[str, float]] = []

    def reached(self, what: str) -> None:
        self._reached.append((what, time.monotonic() - self._began))

    def log(self, number: int) -> None:
        since = "it began"
        zero = 0.0
        for what, seconds in self._reached:
            log.info("cutover attempt %d: %s, %.0f ms after %s", number, what, (seconds - zero) * 1000, since)
            if what == WRITES_STOPPED:
                zero, since = seconds, "writes were stopped"


@dataclass
class AttemptSeries:
    """Attempts since a person last asked for a cutover. ``kept`` is the part that the checkpoint stores."""

    kept: SeriesState
    number: int = 1
    next_at: float = 0.0

    def adopt(self, state: RunState, *, again: bool) -> None:
        """Share ``state`` with the checkpoint from now on: loaded from it, or known ``again`` in this process."""
        if again:
            state.series = self.kept
        else:
            self.kept = state.series

    def follow(self, number: int, request: CutoverRequest) -> bool:
        """Reset the count if this is another series. Returns True if there is something to store."""
        before = self.kept.model_copy()
        kept = self.kept
        kept.wanted, kept.max_attempts, kept.not_before, kept.not_after = request
        if number != self.number:
            self.number, self.kept.attempts, self.next_at = number, 0, 0.0
        return self.kept != before

    def seconds_to_next(self) -> float:
        """Remaining wait after the last attempt; 0: another one may begin."""
        return max(0.0, self.next_at - time.monotonic())

    def begins(self) -> int:
        """Count an attempt; returns its number."""
        self.kept.attempts += 1
        self.kept.last_attempt_at = time.time()
        self.kept.last_result = self.kept.blocked_milliseconds = None
        return self.kept.attempts

    def ended(self, result: str, blocked_milliseconds: int) -> None:
        self.kept.last_result, self.kept.blocked_milliseconds = result, blocked_milliseconds
        self.next_at = time.monotonic() + BETWEEN_ATTEMPTS_SECONDS
