"""A namespace with an operator and a stand-in for kubelet, and Ferries in it."""

import gc
from collections.abc import Iterator

import pytest

from tests.support.kube_api import KubeApi
from tests.support.kubelet import Kubelet
from tests.support.namespace import Namespace, Object, eventually
from tests.support.operator_thread import OperatorThread

__all__ = ["CUT_CONNECTIONS", "Cluster", "Object", "eventually"]

CUT_CONNECTIONS = pytest.mark.filterwarnings("ignore::ResourceWarning")
"""Copiers and API servers die here with open TLS connections, of which asyncio leaves some to the garbage collector."""


class Cluster(Namespace):
    """One whose kube-apiserver is the fixture's: tests may stop it."""

    api: KubeApi


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What a test leaves behind is found in it, not in the next one."""
    yield
    gc.collect()


@pytest.fixture
def cluster(kube_api: KubeApi, request: pytest.FixtureRequest) -> Cluster:
    words = request.node.name.removeprefix("test_").replace("_", "-").split("[")[0]
    return Cluster(kube_api, kube_api.make_namespace(words[:30].strip("-")))


@pytest.fixture
def kubelet(cluster: Cluster) -> Iterator[Kubelet]:
    with Kubelet(cluster.api, cluster.namespace) as kubelet:
        yield kubelet


@pytest.fixture
def operator(cluster: Cluster) -> Iterator[OperatorThread]:
    with OperatorThread(cluster.api.kubeconfig, cluster.namespace) as operator:
        yield operator
