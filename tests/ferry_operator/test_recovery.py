"""A Ferry continues once a person has fixed what it waits for: tables of causes and fixes."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ferry_core.api.report import Stage
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Link, Observed, Refusal
from ferry_operator.plan import CreatePod, DeletePod
from tests.support.observed import NOW, Object, after, condition, failed, ferry, pod, report, see, spec, status

# -- the spec is changed while a Pod is there -----------------------------------------------------------------------

SILENT: Object = {"silent_since": NOW - timedelta(seconds=20), "problem": "timeout"}
CUTS = report(Stage.CUTTING_OVER)
VALIDATES = report(Stage.VALIDATING, acknowledged=None)


@pytest.mark.parametrize("stage", list(Stage)[1:-1])
@pytest.mark.parametrize(
    ("parts", "link", "lets_it_end"),
    [
        ({"running": False, "phase": "Pending"}, Link(), set()),
        ({"running": False, "phase": "Pending", "waiting": ("ImagePullBackOff", "no such image")}, Link(), set()),
        ({"running": False, "waiting": ("CreateContainerConfigError", "runAsNonRoot")}, Link(), set()),
        ({"running": False, "phase": "Pending", "unschedulable": "0/1 nodes are available"}, Link(), set()),
        ({"running": False, "waiting": ("CrashLoopBackOff", "back-off")}, Link(), set()),
        ({}, Link(), {Stage.CUTTING_OVER}),
        ({}, Link(None, **SILENT), set()),
        ({}, Link(CUTS), set(Stage)),
        ({}, Link(CUTS, **SILENT), set()),
        ({}, Link(VALIDATES), set()),
        ({}, Link(report(Stage.STREAMING)), set()),
    ],
    ids=["no container yet", "no image", "no container", "no node", "died", "not asked yet", "never answered",
         "cuts over", "cut over, and is silent", "started again", "streams"],
)  # fmt: skip
def test_a_changed_spec_waits_only_for_a_running_cutover_attempt(
    stage: Stage, parts: Object, link: Link, lets_it_end: set[Stage]
) -> None:
    """The stage on record outlives the copier that cut over: a corrected spec must apply."""
    changed = ferry({"stage": stage.value}, 2, spec=spec(copier={"image": "ferry:2"}))
    copier = pod(**parts)
    plan = decide(see(ferry=changed, copier=copier, link=link))
    assert (DeletePod(copier) not in plan.actions) == (stage in lets_it_end)
    assert plan.next_look <= 10


def test_a_copier_that_has_cut_over_gets_no_directive_and_no_restart() -> None:
    """It only watches for late writes, so a refusal or a restart would never be resolved."""
    changed = ferry({"stage": "Completed"}, 2, spec=spec(copier={"image": "ferry:2"}))
    refused = Refusal("NotBuiltYet", "spec.cutover.sourceLock is not supported yet", NOW, generation=2)
    for trouble in (None, refused):
        plan = decide(
            see(ferry=changed, copier=pod(), link=Link(report(Stage.COMPLETED, message="on")), refusal=trouble)
        )
        assert plan.actions == ()
        assert condition(plan, "Reconciling")["reason"] == "Settled"
        assert condition(plan, "Stalled")["status"] == "False"
        assert status(plan)["message"] == "on"


# -- the next try of a failed Ferry cannot begin --------------------------------------------------------------------

QUOTA = Refusal("PodRefused", "exceeded quota: pods", NOW, generation=2)
NO_IMAGE = pod(running=False, phase="Pending", waiting=("ErrImagePull", "no such image"))


def held_up(code: int, held: Object) -> Observed:
    """Failed at generation 1; generation 2 is tried, and something blocks that."""
    gone = after(see(copier=failed(code, "RowsDiffer", "orders 7")))
    return after(gone, generation=2, **held)


@pytest.mark.parametrize("code", [64, 65])
@pytest.mark.parametrize("held", [{"refusal": QUOTA}, {"copier": NO_IMAGE}], ids=["refused", "no image"])
def test_a_failed_ferry_is_retried_once_what_blocked_the_retry_is_gone(code: int, held: Object) -> None:
    """The refusal must not count as a failure of the spec that was just corrected and wait for a person again."""
    seen = held_up(code, held)
    assert condition(decide(seen), "Stalled")["reason"] in ("PodRefused", "ErrImagePull")
    assert condition(decide(seen), "Stalled")["observedGeneration"] == 2
    corrected = after(seen, generation=2, now=NOW + timedelta(seconds=1))
    assert decide(corrected).actions == (CreatePod(Role.COPIER),)
    assert condition(decide(corrected), "Stalled")["reason"] == "RowsDiffer", "what else is known of it is over"
    assert status(decide(corrected))["phase"] == "Failed"


def test_a_refusal_during_a_retry_lasts_ten_seconds() -> None:
    seen = held_up(65, {"refusal": QUOTA})
    for seconds, actions in ((9, ()), (11, (CreatePod(Role.COPIER),))):
        later = after(seen, generation=2, now=NOW + timedelta(seconds=seconds), refusal=QUOTA)
        assert decide(later).actions == actions
        assert decide(later).next_look <= 10


@pytest.mark.parametrize("code", [64, 65])
def test_a_second_failure_with_a_corrected_spec_waits_again(code: int) -> None:
    seen = held_up(code, {"refusal": QUOTA})
    failing = failed(code, "RowsDiffer", "orders 8", ago=-60)
    again = after(seen, generation=2, copier=replace(failing, generation=2), now=NOW + timedelta(seconds=60))
    waits = after(again, generation=2, now=NOW + timedelta(seconds=65))
    assert decide(waits).actions == ()
    expected = {64: 55, 65: 120}  # it has been failing for 60 s; a data error waits for a person
    assert decide(waits).next_look == pytest.approx(expected[code])


def test_a_lost_node_is_not_reported_once_its_pod_is_gone() -> None:
    """A person has deleted it by force; the status then reports the failure from before."""
    failure = failed(65, "RowsDiffer", "orders 7")
    lost = after(see(copier=failure), copier=replace(failure, deletion_due=NOW - timedelta(seconds=90)))
    assert condition(decide(lost), "Stalled")["reason"] == "NodeLost"
    gone = after(lost)
    assert decide(gone).actions == ()
    assert condition(decide(gone), "Stalled")["reason"] == "RowsDiffer"
    assert "--force" not in status(decide(gone))["message"]


def test_a_queued_ferry_is_not_stalled_for_an_earlier_reason() -> None:
    """Its node was lost, its Pod deleted by force, and meanwhile the limit of running Ferries is reached."""
    lost = after(
        see(copier=pod(), link=Link(report(Stage.STREAMING))), copier=pod(deletion_due=NOW - timedelta(days=1))
    )
    queued = decide(after(lost, admitted=False))
    assert condition(decide(lost), "Stalled")["reason"] == "NodeLost"
    assert condition(queued, "Stalled")["status"] == "False"
    assert condition(queued, "Reconciling")["reason"] == "Queued"
    assert status(queued)["phase"] == "Pending"
