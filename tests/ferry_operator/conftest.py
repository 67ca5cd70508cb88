"""A namespace on a real kube-apiserver, an operator, and a simulated kubelet."""

import gc
from collections.abc import Iterator
from datetime import timedelta

import pytest

from ferry_core.api.report import Stage
from tests.support.kube_api import KubeApi
from tests.support.kubelet import Kubelet
from tests.support.namespace import Namespace, Object
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

__all__ = ["CUT_CONNECTIONS", "Cluster", "Object", "at_once", "running"]

CUT_CONNECTIONS = pytest.mark.filterwarnings("ignore::ResourceWarning")
"""Copiers and API servers end here with open TLS connections; asyncio leaves some to the garbage collector."""


class Cluster(Namespace):
    """A namespace whose kube-apiserver the tests may stop."""

    api: KubeApi


def at_once(took: list[float]) -> bool:
    """Within two seconds each; on a busy machine most of them, and none of them only by a look without cause."""
    return sorted(took)[len(took) // 3] < 2 and max(took) < 30


def running(cluster: Cluster, kubelet: Kubelet, name: str = "orders") -> None:
    """Create a Ferry and wait until it copies."""
    cluster.apply(name)
    copier = kubelet.copier(name)
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status(name).get("stage") == "Copying")


@pytest.fixture
def cluster(kube_api: KubeApi, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    words = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0]
    yield Cluster(kube_api, kube_api.make_namespace(words[:30].strip("-")))
    gc.collect()  # so that a leak is reported in the test that causes it


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages and numbers are written every second instead of every 10; refused actions are retried after 2 s."""
    for name in ("budget.EACH_SECONDS", "decide.SOON_SECONDS"):
        monkeypatch.setattr(f"ferry_operator.{name}", 1.0)
    for name in ("decide", "endings"):
        monkeypatch.setattr(f"ferry_operator.{name}.SHORTEST_BACKOFF", 2.0)
    monkeypatch.setattr("ferry_operator.pod_maker._NAME_TAKEN", timedelta(seconds=1))
    monkeypatch.setattr("ferry_operator.round_state._SECRET_SECONDS", 1.0)


@pytest.fixture
def kubelet(cluster: Cluster) -> Iterator[Kubelet]:
    with Kubelet(cluster.api, cluster.namespace) as kubelet:
        yield kubelet


@pytest.fixture
def operator(cluster: Cluster) -> Iterator[OperatorThread]:
    with OperatorThread(cluster.api.kubeconfig, cluster.namespace) as operator:
        yield operator
