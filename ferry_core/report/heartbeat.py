"""Whether the coordinator lives: it says so several times a second, or waits for one long statement of a server.

Written by the coordinator through ``progress``, read by /healthz.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

ALIVE_SECONDS = 60.0
"""A coordinator that has not been heard of for so long hangs."""


class Heartbeat:
    """Of one thread; read by others, who may see it a beat late."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._last = now()
        self._long_steps = 0

    def beat(self) -> None:
        """Alive now."""
        self._last = self._now()

    @contextmanager
    def long_step(self) -> Iterator[None]:
        """While inside, one statement of a server is waited for, which may take hours: that is life too."""
        self._long_steps += 1
        try:
            yield
        finally:
            self._long_steps -= 1
            self.beat()

    @property
    def alive(self) -> bool:
        """Heard of lately, or waiting for a server."""
        return self._long_steps > 0 or self._now() - self._last < ALIVE_SECONDS
