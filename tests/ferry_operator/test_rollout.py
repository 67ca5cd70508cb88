"""``kubectl rollout restart`` of the operator with a Ferry in every phase.

No second copier, no lost verb, and no status that goes back.
"""

import itertools
import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from ferry_core.api.report import Failure, Phase, Report, Stage
from ferry_core.reasons import Condition, Reason
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster, Object
from tests.support.kubelet import Copier, Kubelet, words
from tests.support.operator_thread import OperatorThread
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, CUT_CONNECTIONS]

ORDER = list(map(str, Stage))
Act = Callable[[Cluster, Kubelet, str], object]
Holds = Callable[[Cluster, Kubelet, str], bool]


@dataclass(frozen=True)
class Case:
    """How a Ferry gets into its phase, what its user does while no operator runs, and what follows from that."""

    reach: Act
    reached: Holds
    verb: Object
    followed: Holds
    started: tuple[str, ...] = ("copier",)
    """Roles of the Pods that run in its whole life."""


def at(stage: Stage) -> Act:
    def reach(_: Cluster, kubelet: Kubelet, name: str) -> None:
        copier = kubelet.copier(name)
        kubelet.call(lambda: copier.stage(stage))

    return reach


def shows(**parts: str) -> Holds:
    return lambda cluster, _, name: all(cluster.status(name).get(key) == value for key, value in parts.items())


def has(kind: str, status: str) -> Holds:
    return lambda cluster, _, name: bool(cluster.condition(name, kind).get("status") == status)


def told(asked: Callable[[Copier], object]) -> Holds:
    return lambda _, kubelet, name: bool(asked(kubelet.copier(name)))


def there(role: str) -> Holds:
    return lambda cluster, _, name: cluster.pod(f"{name}-{role}") is not None


def gone(cluster: Cluster, _: Kubelet, name: str) -> bool:
    return cluster.ferry(name) is None


def pause(cluster: Cluster, kubelet: Kubelet, name: str) -> None:
    at(Stage.COPYING)(cluster, kubelet, name)
    cluster.patch(name, paused=True)


def verify(cluster: Cluster, kubelet: Kubelet, name: str) -> None:
    at(Stage.STREAMING)(cluster, kubelet, name)
    kubelet.call(lambda: kubelet.copier(name).condition(Condition.VERIFIED, "Unknown", Reason.RUNNING))


def complete(_: Cluster, kubelet: Kubelet, name: str) -> None:
    copier = kubelet.copier(name)
    kubelet.call(lambda: copier.condition(Condition.CUT_OVER, "True", Reason.DONE))
    kubelet.call(lambda: copier.stage(Stage.COMPLETED))
    kubelet.end(copier, 0, words(copier.report))


def fail(_: Cluster, kubelet: Kubelet, name: str) -> None:
    failure = Failure(reason="RowsDiffer", message="shop.t: id 7", retriable=False)
    report = Report(stage=Stage.COPYING.value, phase=Phase.FAILED.value, failure=failure)
    kubelet.end(kubelet.copier(name), 65, words(report))


APPROVED: Object = {"cutover": {"approved": True}}
approved = told(lambda copier: copier.directives[-1].cutover.approved)
resumed = told(lambda copier: not copier.directives[-1].paused)
RUNNING: dict[str, Case] = {
    "copying": Case(at(Stage.COPYING), shows(stage="Copying"), {"paused": True}, has("Paused", "True")),
    "paused": Case(pause, has("Paused", "True"), {"paused": False}, resumed),
    "streaming": Case(at(Stage.STREAMING), shows(stage="Streaming"), APPROVED, approved),
    "verifying": Case(verify, has("Verified", "Unknown"), APPROVED, approved),
    "ready": Case(at(Stage.READY_FOR_CUTOVER), shows(stage="ReadyForCutover"), APPROVED, approved),
    "cutting": Case(
        at(Stage.CUTTING_OVER),
        shows(stage="CuttingOver"),
        {"throttle": {"maxRowsPerSecond": 7}},
        told(lambda copier: copier.directives[-1].throttle.max_rows_per_second == 7),
    ),
    "completed": Case(complete, shows(phase="Completed"), {"paused": True}, shows(phase="Completed")),
    "failed": Case(fail, shows(phase="Failed"), {}, shows(phase="Failed")),
}
HELD: dict[str, Case] = {
    "pending": Case(
        lambda *_: None,
        there("copier"),
        {"paused": True},
        told(lambda copier: copier.directives and copier.directives[0].paused),
    ),
    "aborting": Case(
        lambda cluster, _, name: cluster.patch(name, aborted=True),
        there("abort"),
        {},
        shows(phase="Aborted"),
        ("copier", "abort"),
    ),
    "deleting": Case(lambda cluster, _, name: cluster.delete(name), there("cleanup"), {}, gone, ("copier", "cleanup")),
}
"""Their newest Pod is not started before the restart."""
CASES = RUNNING | HELD


class History:
    """Each status that was written, by name of the Ferry."""

    def __init__(self) -> None:
        self.seen: dict[str, list[Object]] = {name: [] for name in CASES}

    def assert_never_back(self) -> None:
        for name, statuses in self.seen.items():
            assert statuses, name
            for before, after in itertools.pairwise(statuses):
                what = f"{name}: {json.dumps(before)}\n -> {json.dumps(after)}"
                assert ORDER.index(before["stage"]) <= ORDER.index(after["stage"]), what
                assert before["observedGeneration"] <= after["observedGeneration"], what
                assert before.get("startTime") in (None, after.get("startTime")), what
                earlier = before.get("copier", {}).get("acknowledgedGeneration", 0)
                assert earlier <= after.get("copier", {}).get("acknowledgedGeneration", 0), what
                if before["phase"] in ("Aborted", "Completed", "Failed"):
                    assert after["phase"] == before["phase"], what


WATCH_SECONDS = 3


@contextmanager
def recorded(cluster: Cluster) -> Iterator[History]:
    """Inside, a watch records every status. The server ends it every few seconds, so that its thread can end too."""
    history, over = History(), threading.Event()
    path = f"/apis/mysqlferry.io/v1alpha1/namespaces/{cluster.namespace}/ferries"
    url = f"{cluster.api.url}{path}?watch=1&timeoutSeconds={WATCH_SECONDS}&resourceVersion="
    began_at: str = cluster.api.request("GET", path)["metadata"]["resourceVersion"]

    def read() -> None:
        version = began_at
        while not over.is_set():
            request = urllib.request.Request(url + version, headers={"Authorization": f"Bearer {cluster.api.token}"})
            with urllib.request.urlopen(request, timeout=600, context=cluster.api.tls) as answer:
                for line in answer:
                    ferry = json.loads(line)["object"]
                    version = ferry["metadata"]["resourceVersion"]
                    if "stage" in ferry.get("status", {}):
                        history.seen[ferry["metadata"]["name"]].append(ferry["status"])

    with ThreadPoolExecutor(1, thread_name_prefix="watch") as pool:
        reading = pool.submit(read)
        try:
            yield history
        finally:
            over.set()
    reading.result()


def settle(cluster: Cluster, kubelet: Kubelet, cases: dict[str, Case]) -> None:
    for name, case in cases.items():
        case.reach(cluster, kubelet, name)
    for name, case in cases.items():
        wait_until(lambda c=case, n=name: c.reached(cluster, kubelet, n), name)  # type: ignore[misc]


@pytest.mark.parametrize("beside", [False, True], ids=["one after the other", "both for a while"])
def test_the_operator_is_restarted_with_a_ferry_in_every_phase(
    cluster: Cluster, kubelet: Kubelet, beside: bool
) -> None:
    old, new = (OperatorThread(cluster.api.kubeconfig, cluster.namespace) for _ in range(2))
    old.start()
    with recorded(cluster) as history:
        try:
            for name in [*RUNNING, "aborting", "deleting"]:
                cluster.apply(name)
            for name in ("aborting", "deleting"):
                at(Stage.COPYING)(cluster, kubelet, name)
                wait_until(lambda n=name: cluster.status(n).get("stage") == "Copying")  # type: ignore[misc]
            settle(cluster, kubelet, RUNNING)
            kubelet.hold = True
            cluster.apply("pending")
            settle(cluster, kubelet, HELD)
            wait_until(lambda: all(_settled(cluster, name) for name in RUNNING))
            if beside:
                new.start()
            old.stop()
            for name, case in CASES.items():
                if case.verb:
                    cluster.patch(name, **case.verb)
            kubelet.hold = False
            if not beside:
                new.start()
            for name, case in CASES.items():
                wait_until(lambda c=case, n=name: c.followed(cluster, kubelet, n), f"{name} goes on")  # type: ignore[misc]
            wait_until(lambda: all(_settled(cluster, name) for name in RUNNING))
        finally:
            old.stop()
            new.stop()
    wanted = [f"{name}-{role}" for name, case in CASES.items() for role in case.started]
    assert sorted(kubelet.started) == sorted(wanted)
    history.assert_never_back()


def _settled(cluster: Cluster, name: str) -> bool:
    return cluster.condition(name, "Reconciling").get("status") == "False"
