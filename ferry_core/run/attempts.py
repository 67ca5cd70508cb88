"""When to cut over: the gates, the attempts of a series, the wait between them. No I/O except the clock."""

import logging
import time
from dataclasses import dataclass

from ferry_core.checkpoint.state import RunState, SeriesState
from ferry_core.intent.cutover_request import CutoverRequest

log = logging.getLogger(__name__)

CAUGHT_UP_SECONDS = 5.0
"""How long the lag must have been below cutover.maxLag (condition CaughtUp)."""
BETWEEN_ATTEMPTS_SECONDS = 5.0


@dataclass
class CaughtUp:
    """Whether the lag has been small for long enough. Unknown lag is not small."""

    max_lag: float
    since: float | None = None

    def look(self, lag: float | None) -> bool:
        """Call at each tick with the lag in seconds."""
        if lag is None or lag > self.max_lag:
            self.since = None
        elif self.since is None:
            self.since = time.monotonic()
        return self.seconds >= CAUGHT_UP_SECONDS

    def missing(self, lag: float | None) -> str:
        """Why it is not caught up yet."""
        text = "lag unknown" if lag is None else f"lag {lag:.1f} s"
        if self.since is None:
            return f"{text}, must stay under {float(self.max_lag):g} s for {CAUGHT_UP_SECONDS:g} s"
        return f"{text}, under {float(self.max_lag):g} s for {int(self.seconds)} of {CAUGHT_UP_SECONDS:g} s"

    @property
    def seconds(self) -> float:
        """For how long the lag has been small."""
        return 0.0 if self.since is None else time.monotonic() - self.since


class AttemptTimings:
    """When an attempt reached each step. Logged only after the attempt: slow logging must not keep writes stopped."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._reached: list[tuple[str, float]] = []

    def reached(self, what: str) -> None:
        self._reached.append((what, time.monotonic() - self._began))

    def log(self, number: int) -> None:
        for what, seconds in self._reached:
            log.info("cutover attempt %d: %s after %.0f ms", number, what, seconds * 1000)


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
        self.kept.wanted, self.kept.max_attempts = request
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
