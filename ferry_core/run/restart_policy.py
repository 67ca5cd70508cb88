"""Decides whether a run that met an error starts again from its checkpoint. Used by ``coordinator``.

After a restart of a server it does, but not for ever: a server that crashes again and again is of no use. Before the
first chunk (validating, taking the fence, waiting for the start) nothing else retries a step, so a server that became
unreachable gets the time that a step gets later. After the first chunk each step has its own retries. If definitions
change before the first chunk, they are read again by another validation, a few times. With ``schema.onChange: Recopy``
the run starts again whenever one changes, except for a table that changes many times before it is copied.
"""

import random
import time
from collections import Counter
from collections.abc import Collection
from operator import itemgetter

from ferry_core.checkpoint.state import RunState
from ferry_core.errors import (
    ConnectionLost,
    DataError,
    FerryError,
    Interrupted,
    KeyUnusable,
    LockConflict,
    LoginRefused,
    ResourceExhausted,
    ServerRestarted,
)
from ferry_core.intent.intent import Intent
from ferry_core.text import counted

MOST_RESTARTS = 10
WITHIN_SECONDS = 3600.0
"""Period within which a limited number of server restarts is tolerated; one more ends the run."""
MOST_COPIES = 100
"""How often a table is copied again without having been copied completely in between."""
MOST_ALTERATIONS = 5
"""How often to validate again because definitions changed before the first chunk."""
FIRST_CONTACT_SECONDS = 5.0
"""Time for a server that has never accepted our login: a wrong address is likelier than a broken connection."""
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0
_PASSING = (ConnectionLost, LoginRefused, LockConflict, ResourceExhausted, Interrupted)


class RestartPolicy:
    """One per run."""

    def __init__(self, retry_seconds: float) -> None:
        self._retry_seconds = retry_seconds
        self._restarts: list[float] = []
        self._alterations = 0
        self._copies: Counter[str] = Counter()
        self._judged: FerryError | None = None
        self._allowed = False
        self._failing_since: float | None = None
        self._pause = FIRST_PAUSE

    def allow(
        self,
        error: FerryError,
        *,
        under_way: bool,
        let_in: bool,
        start_undone: bool = False,
        changed: Collection[str] = (),
    ) -> bool:
        """Whether the run starts again after ``error``.

        ``under_way``: it may have read chunks. ``let_in``: both servers have accepted a login of this run before.
        ``start_undone``: nothing is left of the start that met the error. ``changed``: ids of the tables
        that are copied again because of it.
        """
        now = time.monotonic()
        if under_way:
            self._failing_since, self._pause = None, FIRST_PAUSE
        if isinstance(error, ServerRestarted):
            self._restarts = [*(moment for moment in self._restarts if now - moment < WITHIN_SECONDS), now]
            return len(self._restarts) <= MOST_RESTARTS
        if isinstance(error, KeyUnusable):
            return True  # at most once for each table
        if changed:
            return self._copies_again(error, changed)
        if isinstance(error, DataError):
            self._alterations += 1
            return start_undone and self._alterations <= MOST_ALTERATIONS
        if under_way or not isinstance(error, _PASSING):
            return False
        self._failing_since = self._failing_since or now
        patience = self._retry_seconds if let_in else min(self._retry_seconds, FIRST_CONTACT_SECONDS)
        return now - self._failing_since < patience

    def copied(self, state: RunState) -> None:
        """Tell which tables are copied, as the last checkpoint says."""
        for table_id in [name for name in self._copies if name in state.tables and state.tables[name].copied]:
            del self._copies[table_id]

    def _copies_again(self, error: FerryError, changed: Collection[str]) -> bool:
        if error is self._judged:
            return self._allowed
        self._judged = error
        self._copies.update(changed)
        table, times = max(((name, self._copies[name]) for name in changed), key=itemgetter(1))
        if times > MOST_COPIES:
            error.add(
                f". {table} was copied again {MOST_COPIES} times and never became complete: stop what keeps changing "
                "it on the source, then start the run again"
            )
        elif times > 1:
            error.add(f" ({table} was copied again {counted(times - 1, 'time')} and is not complete yet)")
        self._allowed = times <= MOST_COPIES
        return self._allowed

    def wait(self, intent: Intent) -> None:
        """Wait; longer each time, until a run is under way. Not after a stop."""
        if not intent.now.stopping:
            intent.wait_changed(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause = min(LONGEST_PAUSE, self._pause * 2)
