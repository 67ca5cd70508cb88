"""Decisions about a running copier, from its report or from its silence."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ferry_core.api.report import CutoverReport, Progress, Replication, Stage, Verification
from ferry_core.reasons import Condition
from ferry_operator.decide import decide
from ferry_operator.observe import Link, Observed, Refusal
from ferry_operator.plan import SendDirective
from tests.support.observed import NOW, Object, after, condition, ferry, pod, report, said, see, status

# -- the beginning --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(Stage)[1:-1])
def test_every_stage_of_the_report_is_used(stage: Stage) -> None:
    numbers = Progress(tables_total=4, percent=50)
    plan = decide(see(copier=pod(), link=Link(report(stage, progress=numbers, message="hard at work"))))
    assert (status(plan)["stage"], status(plan)["phase"]) == (stage.value, stage.value)
    assert status(plan)["message"] == "hard at work"
    assert status(plan)["progress"]["tablesTotal"] == 4
    assert (
        status(plan)["copier"] | {"acknowledgedGeneration": 1, "epoch": 3, "podName": "orders-copier"}
        == status(plan)["copier"]
    )
    assert condition(plan, "Reconciling")["status"] == "False"
    assert plan.actions == ()


@pytest.mark.parametrize("kind", [kind for kind in Condition if kind is not Condition.RECONCILING])
@pytest.mark.parametrize("truth", ["True", "False", "Unknown"])
def test_every_condition_of_the_copier_is_used(kind: Condition, truth: str) -> None:
    link = Link(report(Stage.STREAMING, conditions=[said(kind, truth, "SomeReason", "some words")]))
    plan = decide(see(copier=pod(), link=link))
    taken = condition(plan, kind)
    assert (taken["status"], taken["reason"], taken["message"]) == (truth, "SomeReason", "some words")


@pytest.mark.parametrize(
    ("acknowledged", "written"),
    [(7, 7), (6, 6), (None, 4)],
    ids=["told the newest", "told an older one", "not told since its start"],
)
@pytest.mark.parametrize("stage", [Stage.VALIDATING, Stage.STREAMING, Stage.COMPLETED])
def test_a_condition_has_the_generation_that_its_copier_applies(
    acknowledged: int | None, written: int, stage: Stage
) -> None:
    """A condition from before the first directive must not stay at generation 0: kubectl wait would not return."""
    said_early = [said("Validated", "True", "Passed", generation=0), said("Stalled", "False", "NotStalled", "", 0)]
    link = Link(report(stage, acknowledged, conditions=said_early))
    plan = decide(see(ferry=ferry(generation=7), copier=replace(pod(), generation=4), link=link))
    for kind in ("Validated", "Stalled"):
        assert condition(plan, kind)["observedGeneration"] == written


def test_a_condition_keeps_its_time_while_its_status_stays() -> None:
    first = see(
        copier=pod(), link=Link(report(Stage.STREAMING, conditions=[said("CaughtUp", "True", "LagBelowThreshold")]))
    )
    second = after(first, now=NOW + timedelta(hours=1), copier=pod(), link=first.link)
    assert condition(decide(second), "CaughtUp")["lastTransitionTime"] == "2026-11-23T12:00:00Z"


def test_the_phase_is_paused_whatever_the_stage() -> None:
    plan = decide(see(copier=pod(), link=Link(report(Stage.COPYING, phase="Paused"))))
    assert (status(plan)["stage"], status(plan)["phase"]) == ("Copying", "Paused")


def test_a_restarted_copier_does_not_reset_the_stage() -> None:
    first = see(copier=pod(), link=Link(report(Stage.READY_FOR_CUTOVER, progress=Progress(rows_copied=9), conditions=[
        said("ReadyForCutover", "True", "GatesPassed"), said("CaughtUp", "True", "LagBelowThreshold")],
        verification=Verification(rows_verified=9, requests_answered=5))))  # fmt: skip
    fresh = Link(report(Stage.VALIDATING, acknowledged=None, message="checking"))
    plan = decide(after(first, copier=pod(restarts=1), link=fresh))
    assert status(plan)["stage"] == status(plan)["phase"] == "Streaming", "spec.tables stays fixed, nothing is ready"
    assert status(plan)["progress"]["rowsCopied"] == 9
    verification = status(plan)["verification"]
    assert (verification["rowsVerified"], verification["requestsAnswered"]) == (9, 0), "it numbers requests from 1"
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "CaughtUp")["status"] == "Unknown"
    assert "lagSeconds" not in status(plan)["replication"]
    assert plan.actions == (SendDirective(),)


def test_the_stage_after_a_failed_cutover_is_used() -> None:
    first = see(copier=pod(), link=Link(report(Stage.CUTTING_OVER)))
    back = report(Stage.STREAMING, cutover=CutoverReport(attempts=1, last_result="DeadlineExceeded"))
    plan = decide(after(first, copier=pod(), link=Link(back)))
    assert status(plan)["stage"] == "Streaming"
    assert status(plan)["cutover"]["lastResult"] == "DeadlineExceeded"


def test_a_silent_copier_makes_its_conditions_unknown() -> None:
    ready = report(Stage.READY_FOR_CUTOVER, conditions=[said("ReadyForCutover", "True", "GatesPassed")])
    first = see(copier=pod(), link=Link(ready))
    quiet = replace(first.link, silent_since=NOW, problem="timeout")
    soon = decide(after(first, now=NOW + timedelta(seconds=5), copier=pod(), link=quiet))
    assert condition(soon, "ReadyForCutover")["status"] == "True"
    assert status(soon)["stage"] == "ReadyForCutover"
    plan = decide(after(first, now=NOW + timedelta(seconds=20), copier=pod(), link=quiet))
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "CaughtUp")["reason"] == "CopierSilent"
    assert status(plan)["stage"] == status(plan)["phase"] == "Streaming"
    assert "has not answered since 12:00:00 UTC: timeout" in status(plan)["message"]


def well() -> Observed:
    """What a restarted operator finds: a running copier, and the status that its predecessor wrote."""
    exhausted = [said("ReadyForCutover", "True", "GatesPassed"), said("CaughtUp", "True", "LagBelowThreshold"),
                 said("Stalled", "True", "AttemptsExhausted", "5 of 5")]  # fmt: skip
    ready = report(Stage.READY_FOR_CUTOVER, replication=Replication(lag_seconds=0.4), conditions=exhausted)
    return after(see(copier=pod(), link=Link(ready)), copier=pod(), now=NOW + timedelta(seconds=9))


REFUSES: Object = {"silent_since": NOW + timedelta(seconds=8), "problem": "connection refused"}


@pytest.mark.parametrize("link", [Link(), Link(**REFUSES)], ids=["not asked yet", "one poll has failed"])
def test_a_restarted_operator_keeps_the_status_until_the_copier_answers(link: Link) -> None:
    """A healthy Ferry must not be reported as starting for a moment."""
    seen = replace(well(), link=link)
    assert decide(seen).status is None
    assert decide(seen).actions == ()
    assert decide(seen).next_look <= 10
    changed = replace(seen, ferry=replace(seen.ferry, generation=2))
    assert condition(decide(changed), "Reconciling")["reason"] == "NewGeneration"
    assert condition(decide(changed), "ReadyForCutover")["status"] == "True"


def test_a_copier_that_never_answers_a_new_operator_is_silent() -> None:
    plan = decide(replace(well(), link=Link(**REFUSES), now=NOW + timedelta(seconds=23)))
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "CaughtUp")["reason"] == "CopierSilent"
    assert condition(plan, "Stalled")["reason"] == "AttemptsExhausted"
    assert status(plan)["stage"] == "Streaming"
    assert "has not answered since 12:00:08 UTC: connection refused" in status(plan)["message"]


def test_a_restarted_copier_is_noticed_before_it_answers() -> None:
    plan = decide(replace(well(), copier=pod(restarts=1)))
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "Reconciling")["reason"] == "CopierStarting"
    recreated = after(replace(well(), copier=None), copier=pod())
    assert condition(decide(recreated), "ReadyForCutover")["status"] == "Unknown"
    assert condition(decide(recreated), "Reconciling")["reason"] == "CopierStarting"


def test_a_refused_directive_is_reported() -> None:
    refused = Refusal("NotBuiltYet", "spec.throttle.query is not supported yet", NOW)
    seen = see(ferry=ferry(generation=2), copier=pod(), link=Link(report(Stage.COPYING)), refusal=refused)
    plan = decide(seen)
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "NotBuiltYet"
    assert "only a pause, an abort, or a withdrawn approval" in status(plan)["message"]
    later = replace(seen, now=NOW + timedelta(seconds=11))
    assert decide(later).actions == (SendDirective(),)
