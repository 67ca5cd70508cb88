"""How a cutover attempt ends. Made by ``attempt`` and its steps, used by the coordinator and the report."""

from dataclasses import dataclass

from ferry_core.reasons import Reason

WRITES_STOPPED = "writes are stopped"
"""The step from which on the source waits."""


class AttemptFailed(Exception):
    """The attempt failed. ``reason`` becomes the reason of the CutOver condition."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class AttemptOutcome:
    """How an attempt ended. ``reason`` is Done, or the cause of the failure."""

    reason: Reason
    message: str
    blocked_milliseconds: int
    changes: int = 0
    """The change buffer's count once no change was under way. Any later change is not on the target."""

    @property
    def done(self) -> bool:
        return self.reason == Reason.DONE


def late(what: str) -> AttemptFailed:
    """The attempt took longer than the spec allows."""
    return AttemptFailed(Reason.DEADLINE_EXCEEDED, f"{what} when cutover.deadline was over")
