"""What a cutover still waits for, as values. Made by the coordinator at each tick, shown by the report."""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.reasons import Reason

LAG = (Reason.LAG_ABOVE_THRESHOLD, Reason.LAG_UNKNOWN)
WINDOW = (Reason.OUTSIDE_WINDOW, Reason.WINDOW_MISSED)


@dataclass(frozen=True)
class MissingGate:
    """A gate that is not passed. ``reason`` is the reason of the condition that it keeps from being True."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def listed(missing: Sequence[MissingGate]) -> str:
    """Text of several gates for a condition that already has the first one's reason."""
    return "; ".join([missing[0].message, *map(str, missing[1:])])
