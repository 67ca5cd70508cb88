"""Whether a run that met an error begins again from its checkpoint. Asked by ``coordinator``.

After a restart of a server: yes, but not for ever, since one that falls again and again is no use to go on with. Before
the first chunk (validating, taking the fence, waiting for the start) nothing else tries a step again: there a server
that went away gets the time that a step gets later. After that each step has had its time already. Definitions that are
changed before the first chunk are read again by another validation, a few times.
"""

import random
import time

from ferry_core.errors import (
    ConnectionLost,
    DataError,
    FerryError,
    Interrupted,
    LockConflict,
    LoginRefused,
    ResourceExhausted,
    ServerRestarted,
)
from ferry_core.intent.intent import Intent

MOST_RESTARTS = 10
WITHIN_SECONDS = 3600.0
"""So many restarts of the servers in so long a time are borne; with one more the run ends."""
MOST_ALTERATIONS = 5
"""Validations that definitions may be changed after, before the first chunk."""
FIRST_CONTACT_SECONDS = 5.0
"""For a server that has never let us in: a wrong address is likelier than a connection that broke."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
_PASSING = (ConnectionLost, LoginRefused, LockConflict, ResourceExhausted, Interrupted)


class RestartPolicy:
    """One a run."""

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._restarts: list[float] = []
        self._alterations = 0
        self._failing_since: float | None = None
        self._pause = FIRST_PAUSE

    def allow(self, error: FerryError, *, under_way: bool, let_in: bool, start_undone: bool = False) -> bool:
        """Whether the run begins again after ``error``.

        ``under_way``: it may have read chunks. ``let_in``: both servers have let this run in before.
        ``start_undone``: nothing is kept of the start that met it.
        """
        now = time.monotonic()
        if under_way:
            self._failing_since, self._pause = None, FIRST_PAUSE
        if isinstance(error, ServerRestarted):
            self._restarts = [*(moment for moment in self._restarts if now - moment < WITHIN_SECONDS), now]
            return len(self._restarts) <= MOST_RESTARTS
        if isinstance(error, DataError):
            self._alterations += 1
            return start_undone and self._alterations <= MOST_ALTERATIONS
        if under_way or not isinstance(error, _PASSING):
            return False
        self._failing_since = self._failing_since or now
        patience = self._retry_seconds if let_in else min(self._retry_seconds, FIRST_CONTACT_SECONDS)
        return now - self._failing_since < patience

    def wait(self, intent: Intent) -> None:
        """Longer each time, until a run is under way; not after a stop."""
        if not intent.now.stopping:
            intent.wait_changed(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
