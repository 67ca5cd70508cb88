"""Rules of status.conditions that the copier and the operator share. Used by ``report.conditions`` and the operator."""

from typing import Literal, TypeVar

ConditionStatus = Literal["True", "False", "Unknown"]
MESSAGE_CHARACTERS = 4096
"""The CRD's maximum length of a message."""
_Time = TypeVar("_Time")


def transition_time(before: tuple[str, _Time] | None, status: ConditionStatus, now: _Time) -> _Time:
    """``lastTransitionTime`` of a condition that had ``before``: it changes only if the status changes."""
    return before[1] if before is not None and before[0] == status else now
