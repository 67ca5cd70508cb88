"""Time as the throttle sees it, so that tests need none of it to pass. Called by its sisters in this package."""

import threading
import time
from typing import Protocol


class Cancelled(Protocol):
    """What ends a wait early; a ``threading.Event`` is one."""

    def is_set(self) -> bool: ...


class Clock(Protocol):
    """A monotonic clock and the way to wait by it."""

    def now(self) -> float:
        """Seconds from an arbitrary start."""

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait for a notification of ``condition``, which is held, for at most that long."""


class SystemClock:
    """The one outside of tests."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(seconds)


LOOK_SECONDS = 0.1
"""How often a waiting thread looks at its ``cancelled``, which notifies nobody."""
