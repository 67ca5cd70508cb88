"""What a person last requested about cutover attempts.

Part of ``desired_state``, compared with the checkpoint's record.
"""

from typing import NamedTuple, Self

from ferry_core.api.cutover import Cutover


class CutoverRequest(NamedTuple):
    """A request for cutover attempts. ``begins_anew`` compares it with the previous one."""

    wanted: bool
    max_attempts: int

    @classmethod
    def of(cls, cutover: Cutover) -> Self:
        return cls(cutover.permitted, cutover.max_attempts)

    def begins_anew(self, before: "CutoverRequest") -> bool:
        """Whether this starts a new series: permission granted after a withdrawal, or a higher number of attempts."""
        return (self.wanted and not before.wanted) or self.max_attempts > before.max_attempts
