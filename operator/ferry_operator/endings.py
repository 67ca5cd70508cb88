"""How a Ferry ends: rest after success, abort, deletion with cleanup. The part of ``decide`` that acts on databases by
Pods of their own.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from ferry_core.api.report import Phase, Report, Stage
from ferry_core.errors import ExitCode
from ferry_core.reasons import Condition, Reason
from ferry_operator.names import SKIP_CLEANUP, Role
from ferry_operator.observe import Observed, PodView, moment
from ferry_operator.plan import (
    RESYNC_SECONDS,
    SHORTEST_BACKOFF,
    SOON_SECONDS,
    Action,
    CreatePod,
    DeleteFerry,
    DeletePod,
    EnsureSecret,
    Plan,
)
from ferry_operator.status import Draft

PATIENCE = timedelta(minutes=10)
"""How long a deletion may wait for an unreachable database before a person is called."""

_NO_POD = {Reason.POD_REFUSED, Reason.POD_NAME_TAKEN, Reason.NAMESPACE_TERMINATING}


def completed(draft: Draft, reports: Sequence[Report | None]) -> Plan:
    """Cut over; with what the copier's processes said since, newest last, if it could be had."""
    said = [each for each in reports if each is not None and each.stage == Stage.COMPLETED]
    draft.no_failure()
    if said:
        draft.report(said[-1])
    else:
        draft.message("cut over; writes may move to the target")
        draft.condition(Condition.CUT_OVER, "True", Reason.DONE)
    _late_writes(draft, said)
    draft.stage(Stage.COMPLETED)
    draft.phase(Stage.COMPLETED)
    draft.finished()
    draft.condition(Condition.SUCCEEDED, "True", Reason.COMPLETED, "cut over; writes may move to the target")
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    return Plan(draft.status())


def _late_writes(draft: Draft, said: Sequence[Report]) -> None:
    """Late writes on the source: the newest count, which stays told; a process started again knows nothing of them."""
    told = [stalled for report in said if (stalled := report.condition(Condition.STALLED)) and stalled.status == "True"]
    if told:
        draft.condition(Condition.STALLED, "True", told[-1].reason, told[-1].message)
    else:
        draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)
        draft.keep_stalled(Reason.SOURCE_WRITTEN_AFTER_CUTOVER)
    problem = draft.stalled_for(Reason.SOURCE_WRITTEN_AFTER_CUTOVER)
    if problem is not None:
        draft.message(f"cut over; but {problem}")


def finished(seen: Observed, draft: Draft) -> Plan:
    """Finished: nothing more happens, but for the time to live. A copier still watches the source for late writes."""
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    if seen.copier is not None:
        draft.pod(seen.copier)
        ends = (seen.copier.ended_before, seen.copier.ended)
        words = [None if end is None else end.report for end in ends]
        # Of a process that has ended, the network's last answer is older than its last words.
        reports = [*words, seen.link.report] if seen.copier.running else [seen.link.report, *words]
        _late_writes(draft, [each for each in reports if each is not None and each.stage == Stage.COMPLETED])
    draft.over()
    vain = _delete_helper(seen.helper)
    spec = seen.ferry.spec
    ttl = None if spec is None else spec.ttl_seconds_after_finished
    ended = moment(seen.ferry.status.get("completionTime"))
    called = seen.ferry.condition(Condition.STALLED)
    if ttl is None or ended is None or (called is not None and called["status"] == "True"):
        return Plan(draft.status(), vain)  # for good, or until the person that is needed has read why
    left = (ended + timedelta(seconds=ttl) - seen.now).total_seconds()
    if left <= 0:
        return Plan(draft.status(), (DeleteFerry(),))
    return Plan(draft.status(), vain, next_look=min(left, RESYNC_SECONDS))


def _delete_helper(helper: PodView | None) -> tuple[Action, ...]:
    """An abort that came too late would be started again for ever, and refused by the databases each time."""
    if helper is None or helper.deleting or helper.phase == "Succeeded":
        return ()
    return (DeletePod(helper),)


def _ever_started(seen: Observed) -> bool:
    """Whether a copier may have written anywhere."""
    if seen.copier is not None or seen.helper is not None:
        return True
    status, stalled = seen.ferry.status, seen.ferry.condition(Condition.STALLED)
    refused = stalled is not None and stalled["status"] == "True" and stalled["reason"] in _NO_POD
    # On record is what was to be done, and of a Pod that was never there that it could not be made.
    return "startTime" in status and not (refused and "podName" not in status.get("copier", {}))


# -- abort ----------------------------------------------------------------------------------------------------------


def abort(seen: Observed, draft: Draft) -> Plan:
    """End the copier, then let ``ferry abort`` fence off whatever may still run and allow writes on the source."""
    if not _ever_started(seen):
        return _aborted(draft, "aborted before anything was moved")
    helper = seen.helper
    if seen.copier is not None:
        last = seen.copier.last_end
        if last is not None and last.report is not None and last.report.stage == Stage.COMPLETED:
            return completed(draft, (last.report,))
        if not _abort_beside_copier(seen):
            _report_progress(seen, draft, "aborting", "the copier is told to end")
            actions = () if seen.copier.deleting else (DeletePod(seen.copier),)
            return Plan(draft.status(), actions, SOON_SECONDS, urgent=True)
    elif helper is not None and helper.role is Role.ABORT and helper.phase == "Succeeded":
        return _aborted(draft, "aborted; the target is kept as it is")
    if helper is not None and _was_cut_over(helper):
        return completed(draft, ())
    problem = _failure(seen) or _delay(seen)
    _report_progress(seen, draft, "aborting", _helper_progress(helper) + problem)
    if problem and helper is not None and helper.created is not None and seen.now - helper.created > PATIENCE:
        draft.condition(Condition.STALLED, "True", Reason.ABORT_FAILED, f"the abort has not succeeded yet{problem}")
    return Plan(draft.status(), _run_helper(seen, Role.ABORT), SOON_SECONDS * 5, urgent=True)


def _abort_beside_copier(seen: Observed) -> bool:
    """Whether ``ferry abort`` runs although nobody can tell whether the copier has ended: the source may be locked.

    It fences off what may still run, for good: where the databases know that this Ferry was aborted, no copier of it
    begins. Only a Ferry that a copier has begun is known there. A cleanup is not done beside one: it takes away that
    knowledge, and a kubelet that is cut off would start a copier that begins anew.
    """
    begun = seen.ferry.stage not in (Stage.PENDING, Stage.VALIDATING, Stage.COMPLETED) and seen.ferry.spec is not None
    return begun and seen.copier is not None and bool(seen.out_of_reach(seen.copier))


def _helper_progress(helper: PodView | None) -> str:
    if helper is not None and helper.phase == "Succeeded":
        return "both databases are let go of"
    return "writes on the source are allowed again if they were stopped"


def _was_cut_over(helper: PodView) -> bool:
    end = helper.last_end
    return end is not None and end.exit_code == ExitCode.CONFIG and end.error == Reason.ALREADY_CUT_OVER


def _aborted(draft: Draft, message: str) -> Plan:
    draft.no_failure()
    draft.phase(Phase.ABORTED)
    draft.finished()
    draft.aborted(message)
    draft.message(message)
    draft.condition(Condition.SUCCEEDED, "False", Reason.ABORTED, message)
    draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    return Plan(draft.status())


def _report_progress(seen: Observed, draft: Draft, doing: str, message: str) -> None:
    """What is being done; or that a Pod holds it up, of which nobody knows whether it has ended."""
    pods = [pod for pod in (seen.copier, seen.helper) if pod is not None]
    out_of_reach = next((text for text in map(seen.out_of_reach, pods) if text), "")
    if out_of_reach:
        draft.node_lost(out_of_reach)
    elif draft.stalled_for(Reason.NODE_LOST):
        draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)
    text = f"{doing}: {message}{'; ' if out_of_reach else ''}{out_of_reach}"
    draft.condition(Condition.RECONCILING, "True", Reason.NEW_GENERATION, text)
    draft.message(text)


# -- deletion -------------------------------------------------------------------------------------------------------


def release(seen: Observed) -> Plan:
    """End the copier, let ``ferry cleanup`` take away what it kept on the target, then let the object go."""
    pods = [pod for pod in (seen.copier, seen.helper) if pod is not None]
    ending = tuple(DeletePod(pod) for pod in pods if not pod.deleting)
    if seen.namespace_ending or seen.ferry.skip_cleanup or not _ever_started(seen):
        return Plan(None, ending, released=True)
    draft = Draft(seen.ferry.status, seen.ferry.generation, seen.now)
    if seen.copier is not None or (seen.helper is not None and seen.helper.role is not Role.CLEANUP):
        beside = _abort_beside_copier(seen)
        fenced_off = _helper_progress(seen.helper) + (_failure(seen) or _delay(seen))
        _report_progress(seen, draft, "being deleted", fenced_off if beside else "waiting for the Pod to end")
        return Plan(draft.status(), _run_helper(seen, Role.ABORT) if beside else ending, SOON_SECONDS, urgent=True)
    if seen.helper is not None and seen.helper.phase == "Succeeded":
        # It stays until the Ferry takes it along: kopf may ask again, and would find nothing done.
        return Plan(None, released=True)
    if seen.ferry.spec is None:
        return _needs_person(seen, draft, Reason.INVALID_FIELD, f"nothing can be cleaned up: {seen.ferry.problem}")
    _report_progress(seen, draft, "being deleted", "cleaning up on the target" + (_failure(seen) or _delay(seen)))
    plan = Plan(draft.status(), _run_helper(seen, Role.CLEANUP), SOON_SECONDS * 5, urgent=True)
    problem = _cleanup_failed(seen)
    if not problem:
        return plan
    return replace(plan, status=_needs_person(seen, draft, Reason.CLEANUP_FAILED, problem).status)


def _cleanup_failed(seen: Observed) -> str:
    """What a person must know of it. To pull an image, or to find a node, may take minutes and is no failure before."""
    since, failure, delay = seen.ferry.deleting_since, _failure(seen), _delay(seen)
    minutes = PATIENCE.seconds // 60
    if failure and not _known_to_have_started(seen):
        return f"cleaning up fails, and no copy is known to have begun{failure}"
    if failure and since is not None and seen.now - since > PATIENCE:
        return f"cleaning up has failed for {minutes} min{failure}"
    made = None if seen.helper is None else seen.helper.created
    if delay and not failure and made is not None and seen.now - made > PATIENCE:
        return f"cleaning up has not begun for {minutes} min{delay}"
    return ""


def _known_to_have_started(seen: Observed) -> bool:
    """Past validation, as far as a copier could tell us. Waiting mends no wrong password; a person is told at once."""
    validated = seen.ferry.condition(Condition.VALIDATED)
    early = seen.ferry.stage in (Stage.PENDING, Stage.VALIDATING)
    return not early or (validated is not None and validated["status"] == "True")


def _needs_person(seen: Observed, draft: Draft, reason: Reason, text: str) -> Plan:
    """A person decides whether the Ferry goes without being cleaned up."""
    where = f"{seen.ferry.name} -n {seen.ferry.namespace}"
    way_out = f"{text}; to delete without it: kubectl annotate ferry {where} {SKIP_CLEANUP}=true"
    draft.condition(Condition.STALLED, "True", reason, way_out)
    draft.message(way_out)
    return Plan(draft.status())


def _run_helper(seen: Observed, role: Role) -> tuple[Action, ...]:
    """See to it that the Pod of ``role`` runs, made from the newest spec."""
    helper = seen.helper
    if helper is None:
        waited = seen.refusal is None or (seen.now - seen.refusal.since).total_seconds() >= SHORTEST_BACKOFF
        return (CreatePod(role),) if waited else ()
    if helper.deleting:
        return ()
    if helper.role is not role or helper.phase == "Failed" or helper.digest != seen.ferry.digests[role]:
        return (DeletePod(helper),)
    if not helper.running and helper.last_end is None:
        return (EnsureSecret(helper),)
    return ()


def _failure(seen: Observed) -> str:
    """Why the helper's work was done in vain, or cannot begin; in brackets."""
    if seen.refusal is not None:
        return f" ({seen.refusal.message})"
    helper = seen.helper
    if helper is None or seen.out_of_reach(helper):
        return ""
    if helper.last_end is not None and helper.last_end.exit_code:
        said = helper.last_end.message.strip().splitlines()
        return f" ({said[-1] if said else f'exit code {helper.last_end.exit_code}'})"
    if helper.waiting is not None and helper.waiting[1]:
        return f" ({': '.join(helper.waiting)})"
    return ""


def _delay(seen: Observed) -> str:
    """What the helper waits for before it is started; in brackets."""
    helper = seen.helper
    if helper is None or helper.running or helper.deleting:
        return ""
    stuck = helper.unschedulable or seen.where_to_look(helper)
    return f" (its Pod is not started yet: {stuck})" if stuck else ""
