"""A permission to cut over that is withdrawn and given again begins a new series even if no copier was there to see
it.
"""

from dataclasses import replace

import pytest

from ferry_core.api.report import Stage
from ferry_operator.decide import decide
from ferry_operator.observe import FerryView, Link, Observed, PodView
from ferry_operator.plan import SendDirective
from tests.ferry_operator.conftest import CUT_CONNECTIONS, Cluster
from tests.support.kubelet import Kubelet
from tests.support.observed import NOW, Object, ferry, pod, report, see, spec, status
from tests.support.waits import wait_until

UNDER_WAY: Object = {"stage": "Streaming", "phase": "Streaming", "startTime": "2026-11-23T11:00:00Z"}
STARTING = pod(running=False, phase="Pending", waiting=("ContainerCreating", ""))


def held(generation: int, status: Object = UNDER_WAY) -> FerryView:
    return ferry(status, generation, spec=spec(cutover={"approved": False}))


def approved(generation: int, status: Object) -> FerryView:
    return ferry(status, generation, spec=spec(cutover={"approved": True}))


def told(generation: int | None, stage: Stage = Stage.STREAMING) -> Link:
    return Link(report(stage, generation))


@pytest.mark.parametrize(
    "nobody",
    [
        see(ferry=held(2)),
        see(ferry=held(2), copier=STARTING),
        see(ferry=held(2), copier=pod()),
        see(ferry=held(2), copier=pod(), link=told(1)),
        see(ferry=held(2), copier=pod(), link=told(2, Stage.VALIDATING)),
    ],
    ids=["no Pod", "it starts", "not heard of yet", "not told yet", "told, and perhaps forgotten"],
)
def test_a_copier_is_told_of_a_missed_withdrawal_before_the_new_approval(nobody: Observed) -> None:
    seen = status(decide(nobody))
    assert seen["copier"]["withdrawnGeneration"] == 2
    again = see(ferry=approved(3, seen), copier=pod(), link=told(0, Stage.VALIDATING))
    assert decide(again).actions == (SendDirective(withdrawn=2),)
    later = approved(4, status(decide(again)))
    assert decide(replace(again, ferry=later)).actions == (SendDirective(withdrawn=2),)
    heard = replace(again, ferry=later, link=told(2))
    assert decide(heard).actions == (SendDirective(),)
    assert "withdrawnGeneration" not in status(decide(heard))["copier"]


def test_a_withdrawal_that_the_copier_knows_is_not_sent_again() -> None:
    plan = decide(see(ferry=held(2), copier=pod(), link=told(2)))
    assert plan.actions == ()
    assert "withdrawnGeneration" not in status(plan)["copier"]
    plan = decide(see(ferry=approved(3, status(plan)), copier=pod(), link=told(2)))
    assert plan.actions == (SendDirective(),)


@pytest.mark.parametrize("copier", [None, STARTING])
def test_before_a_first_attempt_could_be_made_nothing_is_withdrawn(copier: PodView | None) -> None:
    plan = decide(Observed(held(1, {}), NOW, copier))
    assert "withdrawnGeneration" not in status(plan).get("copier", {})


def test_an_unchanged_approval_is_not_new_to_the_next_copier() -> None:
    automatic = ferry(UNDER_WAY, 2, spec=spec(cutover={"mode": "Automatic"}))
    for view in (approved(2, UNDER_WAY), automatic):
        plan = decide(see(ferry=view, copier=pod(), link=told(0, Stage.VALIDATING)))
        assert plan.actions == (SendDirective(),)


@pytest.mark.usefixtures("operator")
@CUT_CONNECTIONS
def test_withdrawn_and_approved_while_the_copier_is_away(cluster: Cluster, kubelet: Kubelet) -> None:
    cluster.apply("orders", cutover={"approved": True})
    first = kubelet.copier("orders")
    kubelet.call(lambda: first.stage(Stage.STREAMING))
    wait_until(lambda: cluster.status("orders").get("stage") == "Streaming")
    kubelet.hold = True
    cluster.delete_pod("orders-copier")
    wait_until(lambda: "orders-copier" not in kubelet.copiers)
    cluster.patch("orders", cutover={"approved": False})
    wait_until(lambda: cluster.status("orders")["copier"].get("withdrawnGeneration") == 2)
    cluster.patch("orders", cutover={"approved": True})
    wait_until(lambda: cluster.status("orders").get("observedGeneration") == 3)
    kubelet.hold = False
    second = kubelet.copier("orders")
    wait_until(lambda: second.directives and second.directives[-1].generation == 3)
    assert [(each.generation, each.cutover.approved) for each in second.directives] == [(2, False), (3, True)]
    kubelet.call(lambda: second.stage(Stage.STREAMING))
    wait_until(lambda: "withdrawnGeneration" not in cluster.status("orders")["copier"])
