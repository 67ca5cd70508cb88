"""What is decided, as tables: every state of Pod, copier and cluster, every verb, without any I/O."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ferry_core.api.reasons import Condition
from ferry_core.api.report import CutoverReport, Failure, Progress, Replication, Stage
from ferry_operator.decide import decide
from ferry_operator.names import Role
from ferry_operator.observe import Ended, Link, Observed, Trouble
from ferry_operator.plan import CreatePod, DeletePod, EnsureSecret, Plan, SendDirective
from tests.support.kubelet import SPEC
from tests.support.sights import NOW, Object, after, condition, failed, ferry, pod, report, said, see, spec, status

# -- the beginning --------------------------------------------------------------------------------------------------


def test_first_sight_sets_every_condition_and_makes_the_copier() -> None:
    plan = decide(see())
    assert plan.actions == (CreatePod(Role.COPIER),)
    assert {each["type"] for each in status(plan)["conditions"]} == {kind.value for kind in Condition}
    assert status(plan)["stage"] == status(plan)["phase"] == "Pending"
    assert status(plan)["observedGeneration"] == 1
    assert "startTime" in status(plan)
    assert condition(plan, "Reconciling")["reason"] == "CopierStarting"
    assert condition(plan, "Succeeded")["status"] == "Unknown"


def test_a_queued_ferry_says_so_and_has_not_started() -> None:
    plan = decide(see(admitted=False))
    assert plan.actions == ()
    assert condition(plan, "Reconciling")["reason"] == "Queued"
    assert "startTime" not in status(plan)


def test_no_copier_before_the_finalizer_is_there() -> None:
    plan = decide(see(ferry=ferry(held=False)))
    assert plan.actions == ()
    assert "mysqlferry.io/operator" in status(plan)["message"]
    assert "startTime" not in status(plan)


def test_hands_off_means_nothing_is_said_or_done() -> None:
    assert decide(see(ferry=ferry(hands_off=True))) == Plan()


def test_a_paused_ferry_gets_its_copier_too_since_that_is_the_plan_only_mode() -> None:
    assert decide(see(ferry=ferry(spec=spec(paused=True)))).actions == (CreatePod(Role.COPIER),)


def test_a_spec_that_cannot_be_read_is_said_and_leaves_a_running_copier_alone() -> None:
    seen = see(ferry=replace(ferry(), spec=None, problem="spec.copy.workers: too many"), copier=pod())
    plan = decide(seen)
    assert plan.actions == ()
    assert condition(plan, "Stalled") | {"lastTransitionTime": ""} == {
        "type": "Stalled",
        "status": "True",
        "reason": "InvalidField",
        "message": "spec.copy.workers: too many",
        "lastTransitionTime": "",
        "observedGeneration": 1,
    }


def test_a_pod_that_the_cluster_refuses_is_tried_again_and_said() -> None:
    fresh = Trouble("PodRefused", "exceeded quota: pods", NOW)
    plan = decide(see(trouble=fresh))
    assert plan.actions == ()
    assert 0 < plan.next_look <= 10
    assert condition(plan, "Stalled")["reason"] == "PodRefused"
    assert "exceeded quota: pods" in status(plan)["message"]
    stale = replace(fresh, since=NOW - timedelta(seconds=11))
    assert decide(see(trouble=stale)).actions == (CreatePod(Role.COPIER),)
    mended = decide(after(see(trouble=fresh)))
    assert condition(mended, "Stalled")["status"] == "False"


# -- a Pod that does not run ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "words", "stalled"),
    [
        ({"waiting": ("ContainerCreating", "")}, "being started", "False"),
        ({"waiting": ("ImagePullBackOff", "no such image")}, "ImagePullBackOff: no such image", "True"),
        ({"waiting": ("ErrImagePull", "denied")}, "ErrImagePull: denied", "True"),
        ({"waiting": ("CreateContainerConfigError", "runAsNonRoot")}, "CreateContainerConfigError", "True"),
        ({"unschedulable": "0/1 nodes are available"}, "no node takes the copier's Pod: 0/1 nodes", "False"),
    ],
)
def test_a_container_that_does_not_start(parts: Object, words: str, stalled: str) -> None:
    plan = decide(see(copier=pod(running=False, phase="Pending", **parts)))
    assert words in status(plan)["message"]
    assert condition(plan, "Stalled")["status"] == stalled
    assert condition(plan, "Reconciling")["status"] == "True"
    assert [type(action) for action in plan.actions] == [EnsureSecret]


def test_it_is_no_trouble_any_more_once_the_image_is_there() -> None:
    first = see(copier=pod(running=False, phase="Pending", waiting=("ImagePullBackOff", "no such image")))
    plan = decide(after(first, copier=pod(), link=Link(report(Stage.COPYING))))
    assert condition(plan, "Stalled")["status"] == "False"
    assert status(plan)["phase"] == "Copying"


def test_a_secret_that_the_cluster_refuses() -> None:
    refused = Trouble("PodRefused", "secrets is forbidden", NOW)
    plan = decide(see(copier=pod(running=False, phase="Pending"), trouble=refused))
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
    """By a PATH in template.env, say, there never was a process: only the kubelet's message tells why."""
    plan = decide(see(copier=pod(running=False, waiting=("CrashLoopBackOff", "back-off"), ended=ended)))
    said = status(plan)["message"].partition(" and is started again: ")[2]
    assert said.startswith(told)
    assert (said == told) is (ended.reason != "StartError")


def test_who_mends_a_database_is_told_how_to_have_it_tried_again() -> None:
    """Neither an annotation nor a label counts as a changed spec."""
    failing = see(copier=failed(65, "TargetTableBusy", "shop.orders is locked"))
    assert "once mended elsewhere, pause and resume it" in status(decide(failing))["message"]
    resumed = after(after(failing), generation=3)
    assert decide(resumed).actions == (CreatePod(Role.COPIER),)


def test_a_copier_that_died_while_cutting_over_does_not_wait() -> None:
    ended = Ended(137, "OOMKilled", "", NOW)
    dead = pod(running=False, waiting=("CrashLoopBackOff", ""), ended=ended)
    cutting = ferry({"stage": "CuttingOver", "phase": "CuttingOver", "startTime": "2026-11-23T11:00:00Z"})
    assert decide(see(ferry=cutting, copier=dead)).actions == (DeletePod(dead),)
    copying = ferry({"stage": "Copying", "phase": "Copying", "startTime": "2026-11-23T11:00:00Z"})
    assert decide(see(ferry=copying, copier=dead)).actions == ()


# -- a Pod that must go ---------------------------------------------------------------------------------------------


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
def test_what_a_running_copier_cannot_be_told_needs_another_pod(change: Object) -> None:
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
def test_what_it_can_be_told_is_told(change: Object) -> None:
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


def test_nothing_is_made_while_the_old_pod_may_still_run() -> None:
    ending = pod(deletion_due=NOW + timedelta(seconds=30))
    assert decide(see(copier=ending)).actions == ()
    overdue = pod(deletion_due=NOW - timedelta(seconds=120))
    plan = decide(see(copier=overdue))
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "NodeLost"
    assert "kubectl delete pod orders-copier -n shop --force" in status(plan)["message"]


def test_a_node_that_is_tainted_may_be_well() -> None:
    """By a person, say, who drains it so: until its grace is over, the copier may be at its checkpoint."""
    tainted = pod(lost="Taint manager: deleting due to NoExecute taint")
    assert decide(see(copier=tainted)).actions == (DeletePod(tainted),)
    for left in (30, 0, -9):
        plan = decide(see(copier=replace(tainted, deletion_due=NOW + timedelta(seconds=left))))
        assert plan.actions == ()
        assert plan.next_look <= 10
        assert condition(plan, "Stalled")["status"] == "False"
        assert "NoExecute taint" in status(plan)["message"]
        assert "--force" not in status(plan)["message"]


def test_a_node_that_was_given_up_is_lost_soon_after_the_grace() -> None:
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


# -- failures -------------------------------------------------------------------------------------------------------


def test_of_a_copier_that_failed_nothing_is_said_that_only_one_at_work_could_say() -> None:
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


def test_a_config_error_is_said_and_tried_again_ever_more_seldom() -> None:
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
    assert status(decide(again))["phase"] == "Failed", "it stands until it is mended"
    later = replace(again, copier=failed(64, "MissingPrivilege", "GRANT", ago=-40), now=NOW + timedelta(seconds=41))
    waits = after(later, now=NOW + timedelta(seconds=60))
    assert decide(waits).actions == ()
    assert decide(waits).next_look == pytest.approx(20), "as long again as it has failed: 40 s"
    assert condition(decide(waits), "Stalled")["lastTransitionTime"] == "2026-11-23T12:00:00Z"


@pytest.mark.parametrize("code", [64, 65])
@pytest.mark.parametrize("last", [143, 137])
def test_how_it_failed_is_not_forgotten_over_how_its_pod_was_ended(code: int, last: int) -> None:
    """The kubelet had started it once more; SIGTERM's code hid the failure's, and a new Pod came every 6 s."""
    first = see(copier=failed(code, "SchemaChanged", "shop.orders was altered"))
    killed = Ended(last, "Error", "", NOW + timedelta(seconds=2))
    going = pod(running=False, ended=killed, deletion_due=NOW + timedelta(seconds=60))
    ending = after(first, now=NOW + timedelta(seconds=2), copier=going)
    assert status(decide(ending))["copier"]["lastTermination"]["exitCode"] == code
    gone = after(ending, now=NOW + timedelta(seconds=3))
    assert decide(gone).actions == ()
    later = decide(replace(gone, now=NOW + timedelta(seconds=11)))
    assert later.actions == ((CreatePod(Role.COPIER),) if code == 64 else ())


def test_why_it_failed_is_said_while_it_is_tried_again() -> None:
    """For up to 16 s at each retry a user read that the container is being started, and nothing of the Secret."""
    first = after(see(copier=failed(64, "SecretNotFound", "no Secret old")), now=NOW + timedelta(seconds=11))
    assert status(decide(first))["message"] == "no Secret old (being tried again: starting the copier)"
    later: list[Object] = [
        {"copier": pod(running=False, phase="Pending", waiting=("ContainerCreating", ""))},
        {"copier": pod()},
        {"copier": pod(), "link": Link(problem="not ready")},
        {"copier": pod(), "link": Link(report(Stage.PENDING, acknowledged=None))},
        {"copier": pod(), "link": Link(report(Stage.VALIDATING, message="checking"))},
    ]
    for parts in later:
        first = after(first, **parts)
        assert status(decide(first))["message"].startswith("no Secret old (being tried again")
        assert status(decide(first))["phase"] == "Failed"
    other = failed(64, "AccessDenied", "wrong password")
    assert status(decide(after(first, copier=other)))["message"].startswith("wrong password (once mended")
    mended = after(first, copier=pod(), link=Link(report(Stage.COPYING, message="at work")))
    assert status(decide(mended))["message"] == "at work"


def test_why_it_failed_is_said_once() -> None:
    """A copier that fails while it validates says the same in its message."""
    first = see(copier=failed(64, "AccessDenied", "wrong password"))
    failing = Link(report(Stage.VALIDATING, phase="Failed", message="wrong password"))
    for parts in ({"link": failing}, {"link": Link(report(Stage.VALIDATING, message=""))}):
        plan = decide(after(first, copier=pod(), **parts))
        assert status(plan)["message"] == "wrong password (being tried again)"


def test_a_failed_ferry_that_must_queue_says_so() -> None:
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
def test_last_words_that_are_no_report_are_shown_as_they_are(words: str) -> None:
    plan = decide(see(copier=pod(running=False, ended=Ended(64, "Error", words, NOW))))
    assert status(plan)["failure"]["message"] == words
    assert status(plan)["message"].startswith(words)


def test_a_copier_that_cuts_over_is_replaced_afterwards_and_that_is_said() -> None:
    changed = ferry({"stage": "CuttingOver"}, 2, spec=spec(cutover={"sourceLock": "None"}))
    plan = decide(see(ferry=changed, copier=pod(), link=Link(report(Stage.CUTTING_OVER))))
    assert plan.actions == ()
    assert condition(plan, "Reconciling")["status"] == "True"
    assert "once the attempt to cut over has ended" in condition(plan, "Reconciling")["message"]


# -- a copier that works --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(Stage)[1:-1])
def test_every_stage_is_taken_over(stage: Stage) -> None:
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
def test_every_condition_of_the_copier_is_taken_over(kind: Condition, truth: str) -> None:
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
def test_a_condition_is_of_the_generation_that_its_copier_acts_on(
    acknowledged: int | None, written: int, stage: Stage
) -> None:
    """Said before it was told anything, it stood at 0 for ever, and kubectl wait waited with it."""
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


def test_paused_is_laid_over_the_stage() -> None:
    plan = decide(see(copier=pod(), link=Link(report(Stage.COPYING, phase="Paused"))))
    assert (status(plan)["stage"], status(plan)["phase"]) == ("Copying", "Paused")


def test_a_copier_that_was_started_again_does_not_set_the_stage_back() -> None:
    first = see(copier=pod(), link=Link(report(Stage.READY_FOR_CUTOVER, progress=Progress(rows_copied=9), conditions=[
        said("ReadyForCutover", "True", "GatesPassed"), said("CaughtUp", "True", "LagBelowThreshold")])))  # fmt: skip
    fresh = Link(report(Stage.VALIDATING, acknowledged=None, message="checking"))
    plan = decide(after(first, copier=pod(restarts=1), link=fresh))
    assert status(plan)["stage"] == status(plan)["phase"] == "Streaming", "spec.tables stays fixed, nothing is ready"
    assert status(plan)["progress"]["rowsCopied"] == 9
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "CaughtUp")["status"] == "Unknown"
    assert "lagSeconds" not in status(plan)["replication"]
    assert plan.actions == (SendDirective(),)


def test_the_way_back_from_a_failed_cutover_is_taken_over() -> None:
    first = see(copier=pod(), link=Link(report(Stage.CUTTING_OVER)))
    back = report(Stage.STREAMING, cutover=CutoverReport(attempts=1, last_result="DeadlineExceeded"))
    plan = decide(after(first, copier=pod(), link=Link(back)))
    assert status(plan)["stage"] == "Streaming"
    assert status(plan)["cutover"]["lastResult"] == "DeadlineExceeded"


def test_a_silent_copier_is_not_said_to_be_well() -> None:
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
    """What an operator that was just started finds: a copier at work, and what another operator has said of it."""
    exhausted = [said("ReadyForCutover", "True", "GatesPassed"), said("CaughtUp", "True", "LagBelowThreshold"),
                 said("Stalled", "True", "AttemptsExhausted", "5 of 5")]  # fmt: skip
    ready = report(Stage.READY_FOR_CUTOVER, replication=Replication(lag_seconds=0.4), conditions=exhausted)
    return after(see(copier=pod(), link=Link(ready)), copier=pod(), now=NOW + timedelta(seconds=9))


REFUSES: Object = {"silent_since": NOW + timedelta(seconds=8), "problem": "connection refused"}


@pytest.mark.parametrize("link", [Link(), Link(**REFUSES)], ids=["not asked yet", "asked once in vain"])
def test_an_operator_that_was_just_started_leaves_what_is_said_of_a_copier(link: Link) -> None:
    """Every healthy Ferry was said to start and not to be ready for a moment, and then all of it was put back."""
    seen = replace(well(), link=link)
    assert decide(seen).status is None
    assert decide(seen).actions == ()
    assert decide(seen).next_look <= 10
    changed = replace(seen, ferry=replace(seen.ferry, generation=2))
    assert condition(decide(changed), "Reconciling")["reason"] == "NewGeneration"
    assert condition(decide(changed), "ReadyForCutover")["status"] == "True"


def test_a_copier_that_never_answers_a_new_operator_is_said_to_be_silent() -> None:
    plan = decide(replace(well(), link=Link(**REFUSES), now=NOW + timedelta(seconds=23)))
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "CaughtUp")["reason"] == "CopierSilent"
    assert condition(plan, "Stalled")["reason"] == "AttemptsExhausted"
    assert status(plan)["stage"] == "Streaming"
    assert "has not answered since 12:00:08 UTC: connection refused" in status(plan)["message"]


def test_a_copier_that_was_started_again_is_noticed_before_it_answers() -> None:
    plan = decide(replace(well(), copier=pod(restarts=1)))
    assert condition(plan, "ReadyForCutover")["status"] == "Unknown"
    assert condition(plan, "Reconciling")["reason"] == "CopierStarting"
    made_anew = after(replace(well(), copier=None), copier=pod())
    assert condition(decide(made_anew), "ReadyForCutover")["status"] == "Unknown"
    assert condition(decide(made_anew), "Reconciling")["reason"] == "CopierStarting"


def test_a_directive_that_the_copier_refuses_is_said() -> None:
    refused = Trouble("NotBuiltYet", "spec.throttle.query is not built yet", NOW)
    seen = see(ferry=ferry(generation=2), copier=pod(), link=Link(report(Stage.COPYING)), trouble=refused)
    plan = decide(seen)
    assert plan.actions == ()
    assert condition(plan, "Stalled")["reason"] == "NotBuiltYet"
    assert "only a pause, a withdrawn permission" in status(plan)["message"]
    later = replace(seen, now=NOW + timedelta(seconds=11))
    assert decide(later).actions == (SendDirective(),)
