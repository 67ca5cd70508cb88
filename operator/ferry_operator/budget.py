"""How often status is written: numbers of each Ferry every 10 s, of all of them together 5 times a second.

Transitions are not held back while they are few. Called by ``act``; its buckets by ``copier``, too.
"""

import time
from collections.abc import Callable

EACH_SECONDS = 10.0
ALL_PER_SECOND = 5.0
BURST, BURST_SECONDS = 20, 1.0
"""Transitions of one Ferry, at once and from then on; a start has some ten within a second. Its copier's image is the
user's, and one whose every answer was news had 357 statuses a second written."""


class Bucket:
    """``most`` at once, then one each ``seconds``."""

    def __init__(self, most: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._spare = (most - 1) * seconds
        self._seconds = seconds
        self._now = now
        self._next = 0.0

    def wait(self) -> float:
        """Take one: 0; or after how many seconds there is one to take."""
        now = self._now()
        if now < self._next:
            return self._next - now
        self._next = max(self._next, now - self._spare) + self._seconds
        return 0.0


class Budget:
    """One for the operator; each Ferry keeps the time of its own last write."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._all = Bucket(int(ALL_PER_SECOND), 1 / ALL_PER_SECOND, now)

    def wait(self, written_at: float | None) -> float:
        """Take one write of numbers: 0; or after how many seconds to ask again."""
        lately = written_at is not None and self.now() - written_at < EACH_SECONDS
        return EACH_SECONDS if lately or self._all.wait() else 0.0
