"""How a piece of work is told to end: one object that is passed down, with the reason and an optional deadline.

Made by the code that may end the work: the engine for its threads, the verification for one comparison or for the check
under the lock.
"""

import math
import threading
import time

from ferry_core.errors import FerryError, Terminated
from ferry_core.reasons import Reason


class Cancellation(threading.Event):
    """Set by ``cancel``, whose first reason counts. At the deadline (time.monotonic) ``late`` is raised."""

    def __init__(self, deadline: float = math.inf, late: FerryError | None = None) -> None:
        super().__init__()
        self._deadline = deadline
        self._late = late
        self._why: FerryError | None = None

    def cancel(self, why: FerryError | None = None) -> None:
        self._why = self._why or why
        self.set()

    def is_set(self) -> bool:
        return super().is_set() or time.monotonic() >= self._deadline

    def wait(self, timeout: float | None = None) -> bool:
        left = self._deadline - time.monotonic()
        if left < math.inf:
            timeout = max(0.0, left if timeout is None else min(timeout, left))
        return super().wait(timeout) or self.is_set()

    def check(self) -> None:
        """Raise the reason if the work is to end."""
        if not self.is_set():
            return
        late = None if super().is_set() else self._late
        raise late or self._why or Terminated(Reason.STOPPING, "the run is stopping")
