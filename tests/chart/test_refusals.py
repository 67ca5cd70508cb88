"""A missing permission: what users see, and that granting it is enough, without a restart or a new Ferry."""

from collections.abc import Iterator

import pytest

from ferry_core.api.report import Stage
from ferry_operator.permissions import SERVED
from tests.chart.conftest import Account, StrictApi
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.kubelet import Kubelet, words
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]

BY_NAME = {str(each): each for each in SERVED}


class RestrictedOperator:
    """A namespace whose operator has all permissions at first."""

    def __init__(self, cluster: Cluster, account: Account, kubelet: Kubelet) -> None:
        self.cluster = cluster
        self.account = account
        self.kubelet = kubelet

    def take(self, name: str) -> None:
        self.account.take(BY_NAME[name])

    def copying(self) -> None:
        self.cluster.apply("orders")
        copier = self.kubelet.copier("orders")
        self.kubelet.call(lambda: copier.stage(Stage.COPYING))
        wait_until(lambda: self.cluster.status("orders").get("stage") == "Copying")

    def event(self, name: str) -> str:
        """The note of the Event about the refusal."""
        verb, _, resource = name.partition(" ")
        words = f'cannot {verb} resource "{resource}"'
        listed = self.cluster.api.request("GET", f"/apis/events.k8s.io/v1/namespaces/{self.cluster.namespace}/events")
        told = [each["note"] for each in listed["items"] if each["type"] == "Warning" and words in each["note"]]
        assert len(told) <= 1, "told once"
        return "".join(told)


@pytest.fixture
def scene(strict_api: StrictApi) -> Iterator[RestrictedOperator]:
    namespace = strict_api.make_namespace("lacking")
    account = Account(strict_api, namespace, (namespace,))
    with Kubelet(strict_api, namespace) as kubelet:
        yield RestrictedOperator(Cluster(strict_api, namespace), account, kubelet)


@pytest.fixture
def operator(scene: RestrictedOperator) -> Iterator[OperatorThread]:
    with scene.account.operator() as operator:
        # Once it has created a copier, its checks at the start are over.
        scene.cluster.apply("first")
        scene.kubelet.copier("first")
        yield operator


@pytest.mark.parametrize("name", ["list ferries", "watch ferries", "list pods", "watch pods"])
def test_an_operator_without_vital_permissions_waits_and_logs_them(
    scene: RestrictedOperator, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    scene.take(name)
    with scene.account.operator():
        line = f"waiting: the operator's account lacks permissions: {name} in namespace {scene.cluster.namespace}"
        wait_until(lambda: any(each.getMessage().startswith(line) for each in caplog.records))
        scene.account.give_back()
        scene.cluster.apply("orders")
        scene.kubelet.copier("orders")
    assert not [each for each in caplog.records if each.exc_info]


def test_a_deleted_namespace_does_not_affect_the_others(
    strict_api: StrictApi, caplog: pytest.LogCaptureFixture
) -> None:
    home, shop, billing = (strict_api.make_namespace(name) for name in ("operator", "shop", "billing"))
    account = Account(strict_api, home, (shop, billing))
    account.lose(billing)
    with account.operator(check_seconds=0.5) as operator, Kubelet(strict_api, shop) as kubelet:
        Cluster(strict_api, shop).apply("orders")
        kubelet.copier("orders")
        assert f"namespace {billing} is not served until the operator's account may watch it" in caplog.text
        account.give_back()
        wait_until(lambda: f"namespace {billing} can be served now: restarting" in caplog.text)
        operator.wait()
        operator.start()  # as the kubelet does
        with Kubelet(strict_api, billing) as later:
            Cluster(strict_api, billing).apply("orders")
            later.copier("orders")
        assert kubelet.started == ["orders-copier"]


def test_all_missing_permissions_are_logged_in_one_line(
    scene: RestrictedOperator, caplog: pytest.LogCaptureFixture
) -> None:
    scene.take("delete ferries")
    with scene.account.operator():
        line = f"the operator's account lacks permissions: delete ferries in namespace {scene.cluster.namespace}"
        wait_until(lambda: any(each.getMessage().startswith(line) for each in caplog.records))
        scene.copying()


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("create pods", 'cannot create resource "pods"'),
        ("create secrets", 'cannot create resource "secrets"'),
        ("update ferries/finalizers", "you can't set finalizers on"),
    ],
)
def test_a_copier_that_cannot_be_created(scene: RestrictedOperator, name: str, words: str) -> None:
    scene.take(name)
    scene.cluster.apply("orders")
    wait_until(lambda: scene.cluster.condition("orders", "Stalled").get("reason") == "PodRefused")
    assert words in scene.cluster.status("orders")["message"]
    assert ("Warning", "PodRefused") in scene.cluster.events("orders")
    scene.account.give_back()
    scene.kubelet.copier("orders")
    wait_until(lambda: scene.cluster.condition("orders", "Stalled").get("status") == "False")


@pytest.mark.usefixtures("operator")
def test_no_copier_without_the_finalizer_that_keeps_its_ferry_until_it_is_cleaned_up(scene: RestrictedOperator) -> None:
    scene.take("patch ferries")
    scene.cluster.apply("orders")
    words = "waiting for the operator's finalizer"
    wait_until(lambda: words in scene.cluster.status("orders").get("message", ""))
    assert scene.cluster.pod("orders-copier") is None
    scene.account.give_back()
    scene.kubelet.copier("orders")


@pytest.mark.usefixtures("operator")
def test_a_status_that_cannot_be_written_leaves_the_copier_alone(scene: RestrictedOperator) -> None:
    scene.copying()
    scene.take("patch ferries/status")
    copier = scene.kubelet.copier("orders")
    scene.kubelet.call(lambda: copier.stage(Stage.STREAMING))
    wait_until(lambda: scene.event("patch ferries/status"))
    scene.cluster.patch("orders", paused=True)
    wait_until(lambda: copier.directives[-1].paused)
    scene.account.give_back()
    wait_until(lambda: scene.cluster.status("orders").get("stage") == "Streaming")


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("name", ["delete pods", "get ferries"])
def test_a_deletion_without_permission_is_reported(scene: RestrictedOperator, name: str) -> None:
    scene.copying()
    scene.take(name)
    scene.cluster.delete("orders")
    wait_until(lambda: scene.event(name))
    assert scene.kubelet.started == ["first-copier", "orders-copier"]
    scene.account.give_back()
    wait_until(lambda: scene.cluster.ferry("orders") is None)
    assert scene.kubelet.started[-1] == "orders-cleanup"


@pytest.mark.usefixtures("operator")
def test_a_time_to_live_without_permission_to_delete_is_reported(scene: RestrictedOperator) -> None:
    scene.take("delete ferries")
    scene.cluster.apply("orders", ttlSecondsAfterFinished=0)
    copier = scene.kubelet.copier("orders")
    kubelet = scene.kubelet
    kubelet.call(lambda: copier.stage(Stage.COMPLETED))
    kubelet.end(copier, 0, words(copier.report))
    wait_until(lambda: scene.event("delete ferries"))
    assert scene.cluster.condition("orders", "Succeeded")["status"] == "True"
    scene.account.give_back()
    wait_until(lambda: scene.cluster.ferry("orders") is None)


@pytest.mark.usefixtures("operator")
def test_events_that_cannot_be_posted_block_nothing(
    scene: RestrictedOperator, caplog: pytest.LogCaptureFixture
) -> None:
    scene.take("create events")
    scene.copying()
    scene.cluster.patch("orders", aborted=True)
    wait_until(lambda: scene.cluster.status("orders").get("phase") == "Aborted")
    refused = 'cannot create resource "events"'  # posted after the status, which it describes
    wait_until(lambda: any(refused in each.getMessage() for each in caplog.records))


def test_every_permission_has_a_test_in_this_module() -> None:
    here = {*BY_NAME} - {"list ferries", "watch ferries", "list pods", "watch pods"}
    assert here == {
        *("create pods", "create secrets", "update ferries/finalizers", "patch ferries", "patch ferries/status"),
        *("delete pods", "get ferries", "delete ferries", "create events"),
    }
