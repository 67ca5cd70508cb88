"""Deletions and aborts that meet problems, against a real kube-apiserver."""

import time
from functools import partial

import pytest

from ferry_core.api.report import Outcome, Stage
from ferry_operator import handlers
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, running
from tests.support.kubelet import Kubelet, words
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = CUT_CONNECTIONS


def test_a_ferry_that_is_deleted_while_the_operator_is_down(
    cluster: Cluster, kubelet: Kubelet, operator: OperatorThread
) -> None:
    running(cluster, kubelet)
    operator.stop()
    cluster.delete("orders")
    kept = cluster.ferry("orders")
    assert kept is not None, "the finalizer keeps it"
    assert "deletionTimestamp" in kept["metadata"]
    operator.start()
    wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier", "orders-cleanup"]


@pytest.mark.usefixtures("operator")
def test_the_same_name_again_at_once(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    first = cluster.ferry("orders")
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)
    second = cluster.apply("orders")
    # There is no garbage collector here: objects that a real cluster deletes with their owner are deleted by hand.
    cluster.delete_pod("orders-cleanup")
    copier = kubelet.copier("orders")
    assert first is not None
    assert copier.manifest["metadata"]["uid"] == second["metadata"]["uid"] != first["metadata"]["uid"]


@pytest.mark.usefixtures("operator", "hasty")
def test_a_cleanup_that_fails_and_is_skipped(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    kubelet.helper_exit = (64, "ferry: ServerUnreachable: target new.db refuses")
    cluster.delete("orders")
    wait_until(lambda: "ServerUnreachable: target new.db refuses" in cluster.status("orders").get("message", ""))
    cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/skip-cleanup": "true"}}})
    wait_until(lambda: cluster.ferry("orders") is None)


@pytest.mark.usefixtures("operator", "hasty")
def test_a_refused_abort_continues_with_the_corrected_spec(cluster: Cluster, kubelet: Kubelet) -> None:
    """Until then a source may be locked."""
    running(cluster, kubelet)
    kubelet.helper_exit = (64, "ferry: NotBuiltYet: spec.throttle.maxReplicaLag")
    cluster.patch("orders", aborted=True, throttle={"maxReplicaLag": "5s"})
    wait_until(lambda: "NotBuiltYet" in cluster.status("orders").get("message", ""))
    kubelet.helper_exit = (0, "")
    cluster.patch("orders", throttle={"maxReplicaLag": None})
    wait_until(lambda: cluster.status("orders").get("phase") == "Aborted")
    assert kubelet.started == ["orders-copier", "orders-abort", "orders-abort"]


NEEDS_PERSON = "source old.db has read_only=ON already: if this Ferry was cut over, UPDATE mysql_ferry.lease"


def _succeeds(kubelet: Kubelet, message: str, needs_person: str = NEEDS_PERSON) -> None:
    """The Pod of an abort or a cleanup does so, and leaves this as its termination message."""
    kubelet.helper_exit = 0, Outcome(message=message, needs_person=needs_person).model_dump_json(by_alias=True)


@pytest.mark.usefixtures("operator")
def test_what_an_abort_leaves_to_a_person_is_in_the_status(cluster: Cluster, kubelet: Kubelet) -> None:
    """Nobody reads the log of a Pod that has succeeded."""
    running(cluster, kubelet)
    done = "aborted: target new.db is kept as it is"
    _succeeds(kubelet, done)
    cluster.patch("orders", aborted=True)
    wait_until(lambda: cluster.status("orders")["phase"] == "Aborted", seconds=60)
    assert cluster.status("orders")["message"] == f"{done}. {NEEDS_PERSON}"
    assert cluster.condition("orders", "Succeeded")["message"] == done
    stalled = cluster.condition("orders", "Stalled")
    assert (stalled["status"], stalled["reason"], stalled["message"]) == ("True", "SourceReadOnly", NEEDS_PERSON)
    told = {("Normal", "Aborted"), ("Warning", "SourceReadOnly")}
    wait_until(lambda: told <= {*cluster.events("orders")}, seconds=60)


@pytest.mark.usefixtures("operator")
@pytest.mark.parametrize("needs_person", ["", NEEDS_PERSON], ids=["done", "a person is needed"])
def test_what_a_cleanup_has_done_outlives_the_ferry_as_an_event(
    cluster: Cluster, kubelet: Kubelet, needs_person: str
) -> None:
    running(cluster, kubelet)
    done = "cleaned up: kept shop.orders (not provably this Ferry's alone)"
    _succeeds(kubelet, done, needs_person)
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None, seconds=60)
    told = cluster.notes("orders")
    assert told["CleanedUp"] == done
    assert told.get("SourceReadOnly", "") == needs_person


def _is_refused(cluster: Cluster, name: str) -> bool:
    return cluster.condition(name, "Stalled").get("reason") == "PodRefused"


@pytest.mark.usefixtures("operator")
def test_a_template_that_is_refused_keeps_no_ferry_from_being_deleted(cluster: Cluster, kubelet: Kubelet) -> None:
    wrong = {"template": {"metadata": {"labels": {"team": "not a label"}}}}
    cluster.apply("never", copier=wrong)
    running(cluster, kubelet)
    cluster.patch("orders", copier=wrong)
    for name in ("never", "orders"):
        wait_until(partial(_is_refused, cluster, name))
        cluster.delete(name)
    wait_until(lambda: not any(map(cluster.ferry, ("never", "orders"))))
    assert kubelet.started == ["orders-copier", "orders-cleanup"]


@pytest.mark.usefixtures("operator", "hasty")
def test_why_a_cleanup_cannot_start_stays_reported(
    cluster: Cluster, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It must not disappear whenever kopf calls again, every 30 s."""
    monkeypatch.setattr(handlers, "_RELEASE_SECONDS", 0.3)
    monkeypatch.setattr(handlers, "_RELEASE_PAUSE", 0.1)
    running(cluster, kubelet)
    cluster.patch("orders", copier={"image": " ferry:1"})
    wait_until(lambda: _is_refused(cluster, "orders"))
    cluster.delete("orders")
    wait_until(lambda: "cleaning up on the target (" in cluster.status("orders").get("message", ""))
    said = set()
    until = time.monotonic() + 3
    while time.monotonic() < until:
        said.add("image: Invalid value" in cluster.status("orders")["message"])
    assert said == {True}
    cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/skip-cleanup": "true"}}})
    wait_until(lambda: cluster.ferry("orders") is None)


@pytest.mark.usefixtures("operator")
def test_a_terminating_namespace_is_not_blocked(cluster: Cluster, kubelet: Kubelet) -> None:
    running(cluster, kubelet)
    cluster.api.request("DELETE", f"/api/v1/namespaces/{cluster.namespace}")
    cluster.delete("orders")
    wait_until(lambda: cluster.ferry("orders") is None)
    assert kubelet.started == ["orders-copier"], "nothing can be made in it any more"


@pytest.mark.usefixtures("operator")
def test_time_to_live(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders", ttlSecondsAfterFinished=1)
    copier = kubelet.copier("orders")
    kubelet.call(lambda: copier.stage(Stage.COMPLETED))
    kubelet.end(copier, 0, words(copier.report))
    wait_until(lambda: cluster.ferry("orders") is None)


@pytest.mark.usefixtures("operator")
def test_a_deletion_that_takes_long_is_retried_by_kopf(
    cluster: Cluster, kubelet: Kubelet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(handlers, "_RELEASE_SECONDS", 0.5)
    monkeypatch.setattr(handlers, "_RELEASE_PAUSE", 0.2)
    running(cluster, kubelet)
    kubelet.helper_exit = (75, "the target does not answer")
    cluster.delete("orders")
    wait_until(lambda: sum("still waits" in each.getMessage() for each in caplog.records) >= 3)
    assert not [each for each in caplog.records if each.exc_info], "kopf could not write down where it is"
    cluster.merge("orders", {"metadata": {"annotations": {"mysqlferry.io/skip-cleanup": "true"}}})
    wait_until(lambda: cluster.ferry("orders") is None)
