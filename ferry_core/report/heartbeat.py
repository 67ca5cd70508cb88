"""Whether the coordinator is alive: it reports that several times a second, or it waits for one long statement.

Written by the coordinator through ``progress``, read by /healthz.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

ALIVE_SECONDS = 60.0
"""A coordinator without a heartbeat for this long counts as hung."""


class Heartbeat:
    """Heartbeat of one thread. Other threads may see a beat slightly late."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = now()
        self._long_steps = 0

    def beat(self) -> None:
        """Record that the thread is alive now."""
        self._last = self._now()

    @contextmanager
    def long_step(self) -> Iterator[None]:
        """While entered, the thread waits for one statement that may take hours; it counts as alive."""
        self._long_steps += 1
        try:
            yield
        finally:
            self._long_steps -= 1
            self.beat()

    @property
    def alive(self) -> bool:
        """Whether there was a recent heartbeat, or the thread waits for a server."""
        return self._long_steps > 0 or self._now() - self._last < ALIVE_SECONDS
