"""How a Ferry ends: success, abort, deletion with cleanup. The part of ``decide`` that uses Pods of their own for the
databases (``ferry abort``, ``ferry cleanup``).
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from ferry_core.api.report import Outcome, Phase, Report, Stage
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
    PostEvent,
)
from ferry_operator.status import Draft

PATIENCE = timedelta(minutes=10)
"""How long an abort or a deletion may wait for an unreachable database before Stalled is set."""

_NO_POD = {Reason.POD_REFUSED, Reason.POD_NAME_TAKEN, Reason.NAMESPACE_TERMINATING}


def completed(draft: Draft, reports: Sequence[Report | None]) -> Plan:
    """The cutover is done. ``reports``: reports of the copier's processes, newest last."""
    said = [each for each in reports if each is not None and each.stage == Stage.COMPLETED]
    draft.no_failure()
    if said:
        draft.report(said[-1])
    text = "; ".join(filter(None, ("cut over; writes may move to the target", draft.not_compared)))
    if not said:
        draft.message(text)
        draft.condition(Condition.CUT_OVER, "True", Reason.DONE)
    _late_writes(draft, said)
    draft.stage(Stage.COMPLETED)
    draft.phase(Stage.COMPLETED)
    draft.finished()
    draft.condition(Condition.SUCCEEDED, "True", Reason.COMPLETED, text)
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    return Plan(draft.status())


def _late_writes(draft: Draft, said: Sequence[Report]) -> None:
    """Report late writes on the source by the newest count. It stays: a restarted process does not know it."""
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
    """Completed or aborted: only the time to live remains. A copier may still watch the source for late writes."""
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    if seen.copier is not None:
        draft.pod(seen.copier)
        ends = (seen.copier.ended_before, seen.copier.ended)
        words = [None if end is None else end.report for end in ends]
        # A process that has ended wrote its termination message after its last answer over the network.
        reports = [*words, seen.link.report] if seen.copier.running else [seen.link.report, *words]
        _late_writes(draft, [each for each in reports if each is not None and each.stage == Stage.COMPLETED])
    draft.over()
    stop_helper = _delete_helper(seen.helper)
    spec = seen.ferry.spec
    ttl = None if spec is None else spec.ttl_seconds_after_finished
    ended = moment(seen.ferry.status.get("completionTime"))
    called = seen.ferry.condition(Condition.STALLED)
    if ttl is None or ended is None or (called is not None and called["status"] == "True"):
        return Plan(draft.status(), stop_helper)  # a Ferry that needs a person is kept
    left = (ended + timedelta(seconds=ttl) - seen.now).total_seconds()
    if left <= 0:
        return Plan(draft.status(), (DeleteFerry(),))
    return Plan(draft.status(), stop_helper, next_look=min(left, RESYNC_SECONDS))


def _delete_helper(helper: PodView | None) -> tuple[Action, ...]:
    """An abort that came too late would be restarted for ever, and refused by the databases each time."""
    if helper is None or helper.deleting or helper.phase == "Succeeded":
        return ()
    return (DeletePod(helper),)


def _ever_started(seen: Observed) -> bool:
    """Whether a copier may have written anywhere."""
    if seen.copier is not None or seen.helper is not None:
        return True
    status, stalled = seen.ferry.status, seen.ferry.condition(Condition.STALLED)
    refused = stalled is not None and stalled["status"] == "True" and stalled["reason"] in _NO_POD
    # startTime is recorded before the first Pod is created; if that was refused, Stalled says so.
    return "startTime" in status and not (refused and "podName" not in status.get("copier", {}))


# -- abort ----------------------------------------------------------------------------------------------------------


def abort(seen: Observed, draft: Draft) -> Plan:
    """Stop the copier, then run ``ferry abort``: it fences off what may still run and allows writes on the source."""
    if not _ever_started(seen):
        return _aborted(draft, Outcome(message="aborted before anything was moved"))
    helper = seen.helper
    if seen.copier is not None:
        last = seen.copier.last_end
        if last is not None and last.report is not None and last.report.stage == Stage.COMPLETED:
            return completed(draft, (last.report,))
        if not _abort_beside_copier(seen):
            _report_progress(seen, draft, "aborting", "stopping the copier")
            actions = () if seen.copier.deleting else (DeletePod(seen.copier),)
            return Plan(draft.status(), actions, SOON_SECONDS, urgent=True)
    elif helper is not None and helper.role is Role.ABORT and helper.phase == "Succeeded":
        return _aborted(draft, _outcome(helper, "aborted; the target is kept"))
    if helper is not None and _was_cut_over(helper):
        return completed(draft, ())
    problem = _failure(seen) or _delay(seen)
    _report_progress(seen, draft, "aborting", _helper_progress(helper) + problem)
    if problem and helper is not None and helper.created is not None and seen.now - helper.created > PATIENCE:
        draft.condition(Condition.STALLED, "True", Reason.ABORT_FAILED, f"the abort has not succeeded{problem}")
    return Plan(draft.status(), _run_helper(seen, Role.ABORT), SOON_SECONDS * 5, urgent=True)


def _abort_beside_copier(seen: Observed) -> bool:
    """Whether ``ferry abort`` runs although the copier may still run on a lost node: the source may be locked.

    The abort fences that copier off for good, because it records in the databases that this Ferry was aborted. They
    know only a Ferry whose copy has started. A cleanup must wait: it removes that record, and a kubelet that is cut off
    could start a copier that begins again.
    """
    started = seen.ferry.stage not in (Stage.PENDING, Stage.VALIDATING, Stage.COMPLETED) and seen.ferry.spec is not None
    return started and seen.copier is not None and bool(seen.out_of_reach(seen.copier))


def _helper_progress(helper: PodView | None) -> str:
    if helper is not None and helper.phase == "Succeeded":
        return "released both databases"
    return "allowing writes on the source again"


def _was_cut_over(helper: PodView) -> bool:
    end = helper.last_end
    return end is not None and end.exit_code == ExitCode.CONFIG and end.error == Reason.ALREADY_CUT_OVER


def _outcome(helper: PodView, otherwise: str) -> Outcome:
    """What a helper that succeeded has done; a helper of another version may not report it."""
    said = None if helper.last_end is None else helper.last_end.outcome
    return said or Outcome(message=otherwise)


def _aborted(draft: Draft, outcome: Outcome) -> Plan:
    draft.no_failure()
    draft.phase(Phase.ABORTED)
    draft.finished()
    draft.aborted(outcome.message)
    draft.message(str(outcome))
    draft.condition(Condition.SUCCEEDED, "False", Reason.ABORTED, outcome.message)
    if outcome.needs_person:
        draft.condition(Condition.STALLED, "True", Reason.SOURCE_READ_ONLY, outcome.needs_person)
    else:
        draft.condition(Condition.STALLED, "False", Reason.NOT_STALLED)
    draft.condition(Condition.RECONCILING, "False", Reason.SETTLED)
    return Plan(draft.status())


def _report_progress(seen: Observed, draft: Draft, doing: str, message: str) -> None:
    """Report what is being done, or which lost Pod it waits for."""
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
    """Stop the copier, run ``ferry cleanup`` to remove its records from the target, then release the object."""
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
        # The Pod stays until the Ferry is gone: kopf may call again, and must see that the cleanup is done.
        return Plan(None, _report_cleanup(_outcome(seen.helper, "cleaned up")), released=True)
    if seen.ferry.spec is None:
        return _needs_person(seen, draft, Reason.INVALID_FIELD, f"cannot clean up: {seen.ferry.problem}")
    _report_progress(seen, draft, "being deleted", "cleaning up on the target" + (_failure(seen) or _delay(seen)))
    plan = Plan(draft.status(), _run_helper(seen, Role.CLEANUP), SOON_SECONDS * 5, urgent=True)
    problem = _cleanup_failed(seen)
    if not problem:
        return plan
    return replace(plan, status=_needs_person(seen, draft, Reason.CLEANUP_FAILED, problem).status)


def _report_cleanup(outcome: Outcome) -> tuple[Action, ...]:
    """Report by Events, which survive the Ferry; what a person must decide gets its own Event, because an Event is
    short.
    """
    done = PostEvent("Normal", Reason.CLEANED_UP, outcome.message)
    if not outcome.needs_person:
        return (done,)
    return (done, PostEvent("Warning", Reason.SOURCE_READ_ONLY, outcome.needs_person))


def _cleanup_failed(seen: Observed) -> str:
    """Why Stalled is set. Pulling an image or finding a node may take minutes and is no failure before that."""
    since, failure, delay = seen.ferry.deleting_since, _failure(seen), _delay(seen)
    minutes = PATIENCE.seconds // 60
    if failure and not _known_to_have_started(seen):
        return f"the cleanup fails, and no copy is known to have started{failure}"
    if failure and since is not None and seen.now - since > PATIENCE:
        return f"the cleanup has failed for {minutes} min{failure}"
    made = None if seen.helper is None else seen.helper.created
    if delay and not failure and made is not None and seen.now - made > PATIENCE:
        return f"the cleanup has not started for {minutes} min{delay}"
    return ""


def _known_to_have_started(seen: Observed) -> bool:
    """Whether validation was passed, as far as we know. If not, a wrong password is likely: report it at once."""
    validated = seen.ferry.condition(Condition.VALIDATED)
    early = seen.ferry.stage in (Stage.PENDING, Stage.VALIDATING)
    return not early or (validated is not None and validated["status"] == "True")


def _needs_person(seen: Observed, draft: Draft, reason: Reason, text: str) -> Plan:
    """A person must decide whether to delete the Ferry without cleanup."""
    where = f"{seen.ferry.name} -n {seen.ferry.namespace}"
    way_out = f"{text}; to delete without cleanup: kubectl annotate ferry {where} {SKIP_CLEANUP}=true"
    draft.condition(Condition.STALLED, "True", reason, way_out)
    draft.message(way_out)
    return Plan(draft.status())


def _run_helper(seen: Observed, role: Role) -> tuple[Action, ...]:
    """The actions that make the Pod of ``role`` run with the newest spec."""
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
    """Why the helper failed or cannot start, in brackets."""
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
    """What the helper waits for before it starts, in brackets."""
    helper = seen.helper
    if helper is None or helper.running or helper.deleting:
        return ""
    stuck = helper.unschedulable or seen.where_to_look(helper)
    return f" (its Pod has not started: {stuck})" if stuck else ""
