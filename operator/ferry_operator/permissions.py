"""The permissions that the operator needs, checked with kube-apiserver at the start. Called by ``start``.

A missing one is logged before anything fails because of it. The chart's roles grant exactly these: tests/chart compares
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.api.crd import GROUP, PLURAL
from ferry_operator.kube import Kube
from ferry_operator.settings import Settings


@dataclass(frozen=True)
class Permission:
    """One verb on one resource; in the core group without ``group``."""

    verb: str
    resource: str
    group: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.verb, self.resource, self.name)))

    @property
    def vital(self) -> bool:
        """Without it the operator sees nothing. Any other missing permission is reported by the Ferry that needs it."""
        return self.verb in ("list", "watch") or bool(self.name)


@dataclass(frozen=True)
class Lack:
    """A missing permission, and where; None: in all namespaces."""

    permission: Permission
    namespace: str | None

    def __str__(self) -> str:
        where = "any namespace" if self.namespace is None else f"namespace {self.namespace}"
        return f"{self.permission} in {where}"


SERVED = (
    *(Permission(verb, PLURAL, GROUP) for verb in ("get", "list", "watch", "patch", "delete")),
    Permission("patch", f"{PLURAL}/status", GROUP),
    Permission("update", f"{PLURAL}/finalizers", GROUP),
    *(Permission(verb, "pods") for verb in ("list", "watch", "create", "delete")),
    Permission("create", "secrets"),
    Permission("create", "events", "events.k8s.io"),
)
"""Needed in each namespace that is served."""


def own(settings: Settings) -> tuple[Permission, ...]:
    """Needed in the operator's own namespace: its identity is created at the first start."""
    return Permission("get", "secrets", name=settings.identity_secret), Permission("create", "secrets")


async def missing(kube: Kube, settings: Settings) -> list[Lack]:
    """The permissions that this process does not have."""
    wanted = [(namespace, each) for namespace in settings.watch_namespaces or (None,) for each in SERVED]
    wanted += [(settings.namespace, each) for each in own(settings)]
    return [
        Lack(each, namespace)
        for namespace, each in dict.fromkeys(wanted)
        if not await kube.may(each.verb, each.group, each.resource, namespace, each.name)
    ]


def sentence(lacking: Sequence[Lack]) -> str:
    """As a log message."""
    verbs = ", ".join(map(str, lacking))
    return f"the operator's account lacks permissions: {verbs}; the chart's roles (rbac.create) grant them"
