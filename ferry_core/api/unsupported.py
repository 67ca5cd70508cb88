"""Fields that this version does not support yet.

Such a field is refused by name, or its default is replaced by something stricter with a notice. No field is silently
ignored. Remove a line here when the feature is supported. Used by ``manifest``, and by the ControlServer for
directives.
"""

from ferry_core.api.choices import CutoverMode, SourceLockMode
from ferry_core.api.cutover import Cutover
from ferry_core.api.directive import Directive
from ferry_core.api.spec import Ferry
from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason


def refuse_unsupported(ferry: Ferry) -> None:
    """Raise ConfigError NotBuiltYet, naming every field of the manifest that this version does not support."""
    _refuse(_cutover(ferry.spec.cutover))


def refuse_unsupported_directive(directive: Directive) -> None:
    """The same check for the fields of a directive."""
    _refuse(_cutover(directive.cutover))


def notices(ferry: Ferry) -> list[str]:
    """Notices where the run is stricter than the spec, or where a field has no effect outside a cluster."""
    spec = ferry.spec
    texts = []
    if spec.ttl_seconds_after_finished is not None:
        texts.append("ttlSecondsAfterFinished has an effect in a cluster only")
    if spec.copier.image or spec.copier.template.model_fields_set:
        texts.append("copier.image and copier.template have an effect in a cluster only")
    return texts


def _cutover(cutover: Cutover) -> list[str]:
    found = []
    if cutover.mode is CutoverMode.SCHEDULED:
        found.append("cutover.mode: Scheduled (use Manual or Automatic)")
    if cutover.not_before is not None:
        found.append("cutover.notBefore")
    if cutover.not_after is not None:
        found.append("cutover.notAfter")
    if cutover.source_lock in (SourceLockMode.LOCK_TABLES, SourceLockMode.WEBHOOK):
        found.append(f"cutover.sourceLock: {cutover.source_lock.value} (use ReadOnly or None)")
    if cutover.webhooks is not None:
        found.append("cutover.webhooks")
    return found


def _refuse(found: list[str]) -> None:
    if found:
        raise ConfigError(
            Reason.NOT_BUILT_YET,
            f"this version of mysql-ferry does not support yet: {', '.join(f'spec.{name}' for name in found)}; "
            "leave it out, or wait for a later version",
        )
