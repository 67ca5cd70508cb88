"""How a piece of work is told to end: one object that is passed down, with the reason and an optional deadline.

Made by the code that may end the work: the engine for its threads, the verification for one comparison or for the check
under the lock.
"""

import math
import threading
import time

from ferry_core.errors import FerryError, Terminated
from ferry_core.reasons import Reason

LOOK_SECONDS = 0.05
"""How often a part looks whether the whole has ended."""


class Cancellation(threading.Event):
    """Set by ``cancel``, whose first reason counts. At the deadline (time.monotonic) ``late`` is raised.

    ``within``: the piece of work that this one is a part of, which ends it too.
    """

    def __init__(
        self, deadline: float = math.inf, late: FerryError | None = None, within: "Cancellation | None" = None
    ) -> None:
        super().__init__()
        self._deadline = deadline
        self._late = late
        self._within = within
        self._why: FerryError | None = None

    def cancel(self, why: FerryError | None = None) -> None:
        self._why = self._why or why
        self.set()

    def is_set(self) -> bool:
        ended = super().is_set() or time.monotonic() >= self._deadline
        return ended or (self._within is not None and self._within.is_set())

    def wait(self, timeout: float | None = None) -> bool:
        if self._within is not None:
            return self._wait_for_both(timeout)
        left = self._deadline - time.monotonic()
        if left < math.inf:
            timeout = max(0.0, left if timeout is None else min(timeout, left))
        return super().wait(timeout) or self.is_set()

    def _wait_for_both(self, timeout: float | None) -> bool:
        until = math.inf if timeout is None else time.monotonic() + timeout
        while not self.is_set() and (left := until - time.monotonic()) > 0:
            super().wait(min(left, LOOK_SECONDS))
        return self.is_set()

    def check(self) -> None:
        """Raise the reason if the work is to end."""
        if not self.is_set():
            return
        if self._within is not None:
            self._within.check()
        late = None if super().is_set() else self._late
        raise late or self._why or Terminated(Reason.STOPPING, "the run is stopping")
