"""Decisions when a Ferry ends: success, abort, deletion."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from ferry_core.api.report import CutoverReport, Replication, Report, Stage, ThrottleReport
from ferry_core.reasons import Reason
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, FerryView, Link, Observed, PodView, Refusal
from ferry_operator.plan import CreatePod, DeleteFerry, DeletePod, EnsureSecret, PostEvent
from tests.support.observed import NOW, after, condition, ferry, helper, pod, report, said, see, spec, status

# -- the end --------------------------------------------------------------------------------------------------------


def done(**parts: Any) -> Report:
    return report(Stage.COMPLETED, **parts, cutover=CutoverReport(attempts=1, writes_blocked_milliseconds=900),
                  conditions=[said("Succeeded", "True", "Completed"),
                              said("CutOver", "True", "Done"), said("Verified", "True", "NoDifference")])  # fmt: skip


def test_success_with_a_termination_message() -> None:
    ended = Ended(0, "Completed", done().model_dump_json(by_alias=True), NOW)
    plan = decide(see(copier=pod(phase="Succeeded", running=False, ended=ended)))
    assert status(plan)["phase"] == "Completed"
    assert status(plan)["cutover"]["writesBlockedMilliseconds"] == 900
    for kind in ("Succeeded", "CutOver", "Verified"):
        assert condition(plan, kind)["status"] == "True"
    assert "completionTime" in status(plan)
    assert plan.actions == ()


def test_success_without_a_termination_message() -> None:
    plan = decide(see(copier=pod(phase="Succeeded", running=False, ended=Ended(0, "Completed", "", NOW))))
    assert condition(plan, "Succeeded")["status"] == "True"
    assert condition(plan, "CutOver")["status"] == "True"


def test_what_was_not_compared_is_said_also_without_a_termination_message() -> None:
    unseen = "not compared: rows that others changed on the target after 2026-11-23T11:00:00Z"
    ready = report(Stage.READY_FOR_CUTOVER, conditions=[said("Verified", "True", "NoDifference", unseen)])
    gone = pod(phase="Succeeded", running=False, ended=Ended(0, "Completed", "", NOW))
    plan = decide(after(see(copier=pod(), link=Link(ready)), copier=gone))
    assert status(plan)["message"] == f"cut over; writes may move to the target; {unseen}"
    assert condition(plan, "Succeeded")["message"] == status(plan)["message"]


def test_a_source_that_was_written_after_the_cutover_is_a_success_that_needs_a_person() -> None:
    last = done()
    conditions = [*last.conditions, said("Stalled", "True", Reason.SOURCE_WRITTEN_AFTER_CUTOVER, "3 rows")]
    message = last.model_copy(update={"conditions": conditions}).model_dump_json(by_alias=True)
    plan = decide(
        see(copier=pod(running=False, waiting=("CrashLoopBackOff", ""), ended=Ended(65, "Error", message, NOW)))
    )
    assert condition(plan, "Succeeded")["status"] == "True"
    assert condition(plan, "Stalled")["reason"] == "SourceWrittenAfterCutover"
    assert plan.actions == ()


def late(rows: int = 3) -> Report:
    """The source was written after the cutover."""
    last = done()
    entry = said("Stalled", "True", Reason.SOURCE_WRITTEN_AFTER_CUTOVER, f"{rows} rows")
    return last.model_copy(update={"conditions": [*last.conditions, entry]})


def test_late_writes_seen_while_the_source_is_watched_are_reported() -> None:
    """The cutover is reported at once; the copier watches the source for cutover.watchFor after it."""
    finished = see(copier=pod(), link=Link(done()))
    assert condition(decide(finished), "Succeeded")["status"] == "True"
    plan = decide(after(finished, copier=pod(), link=Link(late())))
    assert condition(plan, "Stalled")["reason"] == "SourceWrittenAfterCutover"
    assert condition(plan, "Succeeded")["status"] == "True"
    assert plan.actions == ()


def test_the_count_of_late_writes_follows_the_copier() -> None:
    seen = see(copier=pod(), link=Link(done()))
    for rows in (3, 225):
        seen = after(seen, copier=pod(), link=Link(late(rows)))
        assert condition(decide(seen), "Stalled")["message"] == f"{rows} rows"
        assert status(decide(seen))["message"] == f"cut over; but {rows} rows"
    last = Ended(65, "Error", late(226).model_dump_json(by_alias=True), NOW)
    gone = after(seen, copier=pod(running=False, ended=last), link=Link(late(225)))
    assert condition(decide(gone), "Stalled")["message"] == "226 rows"
    rests = after(gone)
    assert condition(decide(rests), "Stalled")["message"] == "226 rows"
    assert status(decide(rests))["message"] == "cut over; but 226 rows"


def test_late_writes_stay_reported_when_the_copier_is_restarted() -> None:
    """It ends with 65, the kubelet restarts it in place, and the second process only finds that everything is done."""
    first = Ended(65, "Error", late().model_dump_json(by_alias=True), NOW)
    second = Ended(0, "Completed", done().model_dump_json(by_alias=True), NOW)
    watched = after(see(copier=pod(), link=Link(done())), copier=pod(), link=Link(late()))
    over = pod(phase="Succeeded", running=False, ended=second)
    assert condition(decide(after(watched, copier=over)), "Stalled")["status"] == "True"
    unseen = see(copier=replace(over, ended_before=first))
    assert condition(decide(unseen), "Stalled")["reason"] == "SourceWrittenAfterCutover"


def test_a_finished_ferry_stays_as_it_is_whatever_happens_to_its_pod() -> None:
    seen = see(copier=pod(phase="Succeeded", running=False, ended=Ended(0, "Completed", "", NOW)))
    for copier in (None, pod(), pod(phase="Failed", running=False)):
        assert decide(after(seen, copier=copier)).actions == ()


def test_the_status_of_a_finished_ferry_stays_when_the_spec_changes() -> None:
    finished = see(copier=pod(), link=Link(done()))
    plan = decide(after(finished, generation=5, copier=pod(), link=Link(late())))
    assert {each["observedGeneration"] for each in status(plan)["conditions"]} == {5}


def test_time_to_live() -> None:
    seen = see(copier=pod(phase="Succeeded", running=False, ended=Ended(0, "Completed", "", NOW)))
    finished = status(decide(seen))
    kept = ferry(finished, spec=spec(ttlSecondsAfterFinished=60))
    assert decide(Observed(kept, NOW + timedelta(seconds=59))).actions == ()
    assert decide(Observed(kept, NOW + timedelta(seconds=59))).next_look == pytest.approx(1)
    assert decide(Observed(kept, NOW + timedelta(seconds=60))).actions == (DeleteFerry(),)


def test_what_needs_a_person_is_not_deleted_by_its_time_to_live() -> None:
    seen = after(see(copier=pod(), link=Link(done())), copier=pod(), link=Link(late()))
    told = status(decide(seen)) | {"completionTime": "2026-11-23T12:00:00Z"}
    later = Observed(ferry(told, spec=spec(ttlSecondsAfterFinished=60)), NOW + timedelta(days=1))
    assert decide(later).actions == ()
    well = [each for each in told["conditions"] if each["type"] != "Stalled"]
    assert decide(replace(later, ferry=replace(later.ferry, status=told | {"conditions": well}))).actions


# -- abort ----------------------------------------------------------------------------------------------------------

ABORTED = spec(aborted=True)
EVICTED = helper(Role.ABORT, running=False, phase="Failed")
STARTED = {"startTime": "2026-11-23T11:00:00Z", "stage": "Copying", "phase": "Copying"}


def test_abort_before_anything_started() -> None:
    plan = decide(see(ferry=ferry(spec=ABORTED)))
    assert plan.actions == ()
    assert status(plan)["phase"] == "Aborted"


@pytest.mark.parametrize(
    ("copier", "helping", "actions"),
    [
        (pod(), None, (DeletePod(pod()),)),
        (pod(deletion_due=NOW), None, ()),
        (None, None, (CreatePod(Role.ABORT),)),
        (None, helper(Role.ABORT, running=True), ()),
        (None, EVICTED, (DeletePod(EVICTED),)),
    ],
    ids=["copier runs", "copier ends", "copier gone", "aborting", "abort evicted"],
)  # fmt: skip
def test_abort_step_by_step(copier: PodView | None, helping: PodView | None, actions: tuple[object, ...]) -> None:
    plan = decide(see(ferry=ferry(STARTED, spec=ABORTED), copier=copier, helper=helping))
    assert plan.actions == actions
    assert condition(plan, "Succeeded")["status"] == "Unknown"


@pytest.mark.parametrize("role", [Role.ABORT, Role.CLEANUP])
@pytest.mark.parametrize(
    "wrong",
    [
        {"cutover": {"notBefore": "2026-12-01T02:00:00Z"}},
        {"throttle": {"activeHours": "20:00-06:00 UTC"}},
        {"verify": {"onMismatch": "Fail"}},
        {"deletionPolicy": "DropTarget"},
    ],
)
def test_a_corrected_spec_replaces_the_pod_of_an_abort_or_cleanup(role: Role, wrong: dict[str, Any]) -> None:
    """The Secret with its manifest cannot change, and these Pods receive no directives."""
    aborted = role is Role.ABORT
    stuck = helper(role, of=spec(aborted=aborted, **wrong), running=False, waiting=("CrashLoopBackOff", ""))
    corrected = ferry(STARTED, spec=spec(aborted=aborted), deleting_since=None if aborted else NOW)
    assert decide(see(ferry=corrected, helper=stuck)).actions == (DeletePod(stuck),)
    same = replace(corrected, digests={role: stuck.digest})
    assert decide(see(ferry=same, helper=stuck)).actions == (EnsureSecret(stuck),)


def test_abort_is_done_when_the_databases_say_so() -> None:
    ended = helper(Role.ABORT, running=False, phase="Succeeded")
    plan = decide(see(ferry=ferry(STARTED, spec=ABORTED), helper=ended))
    assert status(plan)["phase"] == "Aborted"
    assert status(plan)["stage"] == "Copying", "how far it was"
    assert condition(plan, "Succeeded") | {"status": "False", "reason": "Aborted"} == condition(plan, "Succeeded")
    assert decide(Observed(ferry(status(plan), spec=ABORTED), NOW)).actions == ()


def test_an_abort_resets_conditions_that_need_a_running_copier() -> None:
    """Its last report must not stay visible for ever: ready for the cutover, waiting for approval, a lag, a
    throttle.
    """
    last = report(
        Stage.READY_FOR_CUTOVER,
        replication=Replication(lag_seconds=0.4, pending_keys=7),
        throttle=ThrottleReport(active=True, reason="rate 20 >= 20", since=NOW),
        conditions=[
            said("CopyComplete", "True", "AllTablesCopied"),
            said("CaughtUp", "True", "LagBelowThreshold"),
            said("ReadyForCutover", "True", "GatesPassed"),
            said("CutOver", "False", "AwaitingApproval"),
            said("Throttled", "True", "RateLimit"),
            said("Paused", "True", "PausedByUser"),
        ],
    )
    told = status(decide(see(copier=pod(), link=Link(last)))) | STARTED
    plan = decide(see(ferry=ferry(told, spec=ABORTED), helper=helper(Role.ABORT, running=False, phase="Succeeded")))
    expected = {
        "CopyComplete": ("True", "AllTablesCopied"),
        "CaughtUp": ("Unknown", "Aborted"),
        "ReadyForCutover": ("False", "Aborted"),
        "CutOver": ("False", "Aborted"),
        "Throttled": ("False", "NotThrottled"),
        "Paused": ("False", "NotPaused"),
    }
    for kind, wanted in expected.items():
        assert (condition(plan, kind)["status"], condition(plan, kind)["reason"]) == wanted
    assert status(plan)["throttle"] == {"active": False}
    assert "lagSeconds" not in status(plan)["replication"]
    assert status(plan)["replication"]["pendingKeys"] == 7


def test_a_completed_ferry_has_no_lag() -> None:
    streaming = see(copier=pod(), link=Link(report(Stage.CUTTING_OVER, replication=Replication(lag_seconds=0.4))))
    plan = decide(after(streaming, copier=pod(), link=Link(done(replication=Replication(lag_seconds=0.3)))))
    assert status(plan)["phase"] == "Completed"
    assert "lagSeconds" not in status(plan)["replication"]


@pytest.mark.parametrize(
    ("log", "completed"),
    [
        ("ferry: AlreadyCutOver: this Ferry was cut over", True),
        ("asking\nferry: AlreadyCutOver: this Ferry was cut over\n", True),
        ("ferry: TargetOwnedByAnotherFerry: as if AlreadyCutOver: by another", False),
    ],
)
def test_abort_that_comes_too_late_is_a_success(log: str, *, completed: bool) -> None:
    late = Ended(64, "Error", log, NOW)
    plan = decide(see(ferry=ferry(STARTED, spec=ABORTED), helper=helper(Role.ABORT, running=False, ended=late)))
    assert (status(plan)["phase"] == "Completed") is completed


@pytest.mark.parametrize(
    ("parts", "goes"),
    [
        ({"waiting": ("CrashLoopBackOff", "back-off")}, True),
        ({"running": True}, True),
        ({"phase": "Failed"}, True),
        ({"deletion_due": NOW}, False),
        ({"phase": "Succeeded"}, False),
    ],
    ids=["crashes", "runs", "evicted", "ends", "succeeded"],
)
def test_a_finished_ferry_keeps_no_pod_that_would_restart(parts: dict[str, Any], goes: bool) -> None:
    """Otherwise an abort that came too late would be refused by both databases every five minutes, for ever."""
    finished = ferry(status(decide(see(copier=pod(phase="Succeeded", running=False)))), spec=ABORTED)
    left = helper(Role.ABORT, **{"running": False} | parts)
    assert decide(see(ferry=finished, helper=left)).actions == ((DeletePod(left),) if goes else ())
    brief = replace(finished, spec=spec(aborted=True, ttlSecondsAfterFinished=60))
    later = Observed(brief, NOW + timedelta(days=1), helper=left)
    assert decide(later).actions == (DeleteFerry(),)


def test_an_abort_that_does_not_succeed_is_stalled_after_ten_minutes() -> None:
    """Until it succeeds, writes on the source may be blocked."""
    ended = Ended(75, "Error", "ServerUnreachable: source old.db refuses", NOW)
    aborting = {"running": False, "ended": ended}
    for minutes, truth in ((9, "False"), (11, "True")):
        stuck = helper(Role.ABORT, created=NOW - timedelta(minutes=minutes), **aborting)
        plan = decide(see(ferry=ferry(STARTED, spec=ABORTED), helper=stuck))
        assert condition(plan, "Stalled")["status"] == truth
    assert condition(plan, "Stalled")["reason"] == "AbortFailed"
    assert "old.db refuses" in status(plan)["message"]


def test_abort_reports_what_it_waits_for() -> None:
    ended = Ended(64, "Error", "checking\nServerUnreachable: target new.db refuses", NOW)
    plan = decide(see(ferry=ferry(STARTED, spec=ABORTED), helper=helper(Role.ABORT, running=False, ended=ended)))
    assert "ServerUnreachable: target new.db refuses" in status(plan)["message"]


# -- deletion -------------------------------------------------------------------------------------------------------


def deleted(**parts: Any) -> FerryView:
    return ferry(parts.pop("status", STARTED), deleting_since=parts.pop("since", NOW), **parts)


def test_deletion_before_anything_started() -> None:
    assert decide(see(ferry=deleted(status={}))).released


def refused(**template: Any) -> FerryView:
    """A Ferry whose Pod was never accepted: the status records what was to be done, and the result."""
    wrong = ferry(spec=spec(copier={"template": template}))
    first = see(ferry=wrong)
    told = after(first, ferry=replace(wrong, status=status(decide(first))), refusal=Refusal("PodRefused", "bad", NOW))
    return replace(wrong, status=status(decide(told)))


def test_a_ferry_whose_pod_was_always_refused_has_not_started() -> None:
    """Its cleanup would be refused as its copier was."""
    never = refused(metadata={"labels": {"team": "not a label"}})
    assert decide(see(ferry=replace(never, deleting_since=NOW))).released
    aborted = replace(never, spec=ABORTED)
    assert status(decide(see(ferry=aborted)))["phase"] == "Aborted"
    once = {**never.status, "copier": {"podName": "orders-copier"}}
    assert not decide(see(ferry=replace(never, status=once, deleting_since=NOW))).released
    assert not decide(see(ferry=replace(never, deleting_since=NOW), copier=pod())).released


def test_deletion_step_by_step() -> None:
    assert decide(see(ferry=deleted(), copier=pod())).actions == (DeletePod(pod()),)
    assert not decide(see(ferry=deleted(), copier=pod())).released
    ending = pod(deletion_due=NOW)
    assert decide(see(ferry=deleted(), copier=ending)).actions == ()
    assert decide(see(ferry=deleted())).actions == (CreatePod(Role.CLEANUP),)
    assert not decide(see(ferry=deleted(), helper=helper(Role.CLEANUP))).released
    over = decide(see(ferry=deleted(), helper=helper(Role.CLEANUP, phase="Succeeded", running=False)))
    assert (over.released, over.actions) == (True, (PostEvent("Normal", Reason.CLEANED_UP, "cleaned up"),))


def test_deletion_of_an_aborting_ferry_ends_the_abort_first() -> None:
    aborting = helper(Role.ABORT)
    assert decide(see(ferry=deleted(spec=ABORTED), helper=aborting)).actions == (DeletePod(aborting),)


def test_deletion_in_an_ending_namespace_leaves_without_cleanup() -> None:
    assert decide(see(ferry=deleted(), copier=pod(), namespace_ending=True)).released


def test_deletion_without_cleanup_on_request() -> None:
    plan = decide(see(ferry=deleted(skip_cleanup=True), copier=pod()))
    assert plan.released
    assert plan.actions == (DeletePod(pod()),)


def test_deletion_with_an_unreachable_database_is_stalled_after_ten_minutes() -> None:
    ended = Ended(64, "Error", "ServerUnreachable: new.db", NOW)
    stuck = helper(Role.CLEANUP, running=False, waiting=("CrashLoopBackOff", ""), ended=ended)
    early = decide(see(ferry=deleted(since=NOW - timedelta(minutes=9)), helper=stuck))
    assert condition(early, "Stalled")["status"] == "False"
    assert "ServerUnreachable: new.db" in status(early)["message"]
    late = decide(see(ferry=deleted(since=NOW - timedelta(minutes=11)), helper=stuck))
    assert condition(late, "Stalled")["reason"] == "CleanupFailed"
    assert "mysqlferry.io/skip-cleanup=true" in status(late)["message"]


def test_deletion_of_a_ferry_that_never_passed_validation_is_stalled_at_once() -> None:
    """The most common mistake is a wrong password: waiting does not fix it."""
    ended = Ended(64, "Error", "AccessDenied: new.db", NOW)
    stuck = helper(Role.CLEANUP, running=False, waiting=("CrashLoopBackOff", ""), ended=ended)
    never = replace(deleted(since=NOW), status=STARTED | {"stage": "Validating", "conditions": []})
    plan = decide(see(ferry=never, helper=stuck))
    assert condition(plan, "Stalled")["reason"] == "CleanupFailed"
    assert "no copy is known to have started (AccessDenied: new.db)" in status(plan)["message"]
    assert "mysqlferry.io/skip-cleanup=true" in status(plan)["message"]


def test_deletion_with_a_spec_that_cannot_be_read_is_not_done_without_cleanup() -> None:
    newer = replace(deleted(), spec=None, problem="spec.magic: Extra inputs are not permitted")
    plan = decide(see(ferry=newer, copier=pod()))
    assert plan.actions == (DeletePod(pod()),)
    plan = decide(see(ferry=newer))
    assert not plan.released
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "InvalidField"
    assert "spec.magic" in status(plan)["message"]
    assert "mysqlferry.io/skip-cleanup=true" in status(plan)["message"]
    assert decide(see(ferry=replace(newer, skip_cleanup=True))).released
    assert decide(see(ferry=replace(newer, status={}))).released, "nothing was ever started"


def test_a_disabled_ferry_can_be_deleted() -> None:
    assert decide(see(ferry=deleted(status={}, hands_off=True))).released
