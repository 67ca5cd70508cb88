"""What people and operators want of a run at one moment, as one value. Immutable: every change returns a new value.

The last writer wins: a verb changes one part, a directive all of it. Kept by ``intent``, read by every thread.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from ferry_core.api.directive import Directive
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.intent.cutover_request import CutoverRequest
from ferry_core.intent.pass_requests import PassRequests


@dataclass(frozen=True)
class DesiredState:
    """Starts with the manifest's settings, see ``at_start``."""

    directive: Directive
    """Everything that is wanted now, verbs included."""
    spec_paused: bool = False
    paused_by_verb: bool | None = None
    """The last pause or resume verb. None: spec.paused applies."""
    series: int = 1
    """Number of the current series of cutover attempts.

    A new approval or a higher maxAttempts starts a new series. A restart continues the first one.
    """
    request: CutoverRequest | None = None
    """The last request about cutover attempts. None: none yet."""
    first_request: CutoverRequest | None = None
    override: SafetyOverride | None = None
    """The pause, withdrawal or abort of refused directives."""
    passes: PassRequests = field(default_factory=PassRequests)
    """Verification passes that people asked for."""
    stopping: bool = False
    """End the run and keep its state."""
    aborted: bool = False
    """End the run permanently: undo the source lock, keep the target."""

    @classmethod
    def at_start(cls, directive: Directive) -> "DesiredState":
        """A start without permission does not withdraw one: under an operator only the directive gives permission."""
        request = CutoverRequest.of(directive.cutover)
        first = request if request.wanted else None
        return cls(directive, directive.paused, request=first, first_request=first, aborted=directive.aborted)

    @property
    def paused_by(self) -> str:
        """What asks for a pause, for people; empty if nothing does."""
        if not self.directive.paused:
            return ""
        return "ferry pause" if self.paused_by_verb else "spec.paused"

    @property
    def cutover_request(self) -> CutoverRequest:
        """The current request about cutover attempts."""
        return self.request or CutoverRequest.of(self.directive.cutover)

    @property
    def wants_cutover(self) -> bool:
        return CutoverRequest.of(self.directive.cutover).wanted

    @property
    def workers(self) -> int:
        """Wanted number of copy workers."""
        return self.directive.copy_.workers

    # -- changes --------------------------------------------------------------------------------------------------

    def replaced(self, directive: Directive) -> "DesiredState":
        """Replaced by a directive. A directive of an older generation is ignored."""
        if directive.generation < self.directive.generation:
            return self
        override = self.override
        if override is not None and directive.generation < override.generation:
            directive = override.applied_to(directive)
        else:
            override = None
        taken = replace(self, spec_paused=directive.paused, paused_by_verb=None, override=override)
        return _with(_requested(taken, CutoverRequest.of(directive.cutover)), directive)

    def overridden(self, override: SafetyOverride) -> "DesiredState":
        """With the override of a refused directive. Its generation is not acknowledged."""
        if override.generation < self.directive.generation:
            return self
        combined = override.with_what_held(self.override)
        directive = combined.applied_to(self.directive)
        held = replace(self, override=combined)
        if override.paused:
            held = replace(held, spec_paused=True, paused_by_verb=None)
        if override.withdrawn:
            held = _requested(held, CutoverRequest.of(directive.cutover))
        return _with(held, directive)

    def changed(self, **fields: object) -> "DesiredState":
        """With single fields of the directive replaced, for the verbs of a local run."""
        return _with(self, self.directive.model_copy(update=fields))

    def paused_or_resumed(self, paused: bool) -> "DesiredState":
        """After a pause or resume verb."""
        return replace(self, paused_by_verb=paused).changed(paused=paused)

    def approved(self) -> "DesiredState":
        """After the cutover verb. Giving it again starts a new series of attempts."""
        cutover = self.directive.cutover.model_copy(update={"approved": True})
        asked = _requested(replace(self, series=self.series + 1), CutoverRequest.of(cutover))
        return asked.changed(cutover=cutover)

    def withdrawn(self) -> "DesiredState":
        """After the withdraw verb: no attempt starts until it is approved again, whatever ``cutover.mode`` says."""
        cutover = self.directive.cutover.held()
        return _requested(self, CutoverRequest.of(cutover)).changed(cutover=cutover)

    def with_pass(self, tables: Collection[str]) -> "DesiredState":
        """After the verify verb; no names mean all tables."""
        return replace(self, passes=self.passes.asked(tables))

    def stopped(self) -> "DesiredState":
        return replace(self, stopping=True)

    def with_abort(self) -> "DesiredState":
        return replace(self, aborted=True)

    # -- what an earlier run stored -------------------------------------------------------------------------------

    def with_stored_pause(self, paused: bool | None, over: bool) -> "DesiredState":
        """With an earlier run's last verb, unless ``spec.paused`` changed since or a newer verb was given.

        ``over`` is the value of ``spec.paused`` when that verb came.
        """
        if paused is None or over != self.spec_paused or self.paused_by_verb is not None:
            return self
        return self.paused_or_resumed(paused)

    def with_stored_request(self, before: CutoverRequest) -> "DesiredState":
        """With the request that an earlier run received last, so that the same request to this run is not a new one."""
        if self.first_request is None:
            return replace(self, request=before)
        return replace(self, series=self.series + self.first_request.begins_anew(before))


def _with(wanted: DesiredState, directive: Directive) -> DesiredState:
    return replace(wanted, directive=directive, aborted=wanted.aborted or directive.aborted)


def _requested(wanted: DesiredState, request: CutoverRequest) -> DesiredState:
    if wanted.request is None:
        return replace(wanted, request=request, first_request=request)
    return replace(wanted, request=request, series=wanted.series + request.begins_anew(wanted.request))
