"""Notices about fields of a manifest that have no effect where it is used. Used by ``manifest``."""

from ferry_core.api.spec import Ferry


def notices(ferry: Ferry) -> list[str]:
    """Fields that have no effect outside a cluster."""
    spec = ferry.spec
    texts = []
    if spec.ttl_seconds_after_finished is not None:
        texts.append("ttlSecondsAfterFinished has an effect in a cluster only")
    if spec.copier.image or spec.copier.template.model_fields_set:
        texts.append("copier.image and copier.template have an effect in a cluster only")
    return texts
