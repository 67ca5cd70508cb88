"""Decisions when a Ferry must end and a Pod is on a lost node, or slow to start."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from ferry_core.api.report import Stage
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, FerryView, PodView
from ferry_operator.plan import CreatePod, DeletePod
from tests.support.observed import NOW, condition, ferry, helper, pod, see, spec, status

STARTED = {"startTime": "2026-11-23T11:00:00Z", "stage": "Copying", "phase": "Copying"}
FORCE = "once its node is down for sure: kubectl delete pod {} -n shop --force"
TAINT = "Taint manager: deleting due to NoExecute taint"


def aborted() -> FerryView:
    return ferry(STARTED, spec=spec(aborted=True))


def deleted(since: datetime = NOW) -> FerryView:
    return ferry(STARTED, deleting_since=since)


@pytest.mark.parametrize(
    ("lost", "over", "stalled"),
    [(TAINT, 9, "False"), (TAINT, 10, "True"), ("", 59, "False"), ("", 60, "True")],
    ids=["given up just now", "given up", "late", "silent"],
)
@pytest.mark.parametrize("ending", ["abort", "deletion", "deletion during abort"])
def test_an_end_that_waits_for_a_lost_node_is_reported(ending: str, lost: str, over: int, stalled: str) -> None:
    """The status names the Pod and how to continue, not only that it waits."""
    view = aborted() if ending == "abort" else deleted()
    gone = {"lost": lost, "deletion_due": NOW - timedelta(seconds=over)}
    if ending == "deletion during abort":
        pods: dict[str, PodView] = {"helper": helper(Role.ABORT, **gone)}
    else:
        pods = {"copier": pod(**gone)}
    (stuck,) = pods.values()
    plan = decide(see(ferry=view, **pods))
    unlocks = stalled == "True" and stuck.role is Role.COPIER
    assert plan.actions == ((CreatePod(Role.ABORT),) if unlocks else ())
    assert condition(plan, "Stalled")["status"] == stalled
    way_out = FORCE.format(stuck.name)
    assert (way_out in status(plan)["message"]) is (stalled == "True")
    if stalled == "True":
        assert condition(plan, "Stalled")["reason"] == "NodeLost"
        assert way_out in condition(plan, "Stalled")["message"]
        assert condition(plan, "CaughtUp")["status"] == "Unknown"


LOST = pod(deletion_due=NOW - timedelta(minutes=2))
DONE = helper(Role.ABORT, running=False, phase="Succeeded", ended=Ended(0, "Completed", "", NOW))


@pytest.mark.parametrize("ending", ["abort", "deletion"])
@pytest.mark.parametrize("stage", list(Stage)[:-1])
def test_an_abort_does_not_wait_for_a_lost_node(ending: str, stage: Stage) -> None:
    """The source may be locked for as long as the node is unreachable; ``ferry abort`` fences off a copier that still
    runs.
    """
    spec_ = spec(aborted=ending == "abort")
    view = ferry(STARTED | {"stage": stage.value}, spec=spec_, deleting_since=None if ending == "abort" else NOW)
    # before that, the databases have no record of anything to abort
    started = stage not in (Stage.PENDING, Stage.VALIDATING)
    plan = decide(see(ferry=view, copier=LOST))
    assert plan.actions == ((CreatePod(Role.ABORT),) if started else ())
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert ("allowing writes on the source again" in status(plan)["message"]) is started
    assert FORCE.format("orders-copier") in status(plan)["message"]
    early = replace(LOST, deletion_due=NOW - timedelta(seconds=9))
    assert decide(see(ferry=view, copier=early)).actions == ()


@pytest.mark.parametrize("ending", ["abort", "deletion"])
def test_after_the_abort_it_still_waits_for_the_copier_on_a_lost_node(ending: str) -> None:
    view = aborted() if ending == "abort" else ferry(STARTED, spec=spec(aborted=True), deleting_since=NOW)
    plan = decide(see(ferry=view, copier=LOST, helper=DONE))
    assert plan.actions == ()
    assert not plan.released
    assert condition(plan, "Succeeded")["status"] == "Unknown"
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert "released both databases; cannot confirm that Pod orders-copier has ended" in status(plan)["message"]
    assert plan.next_look <= 10
    gone = decide(see(ferry=replace(view, status=status(plan)), helper=DONE))
    if ending == "abort":
        assert status(gone)["phase"] == "Aborted"
        assert condition(gone, "Stalled")["status"] == "False"
    else:
        assert gone.actions == (DeletePod(DONE),), "then the cleanup"


def test_an_abort_beside_a_lost_copier_that_has_cut_over_is_a_success() -> None:
    late = Ended(64, "Error", "ferry: AlreadyCutOver: this Ferry was cut over", NOW)
    helping = helper(Role.ABORT, running=False, waiting=("CrashLoopBackOff", ""), ended=late)
    stalled = replace(aborted(), status=status(decide(see(ferry=aborted(), copier=LOST))))
    plan = decide(see(ferry=stalled, copier=LOST, helper=helping))
    assert status(plan)["phase"] == "Completed"
    assert condition(plan, "Stalled")["status"] == "False"
    assert decide(see(ferry=replace(stalled, status=status(plan)), copier=LOST, helper=helping)).actions == (
        DeletePod(helping),
    )


@pytest.mark.parametrize("role", [Role.ABORT, Role.CLEANUP])
def test_the_pod_that_ends_a_ferry_may_be_on_a_lost_node_too(role: Role) -> None:
    view = aborted() if role is Role.ABORT else deleted()
    created = NOW - timedelta(minutes=20)
    stuck = helper(role, lost=TAINT, created=created, deletion_due=NOW - timedelta(minutes=1))
    plan = decide(see(ferry=replace(view, deleting_since=view.deleting_since and created), helper=stuck))
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert FORCE.format(f"orders-{role}") in status(plan)["message"]


@pytest.mark.parametrize("role", [Role.ABORT, Role.CLEANUP])
def test_it_is_not_stalled_any_more_once_the_lost_pod_is_gone(role: Role) -> None:
    view = aborted() if role is Role.ABORT else deleted()
    lost = decide(see(ferry=view, copier=pod(deletion_due=NOW - timedelta(minutes=2))))
    plan = decide(see(ferry=replace(view, status=status(lost))))
    assert plan.actions == (CreatePod(role),)
    assert condition(plan, "Stalled")["status"] == "False"


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize(
    "slow",
    [{"scheduled": NOW - timedelta(seconds=30)}, {"unschedulable": "0/3 nodes are available"}],
    ids=["volumes", "no node"],
)
def test_a_cleanup_that_is_slow_to_start_has_not_failed(slow: dict[str, Any], started: bool) -> None:
    """Waiting for a volume for 20 s must not count as a failure, even if no copy is known to have started."""
    early = {} if started else {"stage": "Validating", "conditions": []}
    view = replace(deleted(NOW - timedelta(hours=1)), status=STARTED | early)
    for minutes, stalled in ((9, "False"), (11, "True")):
        made = NOW - timedelta(minutes=minutes)
        waits = helper(Role.CLEANUP, running=False, phase="Pending", created=made, **slow)
        plan = decide(see(ferry=view, helper=waits))
        assert "its Pod has not started: " in status(plan)["message"]
        assert condition(plan, "Stalled")["status"] == stalled
    assert condition(plan, "Stalled")["reason"] == "CleanupFailed"
    assert "has not started for 10 min" in status(plan)["message"]
    assert "mysqlferry.io/skip-cleanup=true" in status(plan)["message"]
