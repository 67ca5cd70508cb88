"""The user's pause, as seen by the threads that move rows. They check it before each step, so it takes effect at once.

It does not stop running statements: the coordinator kills those. Used by ``Throttle`` and by the coordinator.
"""

import threading
from collections.abc import Callable

from ferry_core.throttle.clock import LOOK_SECONDS, Cancelled, Clock, SystemClock


class Pause:
    """Thread-safe. ``asked`` returns what pauses the run, for people (``spec.paused``); empty while nothing does."""

    def __init__(self, paused_by: Callable[[], str] = str, clock: Clock | None = None) -> None:
        self._paused_by = paused_by
        self._clock = clock or SystemClock()
        self._waiting = threading.Condition()

    @property
    def by(self) -> str:
        """What pauses the run now."""
        return self._paused_by()

    @property
    def paused(self) -> bool:
        return bool(self._paused_by())

    def wait_resumed(self, cancelled: Cancelled) -> bool:
        """Block while paused; False if ``cancelled`` was set first."""
        while self.paused and not cancelled.is_set():
            with self._waiting:
                self._clock.wait(self._waiting, LOOK_SECONDS)
        return not cancelled.is_set()
