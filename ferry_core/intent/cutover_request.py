"""What a person has said of cutover attempts. Kept by ``desired_state``, compared with what a checkpoint remembers."""

from typing import NamedTuple, Self

from ferry_core.api.cutover import Cutover


class CutoverRequest(NamedTuple):
    """What a person has said of attempts; ``begins_anew`` compares it with what was said before."""

    wanted: bool
    max_attempts: int

    @classmethod
    def of(cls, cutover: Cutover) -> Self:
        return cls(cutover.permitted, cutover.max_attempts)

    def begins_anew(self, before: "CutoverRequest") -> bool:
        """Whether this is a new series: granted after a withdrawal, or more attempts allowed."""
        return (self.wanted and not before.wanted) or self.max_attempts > before.max_attempts
