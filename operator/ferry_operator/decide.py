"""Decides what to do about a Ferry: a pure function from an observation to a status and a list of actions.

Level-triggered: it depends on the present state, never on events. So it may be called at any time, by an operator that
has just started, and after an action that was interrupted. Called by ``reconciler``; the rules for abort and deletion
are in ``endings``.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from ferry_core.api.report import Phase, Report, Stage
from ferry_core.errors import ExitCode
from ferry_core.reasons import Condition, Reason
from ferry_operator import endings
from ferry_operator.names import FINALIZER, Role
from ferry_operator.observe import Ended, Observed, PodView, Refusal
from ferry_operator.plan import (
    LONGEST_BACKOFF,
    RESYNC_SECONDS,
    SHORTEST_BACKOFF,
    SILENCE_SECONDS,
    SOON_SECONDS,
    AddFinalizer,
    CreatePod,
    DeletePod,
    EnsureSecret,
    Plan,
    SendDirective,
)
from ferry_operator.status import Draft

_NEEDS_FIX = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}  # fmt: skip
_NEVER_RAN = {"StartError", "ContainerCannotRun"}


def decide(seen: Observed) -> Plan:
    """The status to write and the actions to take now."""
    ferry = seen.ferry
    if ferry.deleting_since is not None:
        return endings.release(seen)
    if ferry.hands_off:
        return Plan()
    return _alive(seen, Draft(ferry.status, ferry.generation, seen.now))


def _alive(seen: Observed, draft: Draft) -> Plan:
    if _finished(seen):
        return endings.finished(seen, draft)
    if seen.ferry.aborted and seen.ferry.spec is not None:
        return endings.abort(seen, draft)
    if not seen.ferry.permitted:
        draft.withdrawn()
    if seen.ferry.spec is None:
        return _unreadable(seen, draft)
    if seen.copier is None:
        return _without_pod(seen, draft)
    return _with_pod(seen, seen.copier, draft)


def _finished(seen: Observed) -> bool:
    succeeded = seen.ferry.condition(Condition.SUCCEEDED)
    if succeeded is None:
        return False
    return bool(succeeded["status"] == "True" or succeeded["reason"] == Reason.ABORTED)


def _unreadable(seen: Observed, draft: Draft) -> Plan:
    """The spec is invalid, or of a newer version. A running copier gets the part that it can be told, and obeys at
    least a pause, an abort and a withdrawn approval; no Pod is created.
    """
    plan = Plan() if seen.copier is None else _with_pod(seen, seen.copier, draft)
    if seen.copier is not None and (_applied_before(seen) or seen.refusal is not None or draft.succeeded):
        return plan
    draft.condition(Condition.STALLED, "True", Reason.INVALID_FIELD, seen.ferry.problem)
    if not any(isinstance(action, SendDirective) for action in plan.actions):
        draft.condition(Condition.RECONCILING, "False", Reason.REFUSED)
    so = "no copier is started" if seen.copier is None else "the copier applies only what can change while it runs"
    draft.message(f"the operator cannot read this spec, so {so}: {seen.ferry.problem}")
    return replace(plan, status=draft.status())


def _applied_before(seen: Observed) -> bool:
    """Whether this generation was applied when it could be read: a newer CRD adds the defaults of its new fields to all
    Ferries.
    """
    said = seen.ferry.condition(Condition.RECONCILING)
    return said is not None and said["reason"] == Reason.SETTLED and said["observedGeneration"] == seen.ferry.generation


# -- no Pod ---------------------------------------------------------------------------------------------------------


def _without_pod(seen: Observed, draft: Draft) -> Plan:
    wait = _must_wait(seen)
    if wait is not None:
        _report_failure(draft, _exit_code(seen))
        return Plan(draft.status(), next_look=wait)
    if not seen.ferry.held:
        # Without the finalizer a deleted Ferry vanishes at once, and nothing would clean up after its copier.
        _starting(seen, draft, f"waiting for the operator's finalizer {FINALIZER}")
        return Plan(draft.status(), (AddFinalizer(),), urgent=True)
    if seen.refusal is not None:
        return _refused(seen, seen.refusal, draft)
    if not seen.admitted:
        return _queued(seen, draft)
    draft.started()
    _starting(seen, draft, "starting the copier")
    return Plan(draft.status(), (CreatePod(Role.COPIER),), SOON_SECONDS)


def _queued(seen: Observed, draft: Draft) -> Plan:
    _starting(seen, draft, "the operator's limit of running Ferries (maxRunning) is reached")
    draft.phase(Stage.PENDING)
    draft.condition(
        Condition.RECONCILING, "True", Reason.QUEUED, "the operator's limit of running Ferries (maxRunning) is reached"
    )
    failure = seen.ferry.status.get("failure")
    before = f"; retried then: {failure['message']}" if failure else ""
    draft.message(f"queued: the operator's limit of running Ferries (maxRunning) is reached{before}")
    return Plan(draft.status())


def _must_wait(seen: Observed) -> float | None:
    """Seconds until a failed Ferry is retried; None: now.

    The condition Succeeded tells when and with which spec it failed, because only a failure makes it False. Stalled may
    since have been set for what prevented the next try.
    """
    said = seen.ferry.condition(Condition.SUCCEEDED)
    code = _exit_code(seen)
    if "failure" not in seen.ferry.status or said is None or said["reason"] != Reason.FAILED:
        return None
    if code not in (ExitCode.CONFIG, ExitCode.DATA) or said.get("observedGeneration") != seen.ferry.generation:
        return None  # it was killed, or the spec was changed since
    if code == ExitCode.DATA:
        return RESYNC_SECONDS
    since = datetime.fromisoformat(said["lastTransitionTime"])
    last = seen.ferry.status["copier"]["lastTermination"].get("time")
    ended = datetime.fromisoformat(last) if last else since
    # As long as it has been failing so far. This doubles without a counter, which a restart would lose.
    pause = min(max((ended - since).total_seconds(), SHORTEST_BACKOFF), LONGEST_BACKOFF)
    left = (ended + timedelta(seconds=pause) - seen.now).total_seconds()
    return left if left > 0 else None


def _exit_code(seen: Observed) -> int | None:
    """Of the copier's last end, if it has ended."""
    code: int | None = seen.ferry.status.get("copier", {}).get("lastTermination", {}).get("exitCode")
    return code


def _refused(seen: Observed, refusal: Refusal, draft: Draft) -> Plan:
    """The cluster refuses the Pod."""
    message = f"the copier's Pod cannot be created: {refusal.message}"
    _starting(seen, draft, message)
    draft.condition(Condition.STALLED, "True", refusal.reason, message)
    left = SHORTEST_BACKOFF - (seen.now - refusal.since).total_seconds()
    if left > 0:
        return Plan(draft.status(), next_look=left)
    return Plan(draft.status(), (CreatePod(Role.COPIER),), SHORTEST_BACKOFF)


def _starting(seen: Observed, draft: Draft, message: str) -> None:
    draft.condition(Condition.RECONCILING, "True", Reason.COPIER_STARTING, message)
    draft.message(message)
    if draft.stage_now not in (Stage.PENDING, Stage.VALIDATING):
        draft.lag_unknown(Reason.COPIER_STARTING, message)
    if "failure" in seen.ferry.status:
        _keep_failure(seen, draft, message)
    else:
        draft.phase(draft.stage_now)
        draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)


def _keep_failure(seen: Observed, draft: Draft, message: str) -> None:
    """The failure stays in the status while it is retried, until the copier has passed validation."""
    failure = seen.ferry.status["failure"]
    if failure["retriable"]:
        draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)
    else:
        draft.phase(Phase.FAILED)
        draft.stalled_by_failure()
    news = "" if failure["message"] in message else message
    draft.message(f"{failure['message']} (retrying{': ' if news else ''}{news})")


# -- with a Pod -----------------------------------------------------------------------------------------------------


def _with_pod(seen: Observed, pod: PodView, draft: Draft) -> Plan:
    draft.pod(pod)
    last = _last_report(pod)
    if pod.phase == "Succeeded" or (last is not None and last.stage == Stage.COMPLETED):
        ends = (pod.ended_before, pod.ended)
        return endings.completed(draft, [seen.link.report, *(None if end is None else end.report for end in ends)])
    if pod.deleting:
        return _terminating(seen, pod, draft)
    if pod.ended is not None and pod.ended.exit_code in (ExitCode.CONFIG, ExitCode.DATA):
        return _failed(seen, pod, pod.ended, draft)
    why = _why_replace(seen, pod)
    if why is not None:
        _starting(seen, draft, why)
        return Plan(draft.status(), (DeletePod(pod),), SOON_SECONDS)
    return _running(seen, pod, draft) if pod.running else _not_running(seen, pod, draft)


def _last_report(pod: PodView) -> Report | None:
    """The newest report in the termination messages of this Pod."""
    ends = [end.report for end in (pod.ended, pod.ended_before) if end is not None]
    return next((report for report in ends if report is not None), None)


def _terminating(seen: Observed, pod: PodView, draft: Draft) -> Plan:
    """The Pod is being deleted: nothing is created under its name until it is gone."""
    out_of_reach = seen.out_of_reach(pod)
    if out_of_reach:
        draft.node_lost(out_of_reach)
        draft.message(out_of_reach)
        return Plan(draft.status())
    if "failure" not in seen.ferry.status:
        why = f" ({pod.lost})" if pod.lost else ""
        _starting(seen, draft, f"the copier's Pod is ending{why}; a new one will be created")
    return Plan(draft.status(), next_look=SOON_SECONDS * 5)


def _failed(seen: Observed, pod: PodView, ended: Ended, draft: Draft) -> Plan:
    """Exit code 64 or 65: a restart in place would fail again."""
    report = ended.report
    if report is not None:
        draft.report(report)
    found = report.failure if report is not None else None
    reason = found.reason if found else ended.reason or "Error"
    message = found.message if found else ended.message or f"the copier ended with exit code {ended.exit_code}"
    generation = max(pod.generation, _acknowledged(seen, report))
    draft.failure(reason, message, retriable=False)
    draft.condition(Condition.SUCCEEDED, "False", Reason.FAILED, message, generation)
    draft.idle(reason, message)
    _report_failure(draft, ended.exit_code)
    return Plan(draft.status(), (DeletePod(pod),), SOON_SECONDS)


def _report_failure(draft: Draft, code: int | None) -> None:
    """It has failed and is not retried now: report why, and when it will be."""
    message = draft.stalled_by_failure()
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    draft.phase(Phase.FAILED)
    by_itself = code == ExitCode.CONFIG
    by_hand = "retried when the spec changes; if you fixed a database, set spec.paused and unset it"
    again = "retried automatically" if by_itself else by_hand
    draft.message(f"{message} ({again})")


def _acknowledged(seen: Observed, report: Report | None) -> int:
    reports = [each for each in (report, seen.link.report) if each is not None]
    return max((each.copier.acknowledged_generation or 0 for each in reports), default=0)


def _why_replace(seen: Observed, pod: PodView) -> str | None:
    if pod.lost:
        return f"the copier's node was given up ({pod.lost}); a new copier takes over once the Pod is gone"
    if pod.phase == "Failed":
        return f"the copier's Pod was ended by Kubernetes ({pod.evicted}); a new one takes over"
    if seen.ferry.spec is None:
        return None  # no other Pod could be created
    cutting = seen.ferry.stage == Stage.CUTTING_OVER
    if cutting and pod.waiting is not None and pod.waiting[0] == "CrashLoopBackOff":
        # The source may be locked: the kubelet's restart delay of up to 5 min is too long.
        return "the copier died during the cutover; a new one takes over at once"
    if _outdated(seen, pod) and not _may_cut_over(seen, pod):
        return "the copier is restarted with the changed spec"
    return None


def _outdated(seen: Observed, pod: PodView) -> bool:
    """Whether the spec needs another Pod."""
    return seen.ferry.spec is not None and pod.digest != seen.ferry.digests[Role.COPIER]


def _may_cut_over(seen: Observed, pod: PodView) -> bool:
    """Whether a cutover attempt may be running or has just ended: it finishes first.

    The recorded stage alone does not tell. It outlives a copier that died during the cutover; then the source may be
    locked, and the changed spec may be what lets the next copier start.
    """
    report = seen.link.report
    stage = seen.ferry.stage if report is None else report.stage
    return pod.running and stage in (Stage.CUTTING_OVER, Stage.COMPLETED) and _silent(seen) is None


def _not_running(seen: Observed, pod: PodView, draft: Draft) -> Plan:
    reason, text = pod.waiting or ("", "")
    if seen.refusal is not None:
        message = f"the copier's Secret cannot be created: {seen.refusal.message}"
        _starting(seen, draft, message)
        draft.condition(Condition.STALLED, "True", seen.refusal.reason, message)
        return Plan(draft.status(), (EnsureSecret(pod),), SHORTEST_BACKOFF)
    secret = (EnsureSecret(pod),) if pod.restarts == 0 and pod.last_end is None else ()
    if reason in _NEEDS_FIX:
        message = f"the copier's container cannot start: {reason}: {text}"
        _starting(seen, draft, message)
        draft.condition(Condition.STALLED, "True", reason, message)
        return Plan(draft.status(), secret)
    if reason == "CrashLoopBackOff" and pod.last_end is not None:
        last = pod.last_end
        found = last.report.failure if last.report is not None else None
        why = found.message if found else _end_reason(last)
        message = f"the copier ended with exit code {last.exit_code} and is restarted: {why}"
        _starting(seen, draft, message)
        draft.message(message)
        if found is not None and not draft.failed:
            draft.failure(found.reason, found.message, retriable=found.retriable)
        return Plan(draft.status())
    if pod.unschedulable:
        _starting(seen, draft, f"no node accepts the copier's Pod: {pod.unschedulable}")
        return Plan(draft.status(), secret)
    detail = text or seen.where_to_look(pod)
    _starting(seen, draft, "the copier's container is starting" + (f": {detail}" if detail else ""))
    return Plan(draft.status(), secret, SOON_SECONDS * 5)


def _end_reason(ended: Ended) -> str:
    """The reason; with the message if the process never ran: then it is the kubelet's, not the end of a log."""
    told = ended.reason in _NEVER_RAN and ended.message
    return f"{ended.reason}: {' '.join(ended.message.split())}" if told else ended.reason or "Error"


def _running(seen: Observed, pod: PodView, draft: Draft) -> Plan:
    report, generation = seen.link.report, seen.ferry.generation
    if report is None:
        return _no_report_yet(seen, pod, draft)
    draft.report(report)
    if report.stage not in (Stage.PENDING, Stage.VALIDATING):
        draft.no_failure()
        if not any(each.type == Condition.STALLED for each in report.conditions):
            draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)
    elif "failure" in seen.ferry.status:
        draft.phase(Phase.FAILED)
        _keep_failure(seen, draft, report.message)
    silent = _silent(seen)
    if silent is not None:
        draft.lag_unknown(Reason.COPIER_SILENT, silent)
        draft.message(silent)
    if _outdated(seen, pod) and report.stage != Stage.COMPLETED:
        text = "the running cutover attempt finishes first, then the copier is restarted with the changed spec"
        draft.condition(Condition.RECONCILING, "True", Reason.NEW_GENERATION, text)
        return Plan(draft.status(), next_look=SOON_SECONDS)
    if report.copier.acknowledged_generation == generation or report.stage == Stage.COMPLETED:
        draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
        return Plan(draft.status(), next_look=RESYNC_SECONDS if seen.link.silent_since is None else SILENCE_SECONDS)
    if seen.refusal is not None:
        draft.condition(Condition.RECONCILING, "False", Reason.REFUSED, seen.refusal.message)
        draft.condition(Condition.STALLED, "True", seen.refusal.reason, seen.refusal.message)
        applied = "it applies only a pause, an abort, or a withdrawn approval"
        draft.message(f"the copier refuses the changed spec; {applied}: {seen.refusal.message}")
        tried = (seen.now - seen.refusal.since).total_seconds()
        again = (SendDirective(),) if tried >= SHORTEST_BACKOFF else ()
        return Plan(draft.status(), again, SHORTEST_BACKOFF)
    draft.condition(Condition.RECONCILING, "True", Reason.NEW_GENERATION, "sending the changed spec to the copier")
    missed = draft.withdrawal_missed(report)
    return Plan(draft.status(), (SendDirective(None if missed == generation else missed),), SOON_SECONDS)


def _no_report_yet(seen: Observed, pod: PodView, draft: Draft) -> Plan:
    """Either the copier has just started, or this operator has: then the recorded status stays for a while."""
    if not _status_is_current(seen, pod):
        _starting(seen, draft, "the copier is starting" + (f": {seen.link.problem}" if seen.link.problem else ""))
        return Plan(draft.status(), next_look=SOON_SECONDS * 5)
    silent = _silent(seen)
    told = seen.ferry.status["copier"].get("acknowledgedGeneration") == seen.ferry.generation
    if told and silent is None:
        return Plan(None, next_look=SOON_SECONDS * 5)
    if not told:
        draft.condition(Condition.RECONCILING, "True", Reason.NEW_GENERATION, "sending the changed spec to the copier")
    if silent is not None:
        draft.lag_unknown(Reason.COPIER_SILENT, silent)
        draft.message(silent)
    return Plan(draft.status(), next_look=SOON_SECONDS * 5)


def _status_is_current(seen: Observed, pod: PodView) -> bool:
    """Whether the recorded status is about this process. Until a new one reports, it is CopierStarting."""
    reconciling = seen.ferry.condition(Condition.RECONCILING)
    starting = reconciling is None or reconciling["reason"] == Reason.COPIER_STARTING
    return not starting and seen.ferry.status.get("copier", {}).get("restarts") == pod.restarts


def _silent(seen: Observed) -> str | None:
    since = seen.link.silent_since
    if since is None or (seen.now - since).total_seconds() < SILENCE_SECONDS:
        return None
    return f"the copier has not answered since {since:%H:%M:%S} UTC: {seen.link.problem}"
