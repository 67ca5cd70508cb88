"""How an attempt to cut over ends. Made by ``attempt`` and its steps, read by the coordinator and the report."""

from dataclasses import dataclass


class AttemptFailed(Exception):
    """The attempt is over; ``reason`` is that of the CutOver condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended; ``reason`` is Done, or why not."""

    reason: str
    message: str
    blocked_milliseconds: int
    changes: int = 0
    """The change buffer's count when nothing was under way any more: every later one was not handed over."""

    @property
    def done(self) -> bool:
        return self.reason == "Done"


def late(what: str) -> AttemptFailed:
    """It took longer than the spec allows."""
    return AttemptFailed("DeadlineExceeded", f"{what} when cutover.deadline was over")
