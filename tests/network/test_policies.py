"""A move with the chart's NetworkPolicy and that of docs/install.md in force, and what they keep from connecting."""

import functools
import json
from dataclasses import dataclass

from ferry_operator.names import CONTROL_PORT, METRICS_PORT
from tests.chart.test_network_policy import documented
from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, SCHEMA, ClusterFerry
from tests.support.compare import assert_equal_schemas
from tests.support.whole_cluster import CHART, IMAGE, OPERATOR_NAMESPACE

MONITORING = "monitoring"
OPERATOR = "deployment/ferry-operator"
SCRAPED_BY = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}]
TRY = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


@dataclass(frozen=True)
class Client:
    """Something in a Pod that may connect."""

    ferry: ClusterFerry
    namespace: str
    pod: str

    def reaches(self, address: str, port: int) -> bool:
        line = ("exec", f"--namespace={self.namespace}", self.pod, "--", "python", "-c", TRY, address, str(port))
        done = self.ferry.cluster.kubectl(*line, check=False)
        assert done.returncode == 0 or "refused" in done.stderr or "timed out" in done.stderr, done.stderr
        return done.returncode == 0

    def is_kept_from(self, address: str, port: int) -> bool:
        return not self.reaches(address, port)


def test_a_move_under_both_policies(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=2000)
    cluster, shop = ferry.cluster, ferry.namespace
    cluster.kubectl("create", "namespace", MONITORING)
    for namespace in (MONITORING, shop):
        _start_client(ferry, namespace)
    with ferry.writers():
        ferry.create()
        ferry.wait_for_stage("ReadyForCutover")
        operator = Client(ferry, OPERATOR_NAMESPACE, OPERATOR)
        prometheus, stranger = Client(ferry, MONITORING, "client"), Client(ferry, shop, "client")
        copier = Client(ferry, shop, COPIER)
        database = (cluster.gateway, ferry.pair.source.port)
        api = (cluster.machine.network.node, 6443)
        of_copier, of_operator = _address(ferry, shop, COPIER), _operator_address(ferry)
        allowed = [
            (operator, of_copier, CONTROL_PORT),
            (operator, *api),
            (prometheus, of_copier, METRICS_PORT),
            (prometheus, of_operator, 8080),
            (copier, *database),
            (stranger, *database),  # no policy is about it
        ]
        refused = [
            (operator, of_copier, METRICS_PORT),
            (operator, *database),
            (prometheus, of_copier, CONTROL_PORT),
            (stranger, of_copier, CONTROL_PORT),
            (stranger, of_copier, METRICS_PORT),
            (stranger, of_operator, 8080),
            (copier, of_operator, 8080),
            (copier, *api),
        ]
        for client, address, port in allowed + refused:
            assert client.reaches(address, port), f"{client.pod} cannot reach {address}:{port} without a policy"

        values = {"enabled": True, "metricsFrom": SCRAPED_BY}
        cluster.helm("upgrade", "ferry", str(CHART), "--reuse-values", f"--set-json=networkPolicy={json.dumps(values)}")
        ferry.kubectl("apply", "-f", "-", given=_policy(ferry))
        for client, address, port in refused:
            kept_out = functools.partial(client.is_kept_from, address, port)
            ferry.wait_until(kept_out, f"{client.pod} is kept from {address}:{port}")
        for client, address, port in allowed:
            assert client.reaches(address, port), f"{client.pod} cannot reach {address}:{port}"

        ferry.kubectl("delete", "pod", COPIER)  # the next ones connect under the policies
        cluster.restart_operator()
        ferry.cut_over()
    assert_equal_schemas(ferry.pair.source, ferry.pair.target, SCHEMA)
    ferry.kubectl("delete", "ferry", "orders")
    cluster.kubectl("delete", "namespace", MONITORING, "--wait=false")


def _start_client(ferry: ClusterFerry, namespace: str) -> None:
    line = ["python", "-c", "import time; time.sleep(100_000)"]
    container = {"name": "client", "image": IMAGE, "imagePullPolicy": "Never", "command": line}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "client", "namespace": namespace}, "spec": spec}
    ferry.cluster.kubectl("apply", "-f", "-", given=pod)
    ferry.cluster.kubectl("wait", "--for=condition=Ready", "pod/client", f"--namespace={namespace}", "--timeout=170s")


def _address(ferry: ClusterFerry, namespace: str, pod: str) -> str:
    of_it = ("get", "pod", pod, f"--namespace={namespace}", "-o", "jsonpath={.status.podIP}")
    return ferry.cluster.kubectl(*of_it).stdout


def _operator_address(ferry: ClusterFerry) -> str:
    selector = ("-l", "app.kubernetes.io/component=operator", f"--namespace={OPERATOR_NAMESPACE}")
    return ferry.cluster.kubectl("get", "pod", *selector, "-o", "jsonpath={.items[0].status.podIP}").stdout


def _policy(ferry: ClusterFerry) -> dict[str, object]:
    """The documented one, with the databases of this test."""
    policy = documented()
    policy["metadata"]["namespace"] = ferry.namespace
    policy["spec"]["egress"][-1] = {
        "to": [{"ipBlock": {"cidr": f"{ferry.cluster.gateway}/32"}}],
        "ports": [{"port": server.port} for server in (ferry.pair.source, ferry.pair.target)],
    }
    return policy
