"""Which connections the chart's NetworkPolicy and the one in docs/install.md allow, between the Pods as they are made.

The policies are evaluated here by the rules of networking.k8s.io/v1: the test cluster's network enforces none.
"""

import functools
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from ferry_operator import pods
from ferry_operator.names import CONTROL_PORT, METRICS_PORT, Role
from hack.chart import CHART, ROOT, render
from tests.support.observed import spec

Object = dict[str, Any]
META = {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 1}


@dataclass(frozen=True)
class End:
    """One end of a connection: a Pod, or an address outside of the cluster."""

    namespace: str = ""
    labels: Mapping[str, str] | None = None
    ports: Mapping[str, int] | None = None
    address: str = "203.0.113.9"


def made(namespace: str, pod: Object) -> End:
    containers = pod["spec"]["containers"]
    ports = {each["name"]: each["containerPort"] for one in containers for each in one.get("ports", ())}
    return End(namespace, pod["metadata"]["labels"], ports)


def _matches(selector: Object, labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}
    return set(selector.get("matchLabels", {}).items()) <= set(labels.items())


def _is_peer(peer: Object, end: End, own: str) -> bool:
    if "ipBlock" in peer:
        return ipaddress.ip_address(end.address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
    if end.labels is None:
        return False
    home = {"kubernetes.io/metadata.name": end.namespace}
    here = _matches(peer["namespaceSelector"], home) if "namespaceSelector" in peer else end.namespace == own
    return here and _matches(peer.get("podSelector", {}), end.labels)


def _is_port(wanted: Object, server: End, port: int) -> bool:
    named = wanted["port"]
    number = (server.ports or {}).get(named) if isinstance(named, str) else named
    return number == port and wanted.get("protocol", "TCP") == "TCP"


def allowed(policies: list[Object], client: End, server: End, port: int) -> bool:
    """Whether both ends may have this TCP connection."""
    for kind, own, other, rules, to in (
        ("Egress", client, server, "egress", "to"),
        ("Ingress", server, client, "ingress", "from"),
    ):
        governing = [
            each["spec"]
            for each in policies
            if own.labels is not None
            and each["metadata"]["namespace"] == own.namespace
            and kind in each["spec"]["policyTypes"]
            and _matches(each["spec"]["podSelector"], own.labels)
        ]
        passes = any(
            (not rule.get(to) or any(_is_peer(peer, other, own.namespace) for peer in rule[to]))
            and (not rule.get("ports") or any(_is_port(each, server, port) for each in rule["ports"]))
            for each in governing
            for rule in each.get(rules, ())
        )
        if governing and not passes:
            return False
    return True


def documented() -> Object:
    text = (ROOT / "docs/install.md").read_text()
    (found,) = re.findall(r"```yaml\n(apiVersion: networking.k8s.io/v1\n.*?)```", text, re.DOTALL)
    policy: Object = yaml.safe_load(found)
    return policy


@functools.cache
def objects() -> list[Object]:
    return render("--namespace=ferry-system", f"--values={CHART / 'ci' / 'everything-values.yaml'}")


def end(name: str) -> End:
    """The end of this name in the table below."""
    if name in [*Role]:
        return made("shop", pods.pod(META, spec(), Role(name), "image", "secret", "0.0.0.0"))
    if name == "operator":
        (deployment,) = (each for each in objects() if each["kind"] == "Deployment")
        return made("ferry-system", deployment["spec"]["template"])
    others = {
        "prometheus": End("monitoring", {"app": "prometheus"}),
        "stranger": End("shop", {"app": "web"}),
        "API server": End(),
        "database": End(address="10.1.2.3"),
        "elsewhere": End(address="10.2.2.3"),
    }
    return others[name]


@pytest.mark.parametrize(
    ("client", "server", "port", "may"),
    [
        ("operator", "copier", CONTROL_PORT, True),
        ("operator", "copier", METRICS_PORT, False),
        ("operator", "stranger", CONTROL_PORT, False),
        ("operator", "API server", 6443, True),
        ("operator", "database", 3306, False),
        ("prometheus", "operator", 8080, True),
        ("stranger", "operator", 8080, False),
        ("prometheus", "copier", METRICS_PORT, True),
        ("prometheus", "copier", CONTROL_PORT, False),
        ("stranger", "copier", CONTROL_PORT, False),
        ("copier", "operator", 8080, False),
        *((role, "database", 3306, True) for role in Role),
        *((role, "elsewhere", 3306, False) for role in Role),
        *((role, "API server", 6443, False) for role in Role),
    ],
)
def test_the_policies_allow_what_is_needed_and_nothing_else(client: str, server: str, port: int, may: bool) -> None:
    policies = [*(each for each in objects() if each["kind"] == "NetworkPolicy"), documented()]
    assert allowed(policies, end(client), end(server), port) is may
