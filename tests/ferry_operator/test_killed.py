"""The operator is killed during an action: a new one continues, there are never two Pods, nothing is forgotten.

A proxy cuts the operator off at a chosen request, before the API server receives it or after it has processed it; then
that operator is killed and another one started.
"""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from ferry_core.api.report import Stage
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.api_proxy import ApiProxy
from tests.support.kubelet import Copier, Kubelet, words
from tests.support.operator_thread import OperatorThread
from tests.support.waits import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]

When = Literal["before", "after"]
AT = pytest.mark.parametrize("when", ["before", "after"])

FERRY = r"/ferries/orders($|\?)"
STATUS = "/ferries/orders/status"


KILLED: list[OperatorThread] = []


@pytest.fixture(autouse=True, scope="module")
def _ended() -> Iterator[None]:
    yield
    for each in KILLED:
        each.wait()


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster.api) as proxy:
        yield proxy


class DoomedOperator:
    """An operator that will be killed at a request."""

    def __init__(self, cluster: Cluster, proxy: ApiProxy) -> None:
        self._cluster = cluster
        self._proxy = proxy
        self._operator = OperatorThread(proxy.kubeconfig, cluster.namespace)
        self._operator.start()
        KILLED.append(self._operator)

    def dies_at(self, method: str, path: str, when: When, by: Callable[[], object]) -> OperatorThread:
        """``by`` causes the operator to send that request; returns its successor."""
        cut = self._proxy.cut(method, path, when)
        by()
        assert cut.happened.wait(PATIENCE_SECONDS), f"there was no {method} {path}: {self._proxy.answers[-20:]}"
        return self._succeeded()

    def dies_telling(self, copier: Copier, when: When, by: Callable[[], object]) -> OperatorThread:
        """The same for a directive, before or after the copier receives it."""
        told = threading.Event()

        def cut_off() -> None:
            self._proxy.go_away()
            told.set()

        copier.cut = when, cut_off
        by()
        assert told.wait(PATIENCE_SECONDS), "there was no directive"
        return self._succeeded()

    def _succeeded(self) -> OperatorThread:
        self._operator.kill()
        return OperatorThread(self._cluster.api.kubeconfig, self._cluster.namespace)


@pytest.fixture
def doomed(cluster: Cluster, proxy: ApiProxy) -> DoomedOperator:
    return DoomedOperator(cluster, proxy)


def copying(cluster: Cluster, kubelet: Kubelet) -> None:
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Copying")
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")


def complete(kubelet: Kubelet) -> None:
    """The copier has cut over and ends."""
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COMPLETED))
    kubelet.end(copier, 0, words(copier.report))


@pytest.mark.parametrize(
    ("method", "path"),
    [("PATCH", FERRY), ("PATCH", STATUS), ("POST", "/pods"), ("POST", "/secrets"), ("POST", "/events")],
    ids=["finalizer", "status", "Pod", "Secret", "Event"],
)
@AT
def test_while_a_copier_is_started(
    cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, method: str, path: str, when: When
) -> None:
    def apply() -> None:
        cluster.apply("orders")
        if path == "/events":
            copier = kubelet.copier("orders")
            kubelet.call(lambda: copier.condition("Validated", "True", "Passed"))

    # The identity is a Secret too, of another namespace: it is there already.
    with doomed.dies_at(method, path, when, apply):
        copying(cluster, kubelet)
    assert kubelet.started == ["orders-copier"]
    assert len([each for each in cluster.secrets() if each["metadata"]["name"].startswith("orders-copier")]) == 1


@AT
def test_between_directive_and_status(cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, when: When) -> None:
    cluster.apply("orders")
    copying(cluster, kubelet)
    copier = kubelet.copier("orders")
    with doomed.dies_at("PATCH", STATUS, when, lambda: cluster.patch("orders", paused=True)):
        wait_until(lambda: cluster.condition("orders", "Paused").get("status") == "True")
        wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
    assert copier.directives[-1].paused
    assert kubelet.started == ["orders-copier"]


@AT
def test_while_a_copier_is_told(cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, when: When) -> None:
    cluster.apply("orders")
    copying(cluster, kubelet)
    copier = kubelet.copier("orders")
    with doomed.dies_telling(copier, when, lambda: cluster.patch("orders", paused=True)):
        wait_until(lambda: cluster.condition("orders", "Paused").get("status") == "True")
        wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
    told = [(directive.generation, directive.paused) for directive in copier.directives]
    assert [each for each, _ in itertools.groupby(told)] == [(1, False), (2, True)], "again does no harm"
    assert kubelet.started == ["orders-copier"]


@AT
def test_while_a_pod_is_replaced(cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, when: When) -> None:
    cluster.apply("orders")
    copying(cluster, kubelet)
    renewed = {"credentialsSecretRef": {"name": "renewed"}}
    with doomed.dies_at("DELETE", "/pods/orders-copier", when, lambda: cluster.patch("orders", source=renewed)):
        wait_until(lambda: len(kubelet.started) == 2)
        copying(cluster, kubelet)
    assert kubelet.started == ["orders-copier"] * 2


@AT
def test_while_success_is_written(cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, when: When) -> None:
    cluster.apply("orders")
    copying(cluster, kubelet)
    with doomed.dies_at("PATCH", STATUS, when, lambda: complete(kubelet)):
        wait_until(lambda: cluster.condition("orders", "Succeeded").get("status") == "True")
    assert cluster.status("orders")["phase"] == "Completed"
    assert kubelet.started == ["orders-copier"]


@AT
def test_while_its_time_to_live_ends(cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, when: When) -> None:
    cluster.apply("orders", ttlSecondsAfterFinished=1)
    copying(cluster, kubelet)
    with doomed.dies_at("DELETE", FERRY, when, lambda: complete(kubelet)):
        wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier", "orders-cleanup"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/pods/orders-copier"), ("POST", "/pods"), ("POST", "/secrets"), ("PATCH", STATUS), ("PATCH", FERRY)],
    ids=["end of the copier", "cleanup Pod", "its Secret", "status", "finalizer"],
)
@AT
def test_while_a_ferry_is_deleted(
    cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, method: str, path: str, when: When
) -> None:
    cluster.apply("orders")
    copying(cluster, kubelet)
    with doomed.dies_at(method, path, when, lambda: cluster.delete("orders")):
        wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier", "orders-cleanup"]
    assert kubelet.copiers == {}


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/pods/orders-copier"), ("POST", "/pods"), ("POST", "/secrets"), ("PATCH", STATUS)],
    ids=["end of the copier", "abort Pod", "its Secret", "status"],
)
@AT
def test_while_a_ferry_is_aborted(
    cluster: Cluster, kubelet: Kubelet, doomed: DoomedOperator, method: str, path: str, when: When
) -> None:
    cluster.apply("orders")
    copying(cluster, kubelet)
    with doomed.dies_at(method, path, when, lambda: cluster.patch("orders", aborted=True)):
        wait_until(lambda: cluster.status("orders").get("phase") == "Aborted")
    assert kubelet.started == ["orders-copier", "orders-abort"]
    assert kubelet.copiers == {}
