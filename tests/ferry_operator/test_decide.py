"""Decisions before a copier runs, and about when its Pod is replaced. Without I/O."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ferry_core.api.report import Failure, Stage
from ferry_core.reasons import Condition
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, Link, Refusal
from ferry_operator.plan import AddFinalizer, CreatePod, DeletePod, EnsureSecret, Plan, SendDirective
from tests.support.kubelet import SPEC
from tests.support.observed import NOW, Object, after, condition, failed, ferry, pod, report, see, spec, status

# -- the beginning --------------------------------------------------------------------------------------------------


def test_the_first_round_sets_every_condition_and_creates_the_copier() -> None:
    plan = decide(see())
    assert plan.actions == (CreatePod(Role.COPIER),)
    assert {each["type"] for each in status(plan)["conditions"]} == {kind.value for kind in Condition}
    assert status(plan)["stage"] == status(plan)["phase"] == "Pending"
    assert status(plan)["observedGeneration"] == 1
    assert "startTime" in status(plan)
    assert condition(plan, "Reconciling")["reason"] == "CopierStarting"
    assert condition(plan, "Succeeded")["status"] == "Unknown"


def test_a_queued_ferry_reports_it_and_has_not_started() -> None:
    plan = decide(see(admitted=False))
    assert plan.actions == ()
    assert condition(plan, "Reconciling")["reason"] == "Queued"
    assert "startTime" not in status(plan)


def test_no_copier_before_the_finalizer_is_set() -> None:
    plan = decide(see(ferry=ferry(held=False)))
    assert plan.actions == (AddFinalizer(),)
    assert "mysqlferry.io/operator" in status(plan)["message"]
    assert "startTime" not in status(plan)


def test_a_disabled_ferry_is_left_alone() -> None:
    assert decide(see(ferry=ferry(hands_off=True))) == Plan()


def test_a_paused_ferry_gets_a_copier_which_only_validates() -> None:
    assert decide(see(ferry=ferry(spec=spec(paused=True)))).actions == (CreatePod(Role.COPIER),)


def test_a_pod_that_the_cluster_refuses_is_reported_and_retried() -> None:
    fresh = Refusal("PodRefused", "exceeded quota: pods", NOW)
    plan = decide(see(refusal=fresh))
    assert plan.actions == ()
    assert 0 < plan.next_look <= 10
    assert condition(plan, "Stalled")["reason"] == "PodRefused"
    assert "exceeded quota: pods" in status(plan)["message"]
    stale = replace(fresh, since=NOW - timedelta(seconds=11))
    assert decide(see(refusal=stale)).actions == (CreatePod(Role.COPIER),)
    fixed = decide(after(see(refusal=fresh)))
    assert condition(fixed, "Stalled")["status"] == "False"


# -- a Pod that does not run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "words", "stalled"),
    [
        ({"waiting": ("ContainerCreating", "")}, "container is starting", "False"),
        ({"waiting": ("ImagePullBackOff", "no such image")}, "ImagePullBackOff: no such image", "True"),
        ({"waiting": ("ErrImagePull", "denied")}, "ErrImagePull: denied", "True"),
        ({"waiting": ("CreateContainerConfigError", "runAsNonRoot")}, "CreateContainerConfigError", "True"),
        ({"unschedulable": "0/1 nodes are available"}, "no node accepts the copier's Pod: 0/1 nodes", "False"),
    ],
)
def test_a_container_that_does_not_start(parts: Object, words: str, stalled: str) -> None:
    plan = decide(see(copier=pod(running=False, phase="Pending", **parts)))
    assert words in status(plan)["message"]
    assert condition(plan, "Stalled")["status"] == stalled
    assert condition(plan, "Reconciling")["status"] == "True"
    assert [type(action) for action in plan.actions] == [EnsureSecret]


def test_it_is_not_stalled_any_more_once_the_image_is_there() -> None:
    first = see(copier=pod(running=False, phase="Pending", waiting=("ImagePullBackOff", "no such image")))
    plan = decide(after(first, copier=pod(), link=Link(report(Stage.COPYING))))
    assert condition(plan, "Stalled")["status"] == "False"
    assert status(plan)["phase"] == "Copying"


def test_a_secret_that_the_cluster_refuses() -> None:
    refused = Refusal("PodRefused", "secrets is forbidden", NOW)
    plan = decide(see(copier=pod(running=False, phase="Pending"), refusal=refused))
    assert condition(plan, "Stalled")["status"] == "True"
    assert "secrets is forbidden" in status(plan)["message"]


def test_a_temporary_end_is_left_to_the_kubelet() -> None:
    lost = report(Stage.COPYING, failure=Failure(reason="ConnectionLost", message="source is gone", retriable=True))
    ended = Ended(75, "Error", lost.model_dump_json(by_alias=True), NOW)
    plan = decide(see(copier=pod(running=False, waiting=("CrashLoopBackOff", ""), restarts=2, ended=ended)))
    assert plan.actions == ()
    assert "source is gone" in status(plan)["message"]
    assert status(plan)["failure"]["retriable"] is True
    assert status(plan)["copier"]["lastTermination"]["exitCode"] == 75
    assert status(plan)["copier"]["restarts"] == 2


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (
            Ended(128, "StartError", 'exec: "ferry":\n not found in $PATH', NOW),
            'StartError: exec: "ferry": not found in',
        ),
        (Ended(137, "OOMKilled", '{"message": "copying rows"}', NOW), "OOMKilled"),
        (Ended(1, "Error", "Traceback", NOW), "Error"),
        (Ended(1, "", "", NOW), "Error"),
    ],
)
def test_why_a_container_does_not_stay_up(ended: Ended, told: str) -> None:
    """For example with a wrong PATH in template.env the process never runs, and only the kubelet's message says why."""
    plan = decide(see(copier=pod(running=False, waiting=("CrashLoopBackOff", "back-off"), ended=ended)))
    said = status(plan)["message"].partition(" and is restarted: ")[2]
    assert said.startswith(told)
    assert (said == told) is (ended.reason != "StartError")


def test_a_data_error_names_how_to_retry_after_a_database_was_fixed() -> None:
    """An annotation or a label does not change the spec."""
    failing = see(copier=failed(65, "TargetTableBusy", "shop.orders is locked"))
    assert "if you fixed a database, set spec.paused and unset it" in status(decide(failing))["message"]
    resumed = after(after(failing), generation=3)
    assert decide(resumed).actions == (CreatePod(Role.COPIER),)


def test_a_copier_that_died_while_cutting_over_does_not_wait() -> None:
    ended = Ended(137, "OOMKilled", "", NOW)
    dead = pod(running=False, waiting=("CrashLoopBackOff", ""), ended=ended)
    cutting = ferry({"stage": "CuttingOver", "phase": "CuttingOver", "startTime": "2026-11-23T11:00:00Z"})
    assert decide(see(ferry=cutting, copier=dead)).actions == (DeletePod(dead),)
    copying = ferry({"stage": "Copying", "phase": "Copying", "startTime": "2026-11-23T11:00:00Z"})
    assert decide(see(ferry=copying, copier=dead)).actions == ()


# -- a Pod that must go -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"source": SPEC["source"] | {"credentialsSecretRef": {"name": "renewed"}}},
        {"copier": {"image": "ferry:2"}},
        {"copier": {"template": {"nodeSelector": {"disk": "ssd"}}}},
        {"acknowledge": ["TargetTriggers"]},
        {"acknowledge": ["Unverified"], "verify": {"mode": "None"}},
        {"verify": {"mode": "Final"}},
        {"cutover": {"sourceLock": "None"}},
    ],
)
def test_a_change_that_no_directive_carries_needs_a_new_pod(change: Object) -> None:
    changed = ferry(spec=spec(**change))
    plan = decide(see(ferry=changed, copier=pod(), link=Link(report(Stage.COPYING))))
    assert plan.actions == (DeletePod(pod()),)
    busy = replace(changed, status={"stage": "CuttingOver"})
    assert DeletePod(pod()) not in decide(see(ferry=busy, copier=pod(), link=Link(report(Stage.CUTTING_OVER)))).actions


@pytest.mark.parametrize(
    "change",
    [
        {"paused": True},
        {"throttle": {"maxRowsPerSecond": 5}},
        {"copy": {"workers": 9}},
        {"cutover": {"approved": True}},
        {"verify": {"onMismatch": "Fail"}},
        {"ttlSecondsAfterFinished": 5},
    ],
)
def test_a_change_that_a_directive_carries_is_sent(change: Object) -> None:
    changed = ferry(spec=spec(**change), generation=2)
    plan = decide(see(ferry=changed, copier=pod(), link=Link(report(Stage.COPYING))))
    assert plan.actions == (SendDirective(),)
    assert condition(plan, "Reconciling")["reason"] == "NewGeneration"


def test_an_evicted_pod_is_replaced_once_it_is_gone() -> None:
    gone = pod(phase="Failed", running=False, evicted="Evicted: the node was low on memory")
    first = see(copier=gone)
    assert decide(first).actions == (DeletePod(gone),)
    assert "low on memory" in status(decide(first))["message"]
    assert decide(after(first)).actions == (CreatePod(Role.COPIER),)


def test_no_pod_is_created_while_the_old_one_may_still_run() -> None:
    ending = pod(deletion_due=NOW + timedelta(seconds=30))
    assert decide(see(copier=ending)).actions == ()
    overdue = pod(deletion_due=NOW - timedelta(seconds=120))
    plan = decide(see(copier=overdue))
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert "kubectl delete pod orders-copier -n shop --force" in status(plan)["message"]


def test_a_tainted_node_may_be_healthy() -> None:
    """For example to drain it: until the grace period ends, the copier may be writing its checkpoint."""
    tainted = pod(lost="Taint manager: deleting due to NoExecute taint")
    assert decide(see(copier=tainted)).actions == (DeletePod(tainted),)
    for left in (30, 0, -9):
        plan = decide(see(copier=replace(tainted, deletion_due=NOW + timedelta(seconds=left))))
        assert plan.actions == ()
        assert plan.next_look <= 10
        assert condition(plan, "Stalled")["status"] == "False"
        assert "NoExecute taint" in status(plan)["message"]
        assert "--force" not in status(plan)["message"]


def test_a_node_that_was_given_up_is_lost_soon_after_the_grace_period() -> None:
    lost = pod(lost="Taint manager: deleting due to NoExecute taint", deletion_due=NOW - timedelta(seconds=10))
    plan = decide(see(copier=lost))
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert "(Taint manager: deleting due to NoExecute taint)" in status(plan)["message"]
    assert "kubectl delete pod orders-copier -n shop --force" in status(plan)["message"]


def test_a_failed_pod_on_a_lost_node_needs_a_person_too() -> None:
    failure = see(copier=failed(64, "MissingPrivilege", "GRANT SELECT ON shop.* TO ferry"))
    ending = failed(64, "MissingPrivilege", "GRANT SELECT ON shop.* TO ferry")
    plan = decide(after(failure, copier=replace(ending, deletion_due=NOW + timedelta(seconds=30))))
    assert condition(plan, "Stalled")["reason"] == "MissingPrivilege"
    plan = decide(after(failure, copier=replace(ending, deletion_due=NOW - timedelta(seconds=60))))
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert status(plan)["failure"]["reason"] == "MissingPrivilege"
