"""What a person last requested about cutover attempts.

Part of ``desired_state``, compared with the checkpoint's record.
"""

from datetime import datetime
from typing import NamedTuple, Self

from ferry_core.api.cutover import Cutover


class CutoverRequest(NamedTuple):
    """A request for cutover attempts. ``begins_anew`` compares it with the previous one."""

    wanted: bool
    max_attempts: int
    not_before: datetime | None = None
    not_after: datetime | None = None

    @classmethod
    def of(cls, cutover: Cutover) -> Self:
        return cls(cutover.permitted, cutover.max_attempts, cutover.not_before, cutover.not_after)

    def begins_anew(self, before: "CutoverRequest") -> bool:
        """Whether this starts a new series: permission granted after a withdrawal, a higher number of attempts, or
        another window.
        """
        granted = self.wanted and not before.wanted
        other_window = (self.not_before, self.not_after) != (before.not_before, before.not_after)
        return granted or other_window or self.max_attempts > before.max_attempts
