"""The newest changes of a run that people may want to know of, kept in memory. Written by ``progress``, under its lock.

The log has all of them; these are for the status page, whose reader has no log at hand.
"""

from collections import deque
from datetime import datetime

from ferry_core.api.control import RecentEvent
from ferry_core.api.report import ConditionReport

MOST_EVENTS = 200


class RecentEvents:
    """A condition counts when its status or reason changes: its message may contain numbers that change each second."""

    def __init__(self) -> None:
        self._events: deque[RecentEvent] = deque(maxlen=MOST_EVENTS)
        self._added = 0

    def add(self, now: datetime, kind: str, status: str, reason: str = "", message: str = "") -> None:
        self._added += 1
        self._events.append(RecentEvent(time=now, type=kind, status=status, reason=reason, message=message))

    def condition(self, now: datetime, before: ConditionReport | None, after: ConditionReport | None) -> None:
        """A condition was set."""
        if after is None or (before and (before.status, before.reason) == (after.status, after.reason)):
            return
        self.add(now, after.type, after.status, after.reason, after.message)

    def since(self, seen: int) -> tuple[list[RecentEvent], int]:
        """Those after the first ``seen`` ones that are still known, and how many there were so far."""
        new = min(self._added - seen, len(self._events))
        return list(self._events)[len(self._events) - new :], self._added

    def all(self) -> list[RecentEvent]:
        return list(self._events)
