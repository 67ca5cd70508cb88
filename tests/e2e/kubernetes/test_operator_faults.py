"""What can befall the operator: its API away, its CRD or a permission missing, another operator, somebody who changes
the same objects all the time. What can befall a copier is in ``test_faults.py``.
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

from tests.e2e.kubernetes.conftest import Embark
from tests.support.voyage import COPIER, FERRY, Voyage
from tests.support.whole_cluster import WholeCluster

pytestmark = pytest.mark.timeout(400)
SLOW = {"maxRowsPerSecond": 1000}
FERRIES = "/apis/mysqlferry.io/v1alpha1/ferries"


def test_two_operators_by_mistake_make_one_copier(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    with voyage.crew(), voyage.cluster.operators(2):
        voyage.set_out(throttle={"maxRowsPerSecond": 5000})
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        voyage.delete_copier()
        voyage.cross()
    assert (voyage.epoch, voyage.restarts) == (2, 0), "one copier, and the one that was asked for by deleting it"
    voyage.assert_equal()


def test_a_copier_that_dies_while_the_operator_is_down_is_started_again_in_its_place(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    with voyage.crew():
        voyage.set_out(throttle=SLOW)
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        with voyage.cluster.operators(0):
            voyage.cluster.kill_process(voyage.namespace, COPIER)
            voyage.until(lambda: voyage.restarts == 1, "the kubelet has started it again")
            copied = voyage.target_rows
            voyage.until(lambda: voyage.target_rows > copied, "rows go on")
        voyage.change(throttle={"maxRowsPerSecond": None})
        voyage.cross()
    assert (voyage.epoch, voyage.restarts) == (2, 1)
    voyage.assert_equal()


def test_an_operator_killed_at_every_turn(embark: Embark) -> None:
    """Within a second after each thing that is asked of it: its successor goes on, and no copier notices."""
    voyage = embark(rows=20_000)
    moments = random.Random(voyage.seed)

    def killed(after: Callable[[], object]) -> None:
        after()
        moment = moments.uniform(0, 1)
        time.sleep(moment)  # the moment is what is tried
        voyage.cluster.kill_operator()
        print(f"the operator was killed {moment:.2f} s later")

    with voyage.crew():
        killed(lambda: voyage.set_out(throttle={"maxRowsPerSecond": 2000}))
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        killed(lambda: voyage.change(paused=True))
        voyage.until(lambda: voyage.is_true("Paused"), "Paused")
        killed(lambda: voyage.change(paused=False, throttle={"maxRowsPerSecond": None}))
        voyage.until_stage("ReadyForCutover")
        assert (voyage.epoch, voyage.restarts) == (1, 0), "one copier, all along"
        with voyage.another_copier():
            killed(lambda: voyage.kubectl("delete", "pod", COPIER, "--wait=false"))
        voyage.until_stage("ReadyForCutover")
        killed(lambda: voyage.change(cutover={"approved": True}))
        voyage.until_stage("Completed")
    assert (voyage.epoch, voyage.restarts) == (2, 0)
    voyage.assert_equal()
    killed(lambda: voyage.kubectl("delete", "ferry", FERRY, "--wait=false"))
    voyage.until(lambda: voyage.own_objects() == ["secret/source", "secret/target"], "only the user's Secrets are left")


def test_an_api_server_that_is_away_for_a_minute_stops_no_copier(embark: Embark) -> None:
    voyage = embark(rows=70_000)
    machine = voyage.cluster.machine
    with voyage.crew():
        voyage.set_out(throttle=SLOW)
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        epoch = voyage.epoch
        machine.signal("kube-apiserver", "STOP")
        try:
            copied = voyage.target_rows
            # At 1,000 rows a second this is the minute.
            voyage.until(lambda: voyage.target_rows > copied + 60_000, "rows go on", 120)
        finally:
            machine.signal("kube-apiserver", "CONT")
        voyage.change(throttle={"maxRowsPerSecond": None})
        voyage.cross()
    assert voyage.epoch == epoch
    voyage.assert_equal()


def test_watches_whose_place_the_api_server_has_forgotten(embark: Embark) -> None:
    """It is started anew while the operator stands still, and answers what was being watched with 410 Gone."""
    voyage = embark(rows=30_000)
    cluster = voyage.cluster
    with voyage.crew():
        voyage.set_out(throttle=SLOW)
        voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
        epoch = voyage.epoch
        place = cluster.request("GET", FERRIES)["metadata"]["resourceVersion"]
        cluster.signal_operator("STOP")
        try:
            voyage.change(paused=True)
            cluster.machine.signal("kube-apiserver", "KILL")
            voyage.until(lambda: watching_from(cluster, place) == 410, "the API server has forgotten", 30)
        finally:
            cluster.signal_operator("CONT")
        # Well before a look without cause, which is every two minutes.
        voyage.until(lambda: voyage.is_true("Paused"), "Paused", 45)
        voyage.change(paused=False, throttle={"maxRowsPerSecond": None})
        voyage.cross()
    assert voyage.epoch == epoch
    voyage.assert_equal()


def watching_from(cluster: WholeCluster, place: str) -> int | None:
    """The error with which a watch of all Ferries begins, if it does; None too while the API is away."""
    try:
        told = cluster.request("GET", f"{FERRIES}?watch=1&timeoutSeconds=1&resourceVersion={place}", as_text=True)
    except (urllib.error.URLError, ConnectionError):
        return None
    first = json.loads(told.splitlines()[0]) if told else {}
    return int(first["object"]["code"]) if first.get("type") == "ERROR" else None


@contextlib.contextmanager
def somebody_who_annotates(voyage: Voyage) -> Iterator[list[int]]:
    """As fast as the API takes it; gives the list of what was written."""
    done, written = threading.Event(), list[int]()

    def annotate() -> None:
        for number in itertools.count():
            if done.is_set():
                return
            voyage.merge(FERRY, {"metadata": {"annotations": {"somebody.example/count": str(number)}}})
            written.append(number)

    thread = threading.Thread(target=annotate, name="somebody")
    thread.start()
    try:
        yield written
    finally:
        done.set()
        thread.join()


def test_a_ferry_that_somebody_changes_all_the_time(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    with voyage.crew():
        voyage.set_out(throttle={"maxRowsPerSecond": 4000})
        with somebody_who_annotates(voyage) as written:
            voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
            voyage.change(paused=True)
            voyage.until(lambda: voyage.is_true("Paused"), "Paused")
            voyage.change(paused=False)
            voyage.cross()
    print(f"{len(written)} changes by somebody else")
    assert len(written) > 100
    assert voyage.restarts == 0
    voyage.assert_equal()


def test_a_permission_that_is_missing_is_named_and_waited_for(embark: Embark) -> None:
    voyage = embark()
    role = json.loads(voyage.cluster.kubectl("get", "clusterrole", "ferry-operator", "-o", "json").stdout)
    index = next(index for index, rule in enumerate(role["rules"]) if "pods" in rule["resources"])
    verbs = [verb for verb in role["rules"][index]["verbs"] if verb != "create"]
    lacking = [{"op": "replace", "path": f"/rules/{index}/verbs", "value": verbs}]
    try:
        voyage.cluster.kubectl("patch", "clusterrole", "ferry-operator", "--type=json", "-p", json.dumps(lacking))
        voyage.set_out()
        voyage.until_said(FERRY, "pods is forbidden", "cannot create")
        assert voyage.is_true("Stalled")
    finally:
        voyage.cluster.install_operator()  # helm upgrade, as the docs say
    voyage.until_stage("ReadyForCutover")
    assert not voyage.is_true("Stalled")


def test_an_operator_that_is_there_before_its_crd(embark: Embark) -> None:
    voyage = embark()
    cluster = voyage.cluster
    with cluster.without_crd():
        voyage.until(lambda: "ferries.mysqlferry.io is not installed yet" in cluster.operator_log(), "it says so")
    voyage.set_out(cutover={"mode": "Automatic"})
    voyage.until_stage("Completed")
    voyage.assert_equal()


@pytest.mark.slow  # the liveness probe needs a check of the watches, a minute, and six failures, another one
def test_a_crd_that_is_deleted_takes_its_ferries_along_and_may_come_again(embark: Embark) -> None:
    voyage = embark(rows=20_000)
    cluster = voyage.cluster
    voyage.set_out(throttle=SLOW, deletionPolicy="DropTarget")
    voyage.until(lambda: voyage.rows_copied > 0, "the first rows")
    try:
        cluster.kubectl("delete", "crd", "ferries.mysqlferry.io", "--timeout=60s")
        assert voyage.pod(COPIER) is None
        assert not voyage.source_is_read_only()
        before = cluster.operator_restarts
        voyage.until(lambda: cluster.operator_restarts > before, "the kubelet starts the operator anew", 240)
        voyage.until(lambda: "ferries.mysqlferry.io is not installed yet" in cluster.operator_log(), "it says so")
    finally:
        cluster.install_operator()
    voyage.set_out(cutover={"mode": "Automatic"}, throttle={})
    voyage.until_stage("Completed")
    voyage.assert_equal()
