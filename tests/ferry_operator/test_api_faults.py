"""Faults of kube-apiserver: expired watches, constant foreign writes, outages, a CRD that comes and goes."""

import contextlib
import gc
import threading
import time
import urllib.error
from collections.abc import Iterator
from typing import Self

import pytest

from ferry_core.api.report import Stage
from ferry_core.reasons import Condition
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, at_once
from tests.support.api_proxy import ApiProxy
from tests.support.kube_api import KubeApi
from tests.support.kubelet import Copier, Kubelet
from tests.support.operator_thread import OperatorPort, OperatorThread
from tests.support.servers import free_port
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]


def copying(cluster: Cluster, kubelet: Kubelet, name: str = "orders") -> Copier:
    cluster.apply(name)
    copier = kubelet.copier(name)
    kubelet.call(lambda: copier.stage(Stage.COPYING))
    wait_until(lambda: cluster.status(name).get("stage") == "Copying")
    wait_until(lambda: cluster.condition(name, "Reconciling").get("status") == "False")
    return copier


class ForeignWriteStorm:
    """Another controller that writes annotations and a condition of its own, 50 times a second."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._blow)
        self.written = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _blow(self) -> None:
        while not self._stop.wait(0.02):
            self.written += 1
            with contextlib.suppress(urllib.error.HTTPError):  # 409, where it meets a write of the operator
                self._write()

    def _write(self) -> None:
        if self.written % 2:
            annotations = {"theirs/number": str(self.written)}
            self._cluster.merge("orders", {"metadata": {"annotations": annotations}})
        else:
            self._cluster.apply_condition("orders", "Theirs", f"number {self.written}")


@pytest.mark.usefixtures("operator")
def test_another_controller_writes_constantly(cluster: Cluster, kubelet: Kubelet) -> None:
    copier = copying(cluster, kubelet)
    took = []
    with ForeignWriteStorm(cluster) as storm:
        for paused in (True, False) * 10:
            generation = cluster.patch("orders", paused=paused)["metadata"]["generation"]
            took.append(wait_until(lambda g=generation: copier.directives[-1].generation == g))  # type: ignore[misc]
            wait_until(lambda p=paused: cluster.condition("orders", "Paused").get("status") == str(p))  # type: ignore[misc]
        wait_until(lambda: storm.written > 100)
    print(f"{storm.written} foreign writes; patch to directive {sorted(round(each * 1000) for each in took)} ms")
    assert at_once(took)
    wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
    assert {each["type"] for each in cluster.status("orders")["conditions"]} == {*map(str, Condition), "Theirs"}
    owners = cluster.owners("orders", "Theirs")
    assert owners == {"theirs"}, "what others say is theirs alone"
    assert kubelet.started == ["orders-copier"]


# -- a beginning that is disturbed ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("operator")
def test_a_ferry_that_is_edited_while_it_starts(cluster: Cluster, kubelet: Kubelet) -> None:
    kubelet.hold = True
    cluster.apply("orders")
    first = eventually_pod(cluster, "orders-copier")
    cluster.patch("orders", paused=True, source={"credentialsSecretRef": {"name": "renewed"}})
    wait_until(lambda: (cluster.pod("orders-copier") or first)["metadata"]["uid"] != first["metadata"]["uid"])
    kubelet.hold = False
    copier = kubelet.copier("orders")
    wait_until(lambda: copier.directives)
    assert copier.directives[0].paused, "the first that it is told is the newest"
    assert copier.manifest["spec"]["source"]["credentialsSecretRef"]["name"] == "renewed"
    assert kubelet.started == ["orders-copier"]


@pytest.mark.usefixtures("operator")
def test_a_ferry_that_is_deleted_while_it_starts(cluster: Cluster, kubelet: Kubelet) -> None:
    kubelet.hold = True
    cluster.apply("orders")
    eventually_pod(cluster, "orders-copier")
    cluster.delete("orders")
    wait_until(lambda: cluster.pod("orders-copier") is None)
    kubelet.hold = False
    wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-cleanup"], "nobody can know that the copier never ran"


def eventually_pod(cluster: Cluster, name: str) -> dict[str, dict[str, str]]:
    wait_until(lambda: cluster.pod(name))
    found = cluster.pod(name)
    assert found is not None
    return found


# -- its CRD, its memory -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lone_api() -> Iterator[KubeApi]:
    """Without a cache its watches are etcd's own; with one it would forget only what was before its last start."""
    api = KubeApi("--watch-cache=false")
    try:
        api.start()
        yield api
    finally:
        api.stop()


@pytest.fixture
def own_api(lone_api: KubeApi) -> Iterator[KubeApi]:
    """Whose CRD, which is not there yet, may come and go without anybody else noticing."""
    yield lone_api
    gc.collect()
    lone_api.remove_crd()


def test_an_operator_that_starts_before_its_crd(own_api: KubeApi, caplog: pytest.LogCaptureFixture) -> None:
    cluster = Cluster(own_api, own_api.make_namespace("early"))
    with Kubelet(own_api, cluster.namespace) as kubelet, OperatorThread(own_api.kubeconfig, cluster.namespace):
        wait_until(lambda: "ferries.mysqlferry.io is not installed yet" in caplog.text)
        own_api.install_crd()
        cluster.apply("orders")
        kubelet.copier("orders")


def test_a_spec_that_is_newer_than_the_operator(own_api: KubeApi) -> None:
    """A field of another section, and one of a section that copiers are told: both obey pause and abort."""
    own_api.install_crd()
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
    text = {"type": "string", "maxLength": 10}
    added = [(f"{path}/magic", text), (f"{path}/copy/properties/magic", text)]
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/ferries.mysqlferry.io"
    patch = [{"op": "add", "path": place, "value": field} for place, field in added]
    own_api.request("PATCH", crd, patch, content_type="application/json-patch+json")
    cluster = Cluster(own_api, own_api.make_namespace("newer"))
    wait_until(lambda: "magic" in cluster.apply(f"try-{time.monotonic_ns()}", magic="x", paused=True)["spec"])
    with Kubelet(own_api, cluster.namespace) as kubelet, OperatorThread(own_api.kubeconfig, cluster.namespace):
        copier = copying(cluster, kubelet)
        cluster.patch("orders", magic="wand", paused=True)
        wait_until(lambda: copier.directives[-1].paused)
        wait_until(lambda: cluster.condition("orders", "Paused").get("status") == "True")
        wait_until(lambda: cluster.condition("orders", "Stalled").get("reason") == "InvalidField")
        assert "spec.magic" in cluster.condition("orders", "Stalled")["message"]
        assert kubelet.copiers == {"orders-copier": copier}, "it is not restarted"
        cluster.patch("orders", magic=None, paused=False)
        wait_until(lambda: cluster.condition("orders", "Reconciling").get("status") == "False")
        wait_until(lambda: cluster.condition("orders", "Stalled").get("status") == "False")
        cluster.patch("orders", copy={"magic": "wand"}, paused=True)
        wait_until(lambda: copier.overrides)
        assert (copier.overrides[-1].paused, copier.overrides[-1].aborted) == (True, False)
        wait_until(lambda: "only a pause, an abort, or a withdrawn" in cluster.status("orders")["message"])
        cluster.patch("orders", aborted=True)
        wait_until(lambda: cluster.status("orders").get("phase") == "Aborted")
        assert kubelet.started == ["orders-copier", "orders-abort"]
        assert kubelet.copiers == {}


def test_a_crd_that_is_deleted_and_installed_again(own_api: KubeApi) -> None:
    own_api.install_crd()
    cluster = Cluster(own_api, own_api.make_namespace("reinstalled"))
    probed = OperatorPort(free_port())
    blind = OperatorThread(own_api.kubeconfig, cluster.namespace, check_seconds=0.5, port=probed.port)
    with Kubelet(own_api, cluster.namespace) as kubelet:
        blind.start()
        copying(cluster, kubelet)
        own_api.kubectl("delete", "crd", "ferries.mysqlferry.io", "--wait=false")
        gone = (503, "the CustomResourceDefinition ferries.mysqlferry.io does not exist any more")
        wait_until(lambda: probed.get("/healthz") == gone)
        assert kubelet.started == ["orders-copier", "orders-cleanup"]
        blind.kill()  # as the kubelet does
        blind.wait()
        with OperatorThread(own_api.kubeconfig, cluster.namespace):
            own_api.install_crd()
            cluster.delete_pod("orders-cleanup")
            cluster.apply("again")
            copier = kubelet.copier("again")
            wait_until(lambda: copier.directives)
        assert kubelet.started == ["orders-copier", "orders-cleanup", "again-copier"]


def test_a_watch_whose_resource_version_has_expired(own_api: KubeApi) -> None:
    """etcd is compacted while the operator is cut off: its watches get 410 Gone and must restart."""
    own_api.install_crd()
    cluster = Cluster(own_api, own_api.make_namespace("forgotten"))
    with Kubelet(own_api, cluster.namespace) as kubelet, ApiProxy(own_api) as proxy:
        with OperatorThread(proxy.kubeconfig, cluster.namespace) as operator:
            copier = copying(cluster, kubelet)
            proxy.go_away()
            cluster.patch("orders", paused=True)
            cluster.apply("other")
            own_api.compact()
            proxy.come_back()
            wait_until(lambda: copier.directives[-1].paused)
            kubelet.copier("other")
            assert proxy.gone.is_set(), "the API server did not forget"
            assert operator.failure is None
        assert kubelet.started == ["orders-copier", "other-copier"]
