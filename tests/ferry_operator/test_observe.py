"""Pods as kube-apiserver returns them, through ``pod_view`` and ``decide``."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ferry_operator import pods
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import PodView, pod_view
from ferry_operator.plan import CreatePod, DeletePod, EnsureSecret
from tests.support.observed import NOW, after, condition, ferry, see, spec, status

Object = dict[str, Any]
RUNNING: Object = {
    "phase": "Running",
    "podIP": "10.0.0.1",
    "conditions": [
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-23T11:00:00Z"},
        {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T11:00:09Z"},
    ],
    "containerStatuses": [
        {
            "name": "copier",
            "image": "ferry:1",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-23T11:00:05Z"}},
            "lastState": {},
        }
    ],
}


def _time(moment: timedelta) -> str:
    return f"{NOW + moment:%Y-%m-%dT%H:%M:%SZ}"


def seen(said: Object, due: timedelta | None = None) -> PodView:
    """``due``: when the grace period of its deletion ends, from now."""
    meta = {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 1}
    raw = pods.pod(meta, spec(), Role.COPIER, "ferry:1", "orders-copier-abc", "0.0.0.0")
    raw["metadata"] |= {"uid": "pod-1", "creationTimestamp": "2026-11-23T11:00:00Z"}
    if due is not None:
        raw["metadata"] |= {"deletionTimestamp": _time(due), "deletionGracePeriodSeconds": 60}
    return pod_view(raw | {"status": said})


def disrupted(why: str, text: str, **parts: Any) -> Object:
    target = {"type": "DisruptionTarget", "status": "True", "reason": why, "message": text}
    target["lastTransitionTime"] = _time(timedelta(seconds=-30))
    return RUNNING | {"conditions": [*RUNNING["conditions"], target]} | parts


TAINTED = disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")
NODE_LOST = RUNNING | {
    "reason": "NodeLost",
    "message": "Node node7 which was running pod orders-copier is unresponsive",
    "conditions": [{"type": "Ready", "status": "False"}],
}


@pytest.mark.parametrize(
    ("said", "words"), [(TAINTED, "NoExecute taint"), (NODE_LOST, "node7")], ids=["taint", "unresponsive"]
)
def test_a_pod_whose_node_does_not_answer(said: Object, words: str) -> None:
    running = seen(said)
    assert words in running.lost
    assert (running.phase, running.running, running.evicted) == ("Running", True, "")
    plan = decide(see(copier=running))
    assert plan.actions == (DeletePod(running),)
    assert words in status(plan)["message"]
    ending = decide(see(copier=seen(said, timedelta(seconds=30))))
    assert ending.actions == ()
    assert condition(ending, "Stalled")["status"] == "False", (
        "its kubelet may be well, and the copier at its checkpoint"
    )
    overdue = decide(see(copier=seen(said, timedelta(seconds=-15))))
    assert overdue.actions == (), "it may still run"
    assert condition(overdue, "Stalled")["reason"] == "NodeLost"
    assert words in status(overdue)["message"]
    gone = decide(after(see(copier=seen(said, timedelta(seconds=-15)))))
    assert gone.actions == (CreatePod(Role.COPIER),)
    assert condition(gone, "Stalled")["status"] == "False"


@pytest.mark.parametrize(
    "taint",
    ["node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"],
)
def test_a_pod_that_waits_out_the_unreachable_node_is_left_alone(taint: str) -> None:
    """For as long as it tolerates the taint, by default 300 s: the node may come back, and the copier may still
    work.
    """
    ready = {"type": "Ready", "status": "False", "reason": taint}
    unready = seen(RUNNING | {"conditions": [ready]})
    assert (unready.lost, unready.evicted, unready.running) == ("", "", True)
    assert decide(see(copier=unready)).actions == ()


MEMORY = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi."
KILLED = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "2026-11-23T11:59:30Z"}}
EVICTED = disrupted(
    "TerminationByKubelet",
    MEMORY,
    phase="Failed",
    reason="Evicted",
    message=MEMORY,
    containerStatuses=[RUNNING["containerStatuses"][0] | {"ready": False, "state": KILLED}],
)
ORPHANED = disrupted("DeletionByPodGC", "PodGC: node no longer exists", phase="Failed")
SHUT_DOWN = disrupted(
    "TerminationByKubelet",
    "Pod was terminated in response to imminent node shutdown.",
    phase="Failed",
    reason="Terminated",
    message="Pod was terminated in response to imminent node shutdown.",
)
# What the kubelet refuses to run at all never had a container.
UNFIT = {"phase": "Failed", "reason": "OutOfcpu", "message": "Pod was rejected: Node didn't have enough resource: cpu"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (EVICTED, "Evicted: The node was low on resource: memory"),
        (SHUT_DOWN, "Terminated: Pod was terminated in response to imminent node shutdown"),
        (ORPHANED, "PodGC: node no longer exists"),
        (UNFIT, "OutOfcpu: Pod was rejected"),
    ],
    ids=["memory", "shutdown", "node removed", "rejected"],
)
def test_a_pod_that_kubernetes_has_ended_is_replaced(said: Object, words: str) -> None:
    ended = seen(said)
    assert (ended.lost, ended.phase) == ("", "Failed")
    assert words in ended.evicted
    plan = decide(see(copier=ended))
    assert plan.actions == (DeletePod(ended),)
    assert f"ended by Kubernetes ({words}" in status(plan)["message"]
    assert condition(plan, "Stalled")["status"] == "False"
    assert "failure" not in status(plan)
    assert decide(after(see(copier=ended))).actions == (CreatePod(Role.COPIER),)


@pytest.mark.parametrize("reason", ["EvictionByEvictionAPI", "PreemptionByScheduler"])
def test_a_pod_that_is_drained_or_preempted_ends_like_any_other(reason: str) -> None:
    going = seen(disrupted(reason, "Eviction API: evicting"), timedelta(seconds=30))
    assert (going.lost, going.evicted) == ("", "")
    plan = decide(see(copier=going))
    assert plan.actions == ()
    assert status(plan)["message"] == "the copier's Pod is ending; a new one will be created"
    assert condition(plan, "Stalled")["status"] == "False"


def test_a_pod_that_no_node_accepts() -> None:
    message = "0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available"
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pending = seen({"phase": "Pending", "conditions": [scheduled], "qosClass": "Burstable"})
    assert pending.unschedulable == message
    assert (pending.lost, pending.evicted, pending.running, pending.waiting) == ("", "", False, None)
    plan = decide(see(copier=pending))
    assert plan.actions == (EnsureSecret(pending),)
    assert f"no node accepts the copier's Pod: {message}" in status(plan)["message"]
    assert condition(plan, "Reconciling")["status"] == "True"


def creating(seconds: float, **more: str) -> Object:
    """A container that the kubelet has been starting for that long, with further conditions of its Pod."""
    conditions = {"PodScheduled": "True"} | more
    since = _time(timedelta(seconds=-seconds))
    waiting = {"name": "copier", "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
    return {
        "phase": "Pending",
        "conditions": [
            {"type": kind, "status": truth, "lastTransitionTime": since} for kind, truth in conditions.items()
        ],
        "containerStatuses": [waiting],
    }


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (creating(19), False),
        (creating(20), True),
        (creating(20, PodReadyToStartContainers="False"), True),
        (creating(20, PodReadyToStartContainers="True"), False),  # its image is pulled
    ],
)
@pytest.mark.parametrize("role", list(Role))
def test_a_container_that_is_not_started_for_long(said: Object, role: Role, told: bool) -> None:
    """For example a volume of a Secret that does not exist. Only Events report it, which the operator may not read."""
    if role is Role.COPIER:
        plan = decide(see(copier=seen(said)))
    else:
        deleted = NOW if role is Role.CLEANUP else None
        aborting = ferry({"startTime": "2026-11-23T11:00:00Z"}, spec=spec(aborted=True), deleting_since=deleted)
        stuck = replace(seen(said), role=role, name=f"orders-{role}", digest=aborting.digests[role])
        plan = decide(see(ferry=aborting, helper=stuck))
    where = f"kubectl describe pod orders-{role} -n shop"
    assert (where in status(plan)["message"]) is told
    assert plan.next_look <= 10


def test_a_pod_without_a_status_yet() -> None:
    fresh = seen({})
    assert (fresh.phase, fresh.running, fresh.lost, fresh.evicted, fresh.unschedulable) == (
        "Pending",
        False,
        "",
        "",
        "",
    )
    assert decide(see(copier=fresh)).actions == (EnsureSecret(fresh),)


# -- sidecars that a webhook has put in --------------------------------------------------------------------------------


def beside(*, phase: str = "Running", **copier: Any) -> PodView:
    """The copier's container with this state, and before it by name a running sidecar."""
    sidecar = {"name": "agent", "image": "agent:7", "restartCount": 9, "state": {"running": {}}, "lastState": {}}
    own = {"name": "copier", "image": "ferry:1", "restartCount": 0, "lastState": {}} | copier
    return seen(RUNNING | {"phase": phase, "containerStatuses": [sidecar, own]})


def test_a_sidecar_is_not_taken_for_the_copier() -> None:
    pod = beside(state={"terminated": {"exitCode": 64, "reason": "Error", "message": "no such table"}})
    assert (pod.running, pod.restarts, pod.image) == (False, 0, "ferry:1")
    assert pod.ended is not None
    assert pod.ended.exit_code == 64
    assert decide(see(copier=pod)).actions == (DeletePod(pod),), "it has failed, whatever runs beside it"


def test_a_sidecar_that_never_ends_does_not_delay_completion() -> None:
    pod = beside(state={"terminated": {"exitCode": 0, "reason": "Completed"}})
    assert pod.phase == "Succeeded"
    assert status(decide(see(copier=pod)))["phase"] == "Completed"
