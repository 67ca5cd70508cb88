"""When to cut over: the gates, the attempts of a series, the wait between them. Pure but for the clock."""

import time
from dataclasses import dataclass, field

CAUGHT_UP_SECONDS = 5.0
"""How long the lag must have been under cutover.maxLag (condition CaughtUp)."""
BETWEEN_ATTEMPTS_SECONDS = 5.0


@dataclass
class CaughtUp:
    """Whether the stream has been close behind for long enough. Unknown lag is not close."""

    max_lag: float
    since: float | None = None

    def look(self, lag: float | None) -> bool:
        """Call at each tick with the lag in seconds."""
        if lag is None or lag > self.max_lag:
            self.since = None
        elif self.since is None:
            self.since = time.monotonic()
        return self.seconds >= CAUGHT_UP_SECONDS

    @property
    def seconds(self) -> float:
        """For how long it has been close."""
        return 0.0 if self.since is None else time.monotonic() - self.since


@dataclass
class Series:
    """Attempts since the last approval."""

    number: int = 0
    attempts: int = 0
    next_at: float = field(default=0.0)

    def may_try(self, series: int, max_attempts: int) -> bool:
        """Whether another attempt is due in this series; a new series starts at zero."""
        if series != self.number:
            self.number, self.attempts, self.next_at = series, 0, 0.0
        return self.attempts < max_attempts and time.monotonic() >= self.next_at

    def failed(self) -> None:
        self.next_at = time.monotonic() + BETWEEN_ATTEMPTS_SECONDS
