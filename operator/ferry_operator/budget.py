"""How often numbers are written to status: each Ferry every 10 s, all of them together 5 times a second.

Transitions are never held back, and pay nothing. Called by ``act``.
"""

import time
from collections.abc import Callable

EACH_SECONDS = 10.0
ALL_PER_SECOND = 5.0


class Budget:
    """One for the operator; each Ferry keeps the time of its own last write."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self._next = 0.0

    def allows(self, written_at: float | None) -> bool:
        """Take one write, if there is one to take."""
        now = self.now()
        if written_at is not None and now - written_at < EACH_SECONDS:
            return False
        if now < self._next:
            return False
        self._next = max(self._next, now - 1.0) + 1 / ALL_PER_SECOND
        return True
