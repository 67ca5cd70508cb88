"""Revisions of the report, and who is woken by a new one. Used by ``progress``, under its lock.

Changes that people wait for (stage, phase, message, conditions, failure, throttle) raise the revision at once; numbers
raise it at most once a second, otherwise a long poll would return with every chunk.
"""

import threading
from collections.abc import Callable

NUMBERS_SECONDS = 1.0
"""Shortest interval at which changed numbers alone raise the revision."""


class Revisions:
    """Call everything but ``lock`` while it is held."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.lock = threading.Condition()
        self.newest = 1
        self._newest_news = 1
        self._numbers_changed = False
        self._raised_at = now()
        self._now = now

    def news(self) -> None:
        """Something that people wait for has changed."""
        self._raise()
        self._newest_news = self.newest

    def numbers(self) -> None:
        """Only numbers have changed."""
        self._numbers_changed = True

    def raise_if_due(self) -> None:
        """Raise the revision for numbers that changed at least a second ago."""
        if self._numbers_changed and self._now() - self._raised_at >= NUMBERS_SECONDS:
            self._raise()

    def _raise(self) -> None:
        self.newest += 1
        self._numbers_changed = False
        self._raised_at = self._now()
        self.lock.notify_all()

    def wait_newer(self, since: int, timeout: float, *, only_news: bool) -> bool:
        """Wait for a report newer than ``since``; False if there is none within ``timeout`` seconds."""
        end = self._now() + timeout
        while True:
            self.raise_if_due()
            left = end - self._now()
            if (self._newest_news if only_news else self.newest) > since:
                return True
            if left <= 0:
                return False
            self.lock.wait(min(left, NUMBERS_SECONDS))
