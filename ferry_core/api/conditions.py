"""The rules of status.conditions that copier and operator share. Used by ``report.conditions`` and the operator."""

from typing import Literal, TypeVar

ConditionStatus = Literal["True", "False", "Unknown"]
MESSAGE_CHARACTERS = 4096
"""Bound of a message in the CRD."""
_Time = TypeVar("_Time")


def transition_time(before: tuple[str, _Time] | None, status: ConditionStatus, now: _Time) -> _Time:
    """``lastTransitionTime`` after status and time ``before``: it changes only if the status does."""
    return before[1] if before is not None and before[0] == status else now
