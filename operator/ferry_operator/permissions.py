"""What the operator must be allowed in the cluster, asked of kube-apiserver at the start.

A missing verb is named in one line before anything fails for want of it. The chart's roles grant this and no more;
tests/chart compares them. Called by ``start``.
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
        """Without it the operator would be blind; without any other one, a Ferry that needs it says so."""
        return self.verb in ("list", "watch") or bool(self.name)


@dataclass(frozen=True)
class Lack:
    """A permission that is missing, and where; None: in all namespaces."""

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
"""In each namespace that is served."""


def own(settings: Settings) -> tuple[Permission, ...]:
    """In the operator's own namespace: its identity, made at the first start."""
    return Permission("get", "secrets", name=settings.identity_secret), Permission("create", "secrets")


async def missing(kube: Kube, settings: Settings) -> list[Lack]:
    """What of it this process is not allowed."""
    wanted = [(namespace, each) for namespace in settings.watch_namespaces or (None,) for each in SERVED]
    wanted += [(settings.namespace, each) for each in own(settings)]
    return [
        Lack(each, namespace)
        for namespace, each in dict.fromkeys(wanted)
        if not await kube.may(each.verb, each.group, each.resource, namespace, each.name)
    ]


def sentence(lacking: Sequence[Lack]) -> str:
    """For people."""
    verbs = ", ".join(map(str, lacking))
    return f"the operator's account may not: {verbs}; the chart's roles (rbac.create) allow it"
