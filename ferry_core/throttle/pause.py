"""The user's pause: one switch, thrown by the spec and by the verbs alike; the last writer wins.

It does not stop statements in flight: whoever throws it kills those. Called by ``Throttle`` and by the coordinator.
"""

import threading

from ferry_core.throttle.clock import LOOK_SECONDS, Cancelled, Clock, SystemClock


class Pause:
    """Thread-safe."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._by = ""

    @property
    def paused(self) -> bool:
        return bool(self._by)

    @property
    def by(self) -> str:
        """What paused it, for people: ``spec.paused``; empty while it runs."""
        return self._by

    def set(self, paused: bool, by: str) -> None:
        """Throw the switch."""
        with self._changed:
            self._by = by if paused else ""
            self._changed.notify_all()

    def wait_resumed(self, cancelled: Cancelled) -> bool:
        """Block while paused; False if ``cancelled`` was set first."""
        with self._changed:
            while self._by and not cancelled.is_set():
                self._clock.wait(self._changed, LOOK_SECONDS)
        return not cancelled.is_set()
