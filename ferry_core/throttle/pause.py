"""The user's pause, as the threads that move rows see it: asked for before each step, so that it holds at once.

It does not stop statements in flight: the coordinator kills those. Called by ``Throttle`` and by the coordinator.
"""

import threading
from collections.abc import Callable

from ferry_core.throttle.clock import LOOK_SECONDS, Cancelled, Clock, SystemClock


class Pause:
    """Thread-safe. ``asked`` says what pauses the run, for people (``spec.paused``); empty while nothing does."""

    def __init__(self, asked: Callable[[], str] = str, clock: Clock | None = None) -> None:
        self._asked = asked
        self._clock = clock or SystemClock()
        self._waiting = threading.Condition()

    @property
    def by(self) -> str:
        """What pauses it now."""
        return self._asked()

    @property
    def paused(self) -> bool:
        return bool(self._asked())

    def wait_resumed(self, cancelled: Cancelled) -> bool:
        """Block while paused; False if ``cancelled`` was set first."""
        while self.paused and not cancelled.is_set():
            with self._waiting:
                self._clock.wait(self._waiting, LOOK_SECONDS)
        return not cancelled.is_set()
