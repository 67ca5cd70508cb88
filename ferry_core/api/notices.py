"""Notices about a manifest: fields that have no effect where it is used, and servers that are not verified.

Used by ``manifest``.
"""

from ferry_core.api.choices import TlsMode
from ferry_core.api.spec import Ferry
from ferry_core.text import is_loopback


def notices(ferry: Ferry) -> list[str]:
    """For the user, before a check or a run."""
    spec = ferry.spec
    texts = []
    if spec.ttl_seconds_after_finished is not None:
        texts.append("ttlSecondsAfterFinished has an effect in a cluster only")
    if spec.copier.image or spec.copier.template.model_fields_set:
        texts.append("copier.image and copier.template have an effect in a cluster only")
    return [*texts, *_unverified(ferry)]


def _unverified(ferry: Ferry) -> list[str]:
    """Servers that another machine may answer for."""
    source, target = ferry.spec.source, ferry.spec.target
    primary = source.primary or source
    servers = (
        ("source", source, source.tls),
        ("target", target, target.tls),
        *([("source.primary", primary, primary.tls or source.tls)] if source.primary else []),
    )
    return [
        f"spec.{name}.tls.mode is {tls.mode.value}: nothing proves that {server.address} is your server, and whoever "
        "answers in its place may read the rows and learn the password; VerifyCA or VerifyIdentity proves it"
        for name, server, tls in servers
        if server.host is not None
        and not is_loopback(server.host)
        and tls.mode not in (TlsMode.VERIFY_CA, TlsMode.VERIFY_IDENTITY)
    ]
