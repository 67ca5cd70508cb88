"""Decisions after a copier has failed: what is reported, and when it is retried."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ferry_core.api.report import Replication, Stage
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, Link
from ferry_operator.plan import CreatePod, DeletePod
from tests.support.observed import NOW, Object, after, condition, failed, ferry, pod, report, said, see, spec, status

# -- the beginning --------------------------------------------------------------------------------------------------


def test_a_failed_copier_resets_conditions_that_need_a_running_one() -> None:
    ready = report(
        Stage.READY_FOR_CUTOVER,
        conditions=[
            said("CaughtUp", "True", "LagBelowThreshold"),
            said("ReadyForCutover", "True", "GatesPassed"),
            said("Throttled", "True", "RateLimit"),
        ],
        replication=Replication(lag_seconds=0.2),
    )
    before = see(copier=pod(), link=Link(ready))
    assert condition(decide(before), "ReadyForCutover")["status"] == "True"
    plan = decide(after(before, copier=failed(65, "SchemaChanged", "shop.orders was altered")))
    for kind in ("CaughtUp", "ReadyForCutover"):
        entry = condition(plan, kind)
        assert (entry["status"], entry["reason"]) == ("Unknown", "SchemaChanged")
    assert condition(plan, "Throttled")["status"] == "False"
    assert "lagSeconds" not in status(plan)["replication"]
    assert (status(plan)["stage"], status(plan)["phase"]) == ("Streaming", "Failed")


def test_a_config_error_is_reported_and_retried_with_back_off() -> None:
    wrong = failed(64, "MissingPrivilege", "GRANT SELECT ON shop.* TO ferry")
    first = see(copier=wrong)
    plan = decide(first)
    assert plan.actions == (DeletePod(wrong),)
    assert status(plan)["phase"] == "Failed"
    assert status(plan)["failure"]["reason"] == "MissingPrivilege"
    for kind, truth in (("Stalled", "True"), ("Succeeded", "False")):
        assert condition(plan, kind)["status"] == truth
        assert "GRANT SELECT" in condition(plan, kind)["message"]
    waiting = after(first, now=NOW + timedelta(seconds=5))
    assert decide(waiting).actions == ()
    assert decide(waiting).next_look == pytest.approx(5)
    again = after(first, now=NOW + timedelta(seconds=11))
    assert decide(again).actions == (CreatePod(Role.COPIER),)
    assert status(decide(again))["phase"] == "Failed", "it stays until it is fixed"
    later = replace(again, copier=failed(64, "MissingPrivilege", "GRANT", ago=-40), now=NOW + timedelta(seconds=41))
    waits = after(later, now=NOW + timedelta(seconds=60))
    assert decide(waits).actions == ()
    assert decide(waits).next_look == pytest.approx(20), "as long again as it has failed: 40 s"
    assert condition(decide(waits), "Stalled")["lastTransitionTime"] == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize("code", [64, 65])
@pytest.mark.parametrize("last", [143, 137])
def test_the_failures_exit_code_survives_the_deletion_of_its_pod(code: int, last: int) -> None:
    """If the kubelet restarts it once more, SIGTERM's exit code must not hide the failure's."""
    first = see(copier=failed(code, "SchemaChanged", "shop.orders was altered"))
    killed = Ended(last, "Error", "", NOW + timedelta(seconds=2))
    going = pod(running=False, ended=killed, deletion_due=NOW + timedelta(seconds=60))
    ending = after(first, now=NOW + timedelta(seconds=2), copier=going)
    assert status(decide(ending))["copier"]["lastTermination"]["exitCode"] == code
    gone = after(ending, now=NOW + timedelta(seconds=3))
    assert decide(gone).actions == ()
    later = decide(replace(gone, now=NOW + timedelta(seconds=11)))
    assert later.actions == ((CreatePod(Role.COPIER),) if code == 64 else ())


def test_the_failure_is_reported_while_it_is_retried() -> None:
    """The message must not only say that the container is starting: the missing Secret stays in it."""
    first = after(see(copier=failed(64, "SecretNotFound", "no Secret old")), now=NOW + timedelta(seconds=11))
    assert status(decide(first))["message"] == "no Secret old (retrying: starting the copier)"
    later: list[Object] = [
        {"copier": pod(running=False, phase="Pending", waiting=("ContainerCreating", ""))},
        {"copier": pod()},
        {"copier": pod(), "link": Link(problem="not ready")},
        {"copier": pod(), "link": Link(report(Stage.PENDING, acknowledged=None))},
        {"copier": pod(), "link": Link(report(Stage.VALIDATING, message="checking"))},
    ]
    for parts in later:
        first = after(first, **parts)
        assert status(decide(first))["message"].startswith("no Secret old (retrying")
        assert status(decide(first))["phase"] == "Failed"
    other = failed(64, "AccessDenied", "wrong password")
    assert status(decide(after(first, copier=other)))["message"].startswith("wrong password (retried automatically")
    fixed = after(first, copier=pod(), link=Link(report(Stage.COPYING, message="at work")))
    assert status(decide(fixed))["message"] == "at work"


def test_the_failure_is_reported_once() -> None:
    """A copier that fails while it validates reports the same in its own message."""
    first = see(copier=failed(64, "AccessDenied", "wrong password"))
    failing = Link(report(Stage.VALIDATING, phase="Failed", message="wrong password"))
    for parts in ({"link": failing}, {"link": Link(report(Stage.VALIDATING, message=""))}):
        plan = decide(after(first, copier=pod(), **parts))
        assert status(plan)["message"] == "wrong password (retrying)"


def test_a_failed_ferry_that_is_queued_reports_it() -> None:
    first = see(copier=failed(65, "TargetNotEmpty", "shop.orders has rows"))
    plan = decide(after(first, generation=2, admitted=False))
    assert status(plan)["phase"] == "Pending"
    assert condition(plan, "Reconciling")["reason"] == "Queued"
    assert status(plan)["message"].startswith("queued: ")
    assert "shop.orders has rows" in status(plan)["message"]
    admitted = after(after(first, generation=2, admitted=False), generation=2)
    assert decide(admitted).actions == (CreatePod(Role.COPIER),)
    assert status(decide(admitted))["phase"] == "Failed"


def test_a_changed_spec_is_tried_at_once() -> None:
    for code in (64, 65):
        first = see(copier=failed(code, "RowsDiffer", "orders 7"))
        assert decide(after(first, now=NOW + timedelta(seconds=1), generation=2)).actions == (CreatePod(Role.COPIER),)


def test_a_data_error_waits_for_a_person() -> None:
    first = see(copier=failed(65, "RowsDiffer", "orders 7"))
    assert decide(after(first, now=NOW + timedelta(days=1))).actions == ()


def test_a_failure_is_forgotten_once_validation_is_passed() -> None:
    first = see(copier=failed(64, "MissingPrivilege", "GRANT"))
    early = after(
        first, copier=pod(), link=Link(report(Stage.VALIDATING, conditions=[said("Stalled", "False", "NotStalled")]))
    )
    assert status(decide(early))["phase"] == "Failed"
    assert condition(decide(early), "Stalled")["status"] == "True"
    plan = decide(after(early, copier=pod(), link=Link(report(Stage.COPYING))))
    assert "failure" not in status(plan)
    assert status(plan)["phase"] == "Copying"
    assert condition(plan, "Stalled")["status"] == "False"


@pytest.mark.parametrize("words", ["Traceback: boom", '{"level": "ERROR", "message": "boom"}'])
def test_a_termination_message_that_is_no_report_is_shown_as_it_is(words: str) -> None:
    plan = decide(see(copier=pod(running=False, ended=Ended(64, "Error", words, NOW))))
    assert status(plan)["failure"]["message"] == words
    assert status(plan)["message"].startswith(words)


def test_a_copier_in_a_cutover_is_replaced_afterwards_and_the_status_reports_it() -> None:
    changed = ferry({"stage": "CuttingOver"}, 2, spec=spec(cutover={"sourceLock": "None"}))
    plan = decide(see(ferry=changed, copier=pod(), link=Link(report(Stage.CUTTING_OVER))))
    assert plan.actions == ()
    assert condition(plan, "Reconciling")["status"] == "True"
    assert "the running cutover attempt finishes first" in condition(plan, "Reconciling")["message"]
