"""Limits how often status is written: numbers of each Ferry every 10 s, of all Ferries together 5 times a second.

Transitions are written at once while they are few. Called by ``act`` and ``copier_client``.
"""

import time
from collections.abc import Callable

EACH_SECONDS = 10.0
ALL_PER_SECOND = 5.0
BURST, BURST_SECONDS = 20, 1.0
"""Transitions of one Ferry: a burst of that many at once, then one per that many seconds. A start has about ten within
a second. One copier whose every answer was news (its image is the user's) caused 357 status writes a second.
"""


class TokenBucket:
    """``most`` tokens at once, then one every ``seconds``."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._spare = (most - 1) * seconds
        self._seconds = seconds
        self._now = now
        self._next = 0.0

    def take(self) -> float:
        """Take a token and return 0; or return the seconds until there is one."""
        now = self._now()
        if now < self._next:
            return self._next - now
        self._next = max(self._next, now - self._spare) + self._seconds
        return 0.0


class StatusBudget:
    """One per operator. Each Ferry keeps the time of its own last write."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._all = TokenBucket(int(ALL_PER_SECOND), 1 / ALL_PER_SECOND, now)

    def take(self, written_at: float | None) -> float:
        """Take a token for one write of numbers and return 0; or return the seconds to wait before asking again."""
        lately = written_at is not None and self.now() - written_at < EACH_SECONDS
        return EACH_SECONDS if lately or self._all.take() else 0.0
