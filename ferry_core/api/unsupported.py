"""Fields that this version does not support yet.

Such a field is refused by name; none is silently ignored. Remove a line here when the feature is supported. Used by
``manifest``.
"""

from ferry_core.api.choices import SourceLockMode
from ferry_core.api.spec import Ferry
from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason


def refuse_unsupported(ferry: Ferry) -> None:
    """Raise ConfigError NotBuiltYet, naming every field of the manifest that this version does not support."""
    found = []
    if ferry.spec.cutover.source_lock is SourceLockMode.LOCK_TABLES:
        found.append("cutover.sourceLock: LockTables (use ReadOnly, Webhook or None)")
    _refuse(found)


def notices(ferry: Ferry) -> list[str]:
    """Notices about fields that have no effect outside a cluster."""
    spec = ferry.spec
    texts = []
    if spec.ttl_seconds_after_finished is not None:
        texts.append("ttlSecondsAfterFinished has an effect in a cluster only")
    if spec.copier.image or spec.copier.template.model_fields_set:
        texts.append("copier.image and copier.template have an effect in a cluster only")
    return texts


def _refuse(found: list[str]) -> None:
    if found:
        raise ConfigError(
            Reason.NOT_BUILT_YET,
            f"this version of mysql-ferry does not support yet: {', '.join(f'spec.{name}' for name in found)}; "
            "leave it out, or wait for a later version",
        )
