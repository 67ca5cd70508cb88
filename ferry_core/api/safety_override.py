"""The part of a refused directive that still takes effect: pause, withdrawn permission and abort.

These three are emergency brakes, and an invalid field beside them must not disable them. Nothing starts or resumes
because of a refused directive. Used by the ControlServer and by a run's intent.
"""

from dataclasses import dataclass, replace
from typing import Self

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import Directive
from ferry_core.errors import FerryError
from ferry_core.reasons import Reason


@dataclass(frozen=True)
class SafetyOverride:
    """Lasts until a directive of its generation or a newer one is accepted."""

    generation: int
    paused: bool
    withdrawn: bool
    """Whether permission to cut over is withdrawn."""
    aborted: bool

    @classmethod
    def of(cls, refused: bytes, why: Exception) -> Self | None:
        """Read the override from the raw directive, whatever else is wrong with it. None if its generation cannot be
        read.

        A permission is kept only if the ``cutover`` section beside it is valid and asks for the source lock and the
        verification that the run has. Otherwise an attempt could ignore a setting that the user asked for.
        """
        try:
            raw = from_json(refused)
        except ValueError:
            return None
        if not isinstance(raw, dict) or type(raw.get("generation")) is not int:
            return None
        otherwise = isinstance(why, FerryError) and why.reason == Reason.NEEDS_RESTART
        withdrawn = otherwise or not _permits(raw.get("cutover", {}))
        return cls(raw["generation"], raw.get("paused") is True, withdrawn, raw.get("aborted") is True)

    def with_what_held(self, before: "SafetyOverride | None") -> Self:
        """This override combined with an earlier one: a refused directive never resumes what another one paused."""
        if before is None:
            return self
        return replace(
            self,
            generation=max(self.generation, before.generation),
            paused=self.paused or before.paused,
            withdrawn=self.withdrawn or before.withdrawn,
            aborted=self.aborted or before.aborted,
        )

    def applied_to(self, directive: Directive) -> Directive:
        """The directive with this override applied."""
        return directive.model_copy(
            update={
                "paused": directive.paused or self.paused,
                "cutover": directive.cutover.held() if self.withdrawn else directive.cutover,
                "aborted": directive.aborted or self.aborted,
            }
        )


def _permits(raw: object) -> bool:
    try:
        return Cutover.model_validate_json(to_json(raw)).permitted
    except ValidationError:
        return False
