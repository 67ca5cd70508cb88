"""The directive: every setting of the spec that a running copier can change, at one generation.

It is always sent whole, so sending it twice is harmless. The operator sends it, the ControlServer receives it.
"""

from typing import Annotated, Self

from pydantic import Field

from ferry_core.api.cutover import Cutover
from ferry_core.api.model import Model
from ferry_core.api.spec import Copy, Generation, Spec, Throttle, Verify


class Directive(Model):
    """Body of ``PUT /api/v1/directive``."""

    generation: Generation
    """metadata.generation of the spec. A generation older than the acknowledged one is ignored."""
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
        """The directive for ``spec`` at this generation."""
        return cls(generation=generation, **{name: getattr(spec, name) for name in TOLD})

    def as_json(self) -> str:
        """JSON to send. Defaults are left out, because an older copier would refuse a field that it does not know."""
        return self.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)


TOLD = tuple(name for name in Directive.model_fields if name != "generation")
"""Fields of the spec that a directive carries. A change of any other field takes effect at the next start."""
