"""The throttle's clock, which tests replace so that they need not wait. Used in this package."""

import threading
import time
from typing import Protocol


class Cancelled(Protocol):
    """Ends a wait early; for example a ``threading.Event``."""

    def is_set(self) -> bool: ...


class Clock(Protocol):
    """A monotonic clock, and a way to wait."""

    def now(self) -> float:
        """Seconds from an arbitrary start."""

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        """Wait for a notification of ``condition``, which the caller holds, for at most that long."""


class SystemClock:
    """The real clock."""

    def now(self) -> float:
        return time.monotonic()

    def wait(self, condition: threading.Condition, seconds: float) -> None:
        condition.wait(seconds)


LOOK_SECONDS = 0.1
"""How often a waiting thread checks its ``cancelled``, which sends no notification."""
