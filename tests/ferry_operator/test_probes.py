"""What Prometheus and the kubelet see of the operator, over HTTP."""

from collections.abc import Iterator

import pytest

from ferry_core.api.report import Stage
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.api_proxy import ApiProxy
from tests.support.kubelet import Kubelet
from tests.support.operator_thread import OperatorPort, OperatorThread
from tests.support.servers import free_port
from tests.support.waits import wait_until

pytestmark = CUT_CONNECTIONS
CHECK_SECONDS = 0.5


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster.api) as proxy:
        yield proxy


@pytest.fixture
def probed(cluster: Cluster, proxy: ApiProxy) -> Iterator[OperatorPort]:
    """Its API server is away until the proxy comes back."""
    proxy.go_away()
    probed = OperatorPort(free_port())
    with OperatorThread(proxy.kubeconfig, cluster.namespace, check_seconds=CHECK_SECONDS, port=probed.port):
        yield probed


def copying(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Copying")
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")


def test_a_ferrys_series_are_there_until_it_is_deleted(
    cluster: Cluster, kubelet: Kubelet, proxy: ApiProxy, probed: OperatorPort
) -> None:
    wait_until(lambda: probed.get("/readyz") == (503, "starting"))
    assert probed.get("/healthz") == (200, "ok"), "a restart would not bring the API server back"
    wait_until(lambda: probed.value("ferry_operator_kube_requests_total", code="0") >= 1)
    proxy.come_back()
    wait_until(lambda: probed.get("/readyz") == (200, "ok"))
    copying(cluster, kubelet)
    orders = {"namespace": cluster.namespace, "ferry": "orders"}
    wait_until(lambda: probed.value("ferry_status_phase", phase="Copying", **orders) == 1)
    assert probed.value("ferry_status_phase", **orders) == 1
    wait_until(lambda: probed.value("ferry_status_condition", type="Reconciling", status="False", **orders) == 1)
    assert probed.value("ferry_info", source="old.db", target="new.db", **orders) == 1
    assert probed.value("ferry_status_observed_generation", **orders) == 1
    # Ours and kopf's.
    for verb, resource, code in (
        ("POST", "pods", "201"),
        ("PATCH", "ferries", "200"),
        ("WATCH", "pods", "200"),
        ("WATCH", "ferries", "200"),
        ("GET", "discovery", "200"),
    ):
        labels = {"verb": verb, "resource": resource, "code": code}
        assert probed.value("ferry_operator_kube_requests_total", **labels) >= 1, labels
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)
    wait_until(lambda: not [labels for _, labels in probed.series() if ("ferry", "orders") in labels])
    assert probed.value("ferry_operator_reconcile_total", result="ok") >= 1
    assert probed.value("ferry_operator_reconcile_total", result="error") == 0


def test_a_watch_that_delivers_nothing_is_unhealthy(
    cluster: Cluster, kubelet: Kubelet, proxy: ApiProxy, probed: OperatorPort
) -> None:
    proxy.come_back()
    wait_until(lambda: probed.get("/readyz") == (200, "ok"))
    copying(cluster, kubelet)
    wait_until(lambda: probed.get("/healthz") == (200, "ok"))
    proxy.deaf = True
    cluster.patch("orders", paused=True)
    wait_until(lambda: "the watch has missed changes of 1 Ferries or Pods" in probed.get("/healthz")[1])
    assert probed.get("/healthz")[0] == 503
    assert probed.get("/readyz") == (200, "ok"), "metrics are still to be had"
    proxy.deaf = False
    cluster.patch("orders", paused=False)
    wait_until(lambda: probed.get("/healthz") == (200, "ok"))
