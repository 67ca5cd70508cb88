"""Whoever mends what a Ferry waits for is not waited for in vain: tables of what holds it up and what is changed."""

from datetime import timedelta

import pytest

from ferry_core.api.report import Stage
from ferry_operator.decide import decide
from ferry_operator.observe import Link
from ferry_operator.plan import DeletePod
from tests.support.sights import NOW, Object, ferry, pod, report, see, spec

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
        ({}, Link(report(Stage.COMPLETED)), set(Stage)),
    ],
    ids=["no container yet", "no image", "no container", "no node", "died", "not asked yet", "never answered",
         "cuts over", "cut over, and is silent", "started again", "streams", "is done"],
)  # fmt: skip
def test_a_changed_spec_waits_for_nothing_but_an_attempt_that_may_be_under_way(
    stage: Stage, parts: Object, link: Link, lets_it_end: set[Stage]
) -> None:
    """The stage on record outlives the copier that cut over: of a Pod that could not start, no spec was ever mended."""
    changed = ferry({"stage": stage.value}, 2, spec=spec(copier={"image": "ferry:2"}))
    copier = pod(**parts)
    plan = decide(see(ferry=changed, copier=copier, link=link))
    assert (DeletePod(copier) not in plan.actions) == (stage in lets_it_end)
    assert plan.next_look <= 10
