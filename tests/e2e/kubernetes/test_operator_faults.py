"""Faults of the operator: no API, no CRD, a missing permission, a second operator, another client that changes the same
objects all the time. Faults of a copier are in ``test_faults.py``.
"""

import contextlib
import itertools
import json
import random
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.kubernetes.conftest import MakeFerry
from tests.support.cluster_ferry import COPIER, FERRY, ClusterFerry
from tests.support.whole_cluster import WholeCluster

SLOW = {"maxRowsPerSecond": 1000}
FERRIES = "/apis/mysqlferry.io/v1alpha1/ferries"


@pytest.mark.always
def test_two_operators_by_mistake_make_one_copier(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    with ferry.writers(), ferry.cluster.operators(2):
        ferry.create(throttle={"maxRowsPerSecond": 5000})
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        ferry.delete_copier()
        ferry.cut_over()
    assert (ferry.epoch, ferry.restarts) == (2, 0), "one copier, and the one that was asked for by deleting it"
    ferry.assert_equal()


def test_a_copier_that_dies_while_the_operator_is_down_is_restarted_in_place(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    with ferry.writers():
        ferry.create(throttle=SLOW)
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        with ferry.cluster.operators(0):
            ferry.cluster.kill_process(ferry.namespace, COPIER)
            ferry.wait_until(lambda: ferry.restarts == 1, "the kubelet has started it again")
            copied = ferry.target_rows
            ferry.wait_until(lambda: ferry.target_rows > copied, "rows go on")
        ferry.patch_spec(throttle={"maxRowsPerSecond": None})
        ferry.cut_over()
    assert (ferry.epoch, ferry.restarts) == (2, 1)
    ferry.assert_equal()


def test_an_operator_killed_after_every_request(make_ferry: MakeFerry) -> None:
    """It is killed within a second after each kind of request: its successor continues, and no copier notices."""
    ferry = make_ferry(rows=20_000)
    moments = random.Random(ferry.seed)

    def killed(after: Callable[[], object]) -> None:
        after()
        moment = moments.uniform(0, 1)
        time.sleep(moment)  # the moment under test
        ferry.cluster.kill_operator()
        print(f"the operator was killed {moment:.2f} s later")

    with ferry.writers():
        killed(lambda: ferry.create(throttle={"maxRowsPerSecond": 2000}))
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        killed(lambda: ferry.patch_spec(paused=True))
        ferry.wait_until(lambda: ferry.is_true("Paused"), "Paused")
        killed(lambda: ferry.patch_spec(paused=False, throttle={"maxRowsPerSecond": None}))
        ferry.wait_for_stage("ReadyForCutover")
        assert (ferry.epoch, ferry.restarts) == (1, 0), "one copier, all along"
        with ferry.another_copier():
            killed(lambda: ferry.kubectl("delete", "pod", COPIER, "--wait=false"))
        ferry.wait_for_stage("ReadyForCutover")
        killed(lambda: ferry.patch_spec(cutover={"approved": True}))
        ferry.wait_for_stage("Completed")
    assert (ferry.epoch, ferry.restarts) == (2, 0)
    ferry.assert_equal()
    killed(lambda: ferry.kubectl("delete", "ferry", FERRY, "--wait=false"))
    ferry.wait_until(
        lambda: ferry.own_objects() == ["secret/source", "secret/target"], "only the user's Secrets are left"
    )


def test_an_api_server_outage_of_a_minute_stops_no_copier(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=150_000)
    machine = ferry.cluster.machine
    with ferry.writers():
        ferry.create(throttle=SLOW)
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        epoch = ferry.epoch
        machine.signal("kube-apiserver", "STOP")
        try:
            copied = ferry.target_rows
            # At 1,000 rows a second this takes a minute.
            ferry.wait_until(lambda: ferry.target_rows > copied + 60_000, "rows go on", 400)
        finally:
            machine.signal("kube-apiserver", "CONT")
        ferry.patch_spec(throttle={"maxRowsPerSecond": None})
        ferry.cut_over()
    assert ferry.epoch == epoch
    ferry.assert_equal()


def test_watches_whose_resource_version_has_expired(make_ferry: MakeFerry) -> None:
    """The API server is restarted while the operator is stopped, and answers the old watches with 410 Gone."""
    ferry = make_ferry(rows=30_000)
    cluster = ferry.cluster
    with ferry.writers():
        ferry.create(throttle=SLOW)
        ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
        epoch = ferry.epoch
        place = cluster.request("GET", FERRIES)["metadata"]["resourceVersion"]
        cluster.signal_operator("STOP")
        try:
            ferry.patch_spec(paused=True)
            cluster.machine.signal("kube-apiserver", "KILL")
            ferry.wait_until(lambda: watching_from(cluster, place) == 410, "the API server has forgotten")
        finally:
            cluster.signal_operator("CONT")
        # Well before the periodic round, which happens every two minutes.
        ferry.wait_until(lambda: ferry.is_true("Paused"), "Paused", 100)
        ferry.patch_spec(paused=False, throttle={"maxRowsPerSecond": None})
        ferry.cut_over()
    assert ferry.epoch == epoch
    ferry.assert_equal()


def watching_from(cluster: WholeCluster, place: str) -> int | None:
    """The error with which a watch of all Ferries starts, or None; also None while the API is unavailable."""
    try:
        told = cluster.request("GET", f"{FERRIES}?watch=1&timeoutSeconds=1&resourceVersion={place}", as_text=True)
    except (urllib.error.URLError, ConnectionError):
        return None
    first = json.loads(told.splitlines()[0]) if told else {}
    return int(first["object"]["code"]) if first.get("type") == "ERROR" else None


@contextlib.contextmanager
def somebody_annotates(ferry: ClusterFerry) -> Iterator[list[int]]:
    """Annotates as fast as the API allows; yields the list of written annotations."""
    done, written = threading.Event(), list[int]()

    def annotate() -> None:
        for number in itertools.count():
            if done.is_set():
                return
            ferry.merge(FERRY, {"metadata": {"annotations": {"somebody.example/count": str(number)}}})
            written.append(number)

    thread = threading.Thread(target=annotate, name="somebody")
    thread.start()
    try:
        yield written
    finally:
        done.set()
        thread.join()


def test_a_ferry_that_somebody_changes_all_the_time(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    with ferry.writers():
        ferry.create(throttle={"maxRowsPerSecond": 4000})
        with somebody_annotates(ferry) as written:
            ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
            ferry.patch_spec(paused=True)
            ferry.wait_until(lambda: ferry.is_true("Paused"), "Paused")
            ferry.patch_spec(paused=False)
            ferry.wait_until(lambda: len(written) > 100, "a hundred changes")
            ferry.cut_over()
    print(f"{len(written)} changes by somebody else")
    assert ferry.restarts == 0
    ferry.assert_equal()


def test_a_missing_permission_is_reported_and_retried(make_ferry: MakeFerry) -> None:
    ferry = make_ferry()
    role = json.loads(ferry.cluster.kubectl("get", "clusterrole", "ferry-operator", "-o", "json").stdout)
    index = next(index for index, rule in enumerate(role["rules"]) if "pods" in rule["resources"])
    verbs = [verb for verb in role["rules"][index]["verbs"] if verb != "create"]
    lacking = [{"op": "replace", "path": f"/rules/{index}/verbs", "value": verbs}]
    try:
        ferry.cluster.kubectl("patch", "clusterrole", "ferry-operator", "--type=json", "-p", json.dumps(lacking))
        ferry.create()
        ferry.wait_for_message(FERRY, "pods is forbidden", "cannot create")
        assert ferry.is_true("Stalled")
    finally:
        ferry.cluster.install_operator()  # helm upgrade, as the docs say
    ferry.wait_for_stage("ReadyForCutover")
    assert not ferry.is_true("Stalled")


def test_an_operator_started_before_its_crd(make_ferry: MakeFerry) -> None:
    ferry = make_ferry()
    cluster = ferry.cluster
    with cluster.without_crd():
        ferry.wait_until(lambda: "ferries.mysqlferry.io is not installed yet" in cluster.operator_log(), "it says so")
    ferry.create(cutover={"mode": "Automatic"})
    ferry.wait_for_stage("Completed")
    ferry.assert_equal()


@pytest.mark.slow  # the check of the watches takes a minute, and six failures of the liveness probe another one
def test_a_deleted_crd_deletes_its_ferries_and_can_be_installed_again(make_ferry: MakeFerry) -> None:
    ferry = make_ferry(rows=20_000)
    cluster = ferry.cluster
    ferry.create(throttle=SLOW, deletionPolicy="DropTarget")
    ferry.wait_until(lambda: ferry.rows_copied > 0, "the first rows")
    try:
        cluster.kubectl("delete", "crd", "ferries.mysqlferry.io", "--timeout=170s")
        assert ferry.pod(COPIER) is None
        assert not ferry.source_is_read_only()
        before = cluster.operator_restarts
        ferry.wait_until(lambda: cluster.operator_restarts > before, "the kubelet restarts the operator", 500)
        ferry.wait_until(lambda: "ferries.mysqlferry.io is not installed yet" in cluster.operator_log(), "it says so")
    finally:
        cluster.install_operator()
    ferry.create(cutover={"mode": "Automatic"}, throttle={})
    ferry.wait_for_stage("Completed")
    ferry.assert_equal()
