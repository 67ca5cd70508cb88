"""What a directive that is refused does all the same: it holds back. Called by the ControlServer and by a run's intent.

Pause, withdrawal and abort are a person's emergency brakes: a field beside them that cannot be acted on must not keep
them from working. Nothing begins or goes on by what was refused.
"""

from dataclasses import dataclass, replace
from typing import Self

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import Directive
from ferry_core.api.unsupported import refuse_unsupported_directive
from ferry_core.errors import ConfigError, FerryError
from ferry_core.reasons import Reason


@dataclass(frozen=True)
class SafetyOverride:
    """It lasts until a directive of its generation or a newer one is taken."""

    generation: int
    paused: bool
    withdrawn: bool
    """No cutover is permitted."""
    aborted: bool

    @classmethod
    def of(cls, refused: bytes, why: Exception) -> Self | None:
        """Read from the directive as it came, whatever else is wrong with it; None: it does not say of what it is.

        A permission stands only beside a ``cutover`` that could be acted on, and the lock and proof that the run has:
        else an attempt would pass over what was asked of it.
        """
        try:
            said = from_json(refused)
        except ValueError:
            return None
        if not isinstance(said, dict) or type(said.get("generation")) is not int:
            return None
        otherwise = isinstance(why, FerryError) and why.reason == Reason.NEEDS_RESTART
        withdrawn = otherwise or not _permits(said.get("cutover", {}))
        return cls(said["generation"], said.get("paused") is True, withdrawn, said.get("aborted") is True)

    def with_what_held(self, before: "SafetyOverride | None") -> Self:
        """And what was refused earlier: one refused directive does not resume what another has paused."""
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
        """The same, held back."""
        return directive.model_copy(
            update={
                "paused": directive.paused or self.paused,
                "cutover": directive.cutover.held() if self.withdrawn else directive.cutover,
                "aborted": directive.aborted or self.aborted,
            }
        )


def _permits(said: object) -> bool:
    try:
        cutover = Cutover.model_validate_json(to_json(said))
        refuse_unsupported_directive(Directive(generation=0, cutover=cutover))
    except (ValidationError, ConfigError):
        return False
    return cutover.permitted
