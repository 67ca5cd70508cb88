"""status.conditions of one run: at most one condition per type; its time changes only when its status does.

Called by ``progress``, under its lock.
"""

from datetime import datetime

from ferry_core.api.conditions import MESSAGE_CHARACTERS, ConditionStatus, transition_time
from ferry_core.api.report import ConditionReport


def tristate(status: bool | None) -> ConditionStatus:
    """None is unknown."""
    return "Unknown" if status is None else "True" if status else "False"


class Conditions:
    """Kept in the order in which they were first set."""

    def __init__(self) -> None:
        self._entries: dict[str, ConditionReport] = {}

    def set(self, kind: str, status: bool | None, reason: str, message: str, generation: int, now: datetime) -> bool:
        """Set a condition; returns whether anything visible has changed."""
        before = self._entries.get(kind)
        word = tristate(status)
        changed = None if before is None else (before.status, before.last_transition_time)
        entry = ConditionReport(
            type=kind,
            status=word,
            reason=reason,
            message=message[:MESSAGE_CHARACTERS],
            last_transition_time=transition_time(changed, word, now),
            observed_generation=generation,
        )
        self._entries[kind] = entry
        return entry != before

    def get(self, kind: str) -> ConditionReport | None:
        return self._entries.get(kind)

    def all(self) -> list[ConditionReport]:
        return list(self._entries.values())
