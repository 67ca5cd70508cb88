"""Somebody else changes a Ferry whenever the operator writes it. Pause, abort and deletion do not wait for that."""

import itertools
import re
import time
from collections.abc import Iterator

import pytest

from ferry_core.api.report import Stage
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, running
from tests.support.api_proxy import ApiProxy
from tests.support.kubelet import Kubelet
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = CUT_CONNECTIONS

STATUS = r"/ferries/orders/status\?"
FERRY = r"/ferries/orders(\?|$)"


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster.api) as proxy:
        yield proxy


@pytest.fixture
def operator(proxy: ApiProxy, cluster: Cluster) -> Iterator[OperatorThread]:
    with OperatorThread(proxy.kubeconfig, cluster.namespace) as operator:
        yield operator


class ForeignWriter:
    """Annotates the Ferry whenever asked to."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._numbers = itertools.count(1)
        self.written = 0

    def annotate(self) -> None:
        self.written = next(self._numbers)
        annotations = {"somebody.example/count": str(self.written)}
        self._cluster.merge("orders", {"metadata": {"annotations": annotations}})


@pytest.mark.usefixtures("operator")
def test_a_pause_while_every_status_write_meets_a_foreign_change(
    cluster: Cluster, kubelet: Kubelet, proxy: ApiProxy
) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    somebody = ForeignWriter(cluster)
    began = len(proxy.answers)  # while it started, writes of its own may have met
    proxy.interfere("PATCH", STATUS, somebody.annotate)
    for paused in (True, False, True):
        generation = cluster.patch("orders", paused=paused)["metadata"]["generation"]
        wait_until(lambda g=generation: copier.directives[-1].generation == g)  # type: ignore[misc]
        wait_until(lambda p=paused: cluster.condition("orders", "Paused").get("status") == str(p))  # type: ignore[misc]
    proxy.leave_alone()
    written = [code for method, path, code in proxy.answers[began:] if method == "PATCH" and re.search(STATUS, path)]
    print(f"{somebody.written} changes by somebody else, answers {written}")
    assert 409 in written, "no conflict was forced"
    assert (409, 409) not in itertools.pairwise(written), "a conflict is followed by a write that has none"


@pytest.mark.usefixtures("operator")
def test_a_status_is_written_soon_after_many_conflicts(cluster: Cluster, kubelet: Kubelet, proxy: ApiProxy) -> None:
    running(cluster, kubelet)
    copier = kubelet.copier("orders")
    conflicts = proxy.conflict("PATCH", STATUS, 16)
    generation = cluster.patch("orders", paused=True)["metadata"]["generation"]
    wait_until(lambda: copier.directives[-1].generation == generation)
    wait_until(lambda: conflicts.left == 0)
    refused = time.monotonic()
    wait_until(lambda: cluster.condition("orders", "Paused").get("status") == "True")
    print(f"written {time.monotonic() - refused:.1f} s after the last conflict")
    assert time.monotonic() - refused < 30


@pytest.mark.usefixtures("operator")
def test_an_abort_while_the_status_cannot_be_written(cluster: Cluster, kubelet: Kubelet, proxy: ApiProxy) -> None:
    running(cluster, kubelet)
    conflicts = proxy.conflict("PATCH", STATUS, 1_000_000)
    cluster.patch("orders", aborted=True)
    wait_until(lambda: kubelet.started == ["orders-copier", "orders-abort"])
    assert conflicts.answered
    conflicts.left = 0
    wait_until(lambda: cluster.condition("orders", "Succeeded").get("reason") == "Aborted")


@pytest.mark.usefixtures("operator")
def test_start_and_deletion_while_every_write_meets_a_foreign_change(
    cluster: Cluster, kubelet: Kubelet, proxy: ApiProxy
) -> None:
    """The finalizer is added and removed although no optimistic lock on the object ever succeeds."""
    somebody = ForeignWriter(cluster)
    proxy.interfere("PATCH", FERRY, somebody.annotate)
    cluster.apply("orders")
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Copying")
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier", "orders-cleanup"]
    assert somebody.written
