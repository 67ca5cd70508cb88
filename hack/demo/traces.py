"""Distinguishes what the demo created on a cluster from what belongs to others.

The demo's namespaces have a label; the CRD is the demo's if the release in such a namespace created it. Called by
``run``, which refuses to take over objects of others, and by ``down``, which leaves them alone.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from hack.demo.place import Place, say
from hack.installing import Unavailable

SYSTEM, SHOP, CRD = "namespace/ferry-system", "namespace/shop", "customresourcedefinition/ferries.mysqlferry.io"
_MARK = {"app.kubernetes.io/created-by": "mysql-ferry-demo"}
_RELEASE = {"meta.helm.sh/release-name": "ferry", "meta.helm.sh/release-namespace": "ferry-system"}


@dataclass(frozen=True)
class Traces:
    """Which of the demo's names are taken, and by whom."""

    ours: frozenset[str]
    foreign: frozenset[str]

    @classmethod
    def among(cls, objects: Iterable[Mapping[str, Any]]) -> "Traces":
        """From objects as returned by the API."""
        found = {f"{each['kind'].lower()}/{each['metadata']['name']}": each["metadata"] for each in objects}
        ours = {name for name, output in found.items() if _MARK.items() <= output.get("labels", {}).items()}
        if SYSTEM in ours and _RELEASE.items() <= found.get(CRD, {}).get("annotations", {}).items():
            ours.add(CRD)
        return cls(frozenset(ours), frozenset(found.keys() - ours))


def find(at: Place) -> Traces:
    """From the cluster as it is now."""
    output = at.read("kubectl", "get", SYSTEM, SHOP, CRD, "--ignore-not-found", "--output=json")
    return Traces.among(json.loads(output)["items"] if output else [])


def refuse_foreign(at: Place) -> None:
    """Refuse to start if the demo would take over an operator, Ferries or a shop of others."""
    foreign = find(at).foreign
    if foreign:
        raise Unavailable(
            f"not on this cluster: {' and '.join(sorted(foreign))} is there already, and no `make demo` has made it; "
            "nothing was changed"
        )


def clear_shop(at: Place) -> None:
    """Delete databases and Ferry of an earlier demo. The operator releases a Ferry whose namespace is deleted."""
    if SHOP in find(at).ours:
        at.run("kubectl", "delete", SHOP, "--timeout=180s")


def clear(at: Place) -> None:
    """Delete everything that the demo created, and print what remains."""
    clear_shop(at)
    found = find(at)
    ferries = _ferries(at) if CRD in found.ours else []
    if ferries:
        say(f"{' and '.join(sorted(found.ours))} stay, with the operator: it serves {' and '.join(ferries)}")
    else:
        if SYSTEM in found.ours:
            at.run("helm", "uninstall", "ferry", "--namespace=ferry-system", "--ignore-not-found", "--wait")
            # The namespace last: its label lets an interrupted clean-up be continued.
            at.run("kubectl", "delete", *sorted(found.ours))
        say("what the demo made is gone")
    for name in sorted(found.foreign):
        say(f"{name} stays: no `make demo` has made it")


def _ferries(at: Place) -> list[str]:
    """Remaining Ferries in other namespaces than the demo's."""
    fields = "jsonpath={range .items[*]}{.metadata.namespace}/{.metadata.name} {end}"
    return at.read("kubectl", "get", "ferries", "--all-namespaces", f"--output={fields}").split()
