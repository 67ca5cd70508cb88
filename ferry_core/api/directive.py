"""The directive: all that the spec says about a running copier at one generation, sent whole so that it is idempotent.

Called by the ControlServer, which takes it, and by the operator, which sends it.
"""

from typing import Annotated, Self

from pydantic import Field

from ferry_core.api.cutover import Cutover
from ferry_core.api.model import Model
from ferry_core.api.spec import Copy, Spec, Throttle, Verify


class Directive(Model):
    """What ``PUT /api/v1/directive`` carries."""

    generation: Annotated[int, Field(ge=0)]
    """metadata.generation of the spec that this says; an older one than the acknowledged is ignored."""
    paused: bool = False
    """spec.paused."""
    throttle: Throttle = Throttle()
    """spec.throttle."""
    copy_: Annotated[Copy, Field(alias="copy")] = Copy()
    """spec.copy."""
    cutover: Cutover = Cutover()
    """spec.cutover."""
    verify: Verify = Verify()
    """spec.verify."""
    aborted: bool = False
    """spec.aborted."""

    @classmethod
    def of(cls, generation: int, spec: Spec) -> Self:
        """What ``spec`` says at this generation."""
        return cls(generation=generation, **{name: getattr(spec, name) for name in TOLD})

    def as_json(self) -> str:
        """To be sent. Without defaults: an older copier would refuse a field that it does not know."""
        return self.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)


TOLD = tuple(name for name in Directive.model_fields if name != "generation")
"""The fields of a spec that a running copier is told; any other one it takes at its start."""
