"""NetworkPolicies in force, the chart's and that of docs/install.md: a Ferry does its work, and nobody else gets in."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ferry_operator.names import CONTROL_PORT, METRICS_PORT
from tests.chart.test_network_policy import documented
from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, ClusterFerry
from tests.support.waits import wait_until
from tests.support.whole_cluster import IMAGE, WholeCluster

MONITORING = "monitoring"
SCRAPERS = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"


@contextmanager
def operators_policy(cluster: WholeCluster) -> Iterator[None]:
    try:
        cluster.install_operator(options=["--set=networkPolicy.enabled=true", f"--set={SCRAPERS}={MONITORING}"])
        yield
    finally:
        cluster.install_operator()


@contextmanager
def strangers(cluster: WholeCluster, *namespaces: str) -> Iterator[None]:
    """A Pod ``stranger`` in each of these namespaces. The last one is made for it."""
    container = {"name": "stranger", "image": IMAGE, "command": ["sleep", "1000000"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "stranger"}, "spec": {"containers": [container]}}
    cluster.kubectl("create", "namespace", namespaces[-1])
    try:
        for namespace in namespaces:
            cluster.kubectl("apply", "-n", namespace, "-f", "-", given=pod)
        for namespace in namespaces:
            cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/stranger", "--timeout=170s")
        yield
    finally:
        cluster.kubectl("delete", "namespace", namespaces[-1], "--wait=false")


def may(cluster: WholeCluster, namespace: str, pod: str, address: str, port: int) -> bool:
    """Whether a Pod can open this connection."""
    python = ("exec", pod, "-n", namespace, "--", "/opt/ferry/bin/python", "-c", CONNECT, address, str(port))
    done = cluster.kubectl(*python, check=False)
    assert done.returncode == 0 or "Error:" in done.stderr or "TimeoutError" in done.stderr, done.stderr
    return done.returncode == 0


def copiers_policy(ferry: ClusterFerry) -> None:
    """That of docs/install.md, for where this Ferry's databases are."""
    policy = documented()
    policy["metadata"]["namespace"] = ferry.namespace
    (block,) = (rule for rule in policy["spec"]["egress"] if "to" in rule)
    block["to"] = [{"ipBlock": {"cidr": f"{ferry.cluster.gateway}/32"}}]
    block["ports"] = [{"port": server.port} for server in (ferry.pair.source, ferry.pair.target)]
    ferry.kubectl("apply", "-f", "-", given=policy)


def test_a_ferry_works_behind_the_policies_and_nobody_else_gets_in(make_ferry: MakeFerry) -> None:
    ferry = make_ferry()
    cluster, own = ferry.cluster, ferry.namespace
    ferry.create()
    ferry.wait_for_stage("ReadyForCutover")
    pod = ferry.pod(COPIER)
    assert pod is not None
    copier = pod["status"]["podIP"]
    operator = cluster.operator_address
    with strangers(cluster, own, MONITORING), socket.create_server((cluster.gateway, 0)) as elsewhere:
        outside = cluster.gateway, elsewhere.getsockname()[1]
        assert may(cluster, own, "stranger", copier, CONTROL_PORT)
        assert may(cluster, own, "stranger", operator, METRICS_PORT)
        assert may(cluster, own, COPIER, *outside)
        copiers_policy(ferry)
        with operators_policy(cluster), cluster.machine.enforcing_policies():
            wait_until(lambda: not may(cluster, own, "stranger", copier, CONTROL_PORT), "the policies are in force")
            operator = cluster.operator_address
            found = {
                (who, where): may(cluster, namespace, name, *address)
                for who, namespace, name in (("stranger", own, "stranger"), ("scraper", MONITORING, "stranger"))
                for where, address in (
                    ("copier", (copier, CONTROL_PORT)),
                    ("copier's metrics", (copier, METRICS_PORT)),
                    ("operator's metrics", (operator, METRICS_PORT)),
                )
            }
            assert found == {
                ("stranger", "copier"): False,
                ("stranger", "copier's metrics"): False,
                ("stranger", "operator's metrics"): False,
                ("scraper", "copier"): False,
                ("scraper", "copier's metrics"): True,
                ("scraper", "operator's metrics"): True,
            }
            assert not may(cluster, own, COPIER, *outside)
            assert may(cluster, own, COPIER, cluster.gateway, ferry.pair.target.port)
            cluster.roll_operator()  # another one has to reach kube-apiserver and the copier
            ferry.delete_copier()  # another one has to reach both databases, and to be reached
            ferry.cut_over()
            ferry.assert_equal()
