"""Builds a Ferry's status: the copier's report, overlaid with what only the operator sees. Called by ``decide``.

Pure. Each status is complete, since server-side apply removes what is left out.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from ferry_core.api.conditions import MESSAGE_CHARACTERS, ConditionStatus, transition_time
from ferry_core.api.report import Report, Stage
from ferry_core.api.sentences import message_or_words, sentence, words
from ferry_core.errors import ExitCode
from ferry_core.reasons import Condition, Reason
from ferry_operator.names import Object
from ferry_operator.observe import PodView

_EARLY = (Stage.PENDING.value, Stage.VALIDATING.value)

_FAILURE = (Condition.SUCCEEDED, Condition.STALLED)

# Set when a Ferry is first seen: a condition is never absent.
_FIRST: tuple[tuple[Condition, ConditionStatus, str], ...] = (
    (Condition.SUCCEEDED, "Unknown", Reason.IN_PROGRESS),
    (Condition.VALIDATED, "Unknown", Reason.NOT_STARTED),
    (Condition.COPY_COMPLETE, "False", Reason.NOT_STARTED),
    (Condition.CAUGHT_UP, "Unknown", Reason.LAG_UNKNOWN),
    (Condition.READY_FOR_CUTOVER, "False", Reason.NOT_STARTED),
    (Condition.CUT_OVER, "False", Reason.IN_PROGRESS),
    (Condition.VERIFIED, "Unknown", Reason.VERIFICATION_PENDING),
    (Condition.PAUSED, "False", Reason.NOT_PAUSED),
    (Condition.THROTTLED, "False", Reason.NOT_THROTTLED),
    (Condition.STALLED, "False", Reason.NOT_STALLED),
    (Condition.RECONCILING, "True", Reason.NEW_GENERATION),
)

# Changes of these are rate-limited.
_NUMBERS = ("progress", "replication", "verification", "message")


_OURS = frozenset(map(str, Condition))


def own_part(status: Mapping[str, Any]) -> Object:
    """Without the conditions of other controllers: if we wrote them too, they could not remove them any more."""
    listed = [each for each in status.get("conditions", ()) if each["type"] in _OURS]
    return {**status, **({"conditions": listed} if "conditions" in status else {})}


class Draft:
    """The next status, starting from the present one."""

    def __init__(self, present: Mapping[str, Any], generation: int, now: datetime) -> None:
        self._present = present
        self._generation = generation
        self._made_from = 0
        self._now = now
        self._next: Object = copy.deepcopy({**present})
        self._next.setdefault("stage", Stage.PENDING.value)
        self._next.setdefault("phase", Stage.PENDING.value)
        self._next["observedGeneration"] = generation
        listed: list[Object] = self._next.pop("conditions", [])
        self._before = {each["type"]: each for each in listed if each["type"] in _OURS}
        self._conditions = dict(self._before)
        for kind, status, reason in _FIRST:
            if kind not in self._conditions:
                self.condition(kind, status, reason)

    # -- writing ------------------------------------------------------------------------------------------------------

    def condition(
        self, kind: str, status: ConditionStatus, reason: str, message: str = "", generation: int | None = None
    ) -> None:
        """The transition time changes only with the status, even if a round sets the condition more than once."""
        before = self._before.get(kind)
        changed = None if before is None else (before["status"], before["lastTransitionTime"])
        self._conditions[kind] = {
            "type": str(kind),
            "status": status,
            "reason": str(reason),
            "message": message_or_words(kind, status, reason, message)[:MESSAGE_CHARACTERS],
            "lastTransitionTime": transition_time(changed, status, stamp(self._now)),
            "observedGeneration": self._generation if generation is None else generation,
        }

    def keep_stalled(self, reason: str) -> None:
        """Keep Stalled as it was if it has this reason."""
        before = self._before.get(Condition.STALLED)
        if before is not None and before["status"] == "True" and before["reason"] == reason:
            self._conditions[Condition.STALLED] = before

    def stalled_for(self, reason: str) -> str | None:
        """The message of Stalled if it is True for this reason."""
        reported = self._conditions[Condition.STALLED]
        return str(reported["message"]) if (reported["status"], reported["reason"]) == ("True", reason) else None

    def message(self, message: str) -> None:
        self._next["message"] = message[:MESSAGE_CHARACTERS]

    def phase(self, phase: str) -> None:
        self._next["phase"] = phase

    def stage(self, stage: str) -> None:
        self._next["stage"] = stage

    @property
    def not_compared(self) -> str:
        """What the verification that was passed says of rows that it could not see."""
        verified = self._conditions[Condition.VERIFIED]
        said = str(verified["message"]) if verified["status"] == "True" else ""
        return "" if said == words(Condition.VERIFIED, "True", verified["reason"]) else said

    @property
    def stage_now(self) -> str:
        return str(self._next["stage"])

    def failure(self, reason: str, message: str, *, retriable: bool) -> None:
        self._next["failure"] = {
            "reason": reason,
            "message": message[:MESSAGE_CHARACTERS],
            "retriable": retriable,
        }

    @property
    def succeeded(self) -> bool:
        return bool(self._conditions[Condition.SUCCEEDED]["status"] == "True")

    @property
    def failed(self) -> bool:
        """Whether it failed in a way that a restart in place does not fix."""
        return self._conditions[Condition.SUCCEEDED]["reason"] == Reason.FAILED and "failure" in self._next

    def stalled_by_failure(self) -> str:
        """Set Stalled for the recorded failure, whatever was set for a Pod since; returns the failure's message."""
        failure, generation = self._next["failure"], self._conditions[Condition.SUCCEEDED].get("observedGeneration")
        self.condition(Condition.STALLED, "True", failure["reason"], failure["message"], generation)
        return str(failure["message"])

    def no_failure(self) -> None:
        self._next.pop("failure", None)

    def over(self) -> None:
        """The conditions are final: a changed spec does not make them outdated."""
        self._conditions = {
            kind: entry | {"observedGeneration": self._generation} for kind, entry in self._conditions.items()
        }

    def finished(self) -> None:
        self._next.setdefault("completionTime", stamp(self._now))
        self._no_lag()

    def aborted(self, message: str) -> None:
        """Reset the conditions that hold only while a copier runs."""
        self.idle(Reason.ABORTED, message)
        self.condition(Condition.READY_FOR_CUTOVER, "False", Reason.ABORTED, message)
        self.condition(Condition.CUT_OVER, "False", Reason.ABORTED, message)
        self.condition(Condition.PAUSED, "False", Reason.NOT_PAUSED)

    def idle(self, reason: str, message: str) -> None:
        """No copier runs: lag is unknown, nothing is ready to cut over or throttled."""
        self.lag_unknown(reason, message)
        if self._conditions[Condition.READY_FOR_CUTOVER]["status"] != "False":
            self.condition(Condition.READY_FOR_CUTOVER, "Unknown", reason, message)
        self.condition(Condition.THROTTLED, "False", Reason.NOT_THROTTLED)
        if "throttle" in self._next:
            self._next["throttle"] = {"active": False}

    def started(self) -> None:
        self._next.setdefault("startTime", stamp(self._now))

    def pod(self, pod: PodView) -> None:
        """Record the copier's Pod."""
        self._made_from = pod.generation
        copier = self._next.setdefault("copier", {})
        copier |= {"podName": pod.name, "image": pod.image, "restarts": pod.restarts}
        end = pod.last_end
        # A Pod that is deleted after its failure may be restarted in place once more; SIGTERM is not why it failed.
        if end is not None and not (pod.deleting and "failure" in self._present):
            copier["lastTermination"] = {"exitCode": end.exit_code, "reason": end.reason or "Error"}
            if end.at is not None:
                copier["lastTermination"]["time"] = stamp(end.at)

    def _no_lag(self) -> None:
        self._next.get("replication", {}).pop("lagSeconds", None)

    def lag_unknown(self, reason: str, message: str) -> None:
        """Nobody has seen the stream recently: conditions that depend on it are unknown."""
        self._no_lag()
        self.condition(Condition.CAUGHT_UP, "Unknown", reason, message)
        if self._conditions[Condition.READY_FOR_CUTOVER]["status"] == "True":
            self.condition(Condition.READY_FOR_CUTOVER, "Unknown", reason, message)
        for name in ("stage", "phase"):
            if self._next[name] == Stage.READY_FOR_CUTOVER:
                self._next[name] = Stage.STREAMING.value

    def node_lost(self, message: str) -> None:
        """A person must find out whether a Pod still runs."""
        self.lag_unknown(Reason.NODE_LOST, message)
        self.condition(Condition.STALLED, "True", Reason.NODE_LOST, message)

    def report(self, report: Report) -> None:
        """Take over the copier's report. A copier that has just restarted knows less than the status does."""
        reported = report.model_dump(mode="json", by_alias=True, exclude_none=True)
        known = self.stage_now not in _EARLY
        if known and reported["stage"] in _EARLY:
            self._restarted(report)
            return
        self._next["stage"] = reported["stage"]
        self._next["phase"] = reported["phase"]
        for part in ("message", "progress", "replication", "throttle", "verification", "cutover"):
            self._next[part] = reported[part]
        for part in ("startTime", "completionTime"):
            if part in reported:
                self._next.setdefault(part, reported[part])
        if reported["stage"] == Stage.COMPLETED:
            self._no_lag()  # the copier still reads the stream, but moves nothing
        self._acknowledged(reported["copier"])
        if self.withdrawal_missed(report) is None and reported["stage"] not in _EARLY:
            self._next["copier"].pop("withdrawnGeneration", None)  # earlier, a restart could lose the withdrawal
        # An earlier failure is kept until this process has passed validation.
        keep = _FAILURE if "failure" in self._present and reported["stage"] in _EARLY else ()
        self._conditions_of(report, _OURS.difference(keep))

    def _restarted(self, report: Report) -> None:
        if report.message:
            self.message(report.message)
        self._acknowledged(report.copier.model_dump(mode="json", by_alias=True, exclude_none=True))
        self._next["phase"] = self.stage_now
        if "verification" in self._next:
            self._next["verification"]["requestsAnswered"] = 0  # the new process numbers requests from 1
        self.lag_unknown(Reason.COPIER_STARTING, "the copier was restarted and resumes from its checkpoint")
        self._conditions_of(report, {Condition.VALIDATED, Condition.PAUSED})

    def _conditions_of(self, report: Report, kinds: Collection[str]) -> None:
        """With the generation that the copier applies, even if it set them before it was told of that generation."""
        acts_on = max(self._made_from, report.copier.acknowledged_generation or 0)
        for entry in report.conditions:
            if entry.type in kinds:
                generation = max(acts_on, entry.observed_generation or 0)
                self.condition(entry.type, entry.status, entry.reason, entry.message, generation)

    def _acknowledged(self, copier: Object) -> None:
        own = self._next.setdefault("copier", {})
        for name in ("acknowledgedGeneration", "epoch"):
            if name in copier:
                own[name] = copier[name]

    def withdrawn(self) -> None:
        """Record that no cutover is permitted, for a copier that could not be told: see ``SendDirective``."""
        if self.stage_now not in _EARLY:
            self._next.setdefault("copier", {})["withdrawnGeneration"] = self._generation

    def withdrawal_missed(self, report: Report) -> int | None:
        """The generation of a withdrawal that this copier has not been told."""
        withdrawn: int | None = self._next.get("copier", {}).get("withdrawnGeneration")
        acknowledged = report.copier.acknowledged_generation or 0
        return withdrawn if withdrawn is not None and withdrawn > acknowledged else None

    # -- reading --------------------------------------------------------------------------------------------------

    def status(self) -> Object:
        """The complete status."""
        return self._next | {"conditions": list(self._conditions.values())}


def stamp(moment: datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def urgent(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether more than numbers and messages changed: a person or a script may wait for it."""
    return _without_numbers(before) != _without_numbers(after)


def _without_numbers(status: Mapping[str, Any]) -> Object:
    left = {name: value for name, value in status.items() if name not in _NUMBERS}
    left["throttle"] = bool(status.get("throttle", {}).get("active"))
    left["conditions"] = {
        each["type"]: (each["status"], each["reason"], each.get("observedGeneration"))
        for each in status.get("conditions", ())
    }
    return left


def transitions(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """The Events to post: type, reason, message."""
    events: dict[tuple[str, str], tuple[str, str, str]] = {}
    old = {each["type"]: each for each in before.get("conditions", ())}
    for new in after["conditions"]:
        was = old.get(new["type"], {})
        if (was.get("status"), was.get("reason")) == (new["status"], new["reason"]):
            continue
        how = _worth_telling(new, after.get("cutover", {}).get("lastResult"), first=not was)
        if how is not None:
            # Two conditions may report the same: the exhausted attempts, and that a person is needed for them.
            events.setdefault((new["reason"], new.get("message", "")), (how, new["reason"], _told(new)))
    return list(dict.fromkeys([*events.values(), *_restart(before.get("copier", {}), after.get("copier", {}))]))


def _told(condition: Object) -> str:
    kind, status, reason = condition["type"], condition["status"], condition["reason"]
    if (kind, status) == (Condition.PAUSED, "False"):
        return "resumed: rows move again"
    if (kind, status) == (Condition.THROTTLED, "False"):
        return "no longer throttled"
    return sentence(kind, status, reason, condition.get("message", ""))


def _restart(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Events for a copier that ended without a reason of its own, and for the process that took over."""
    end = after.get("lastTermination")
    if end is not None and end != before.get("lastTermination") and end["exitCode"] not in _REPORTED_ENDS:
        text = f"the copier ended with exit code {end['exitCode']} ({end['reason']}); it resumes from its checkpoint"
        yield "Warning", Reason.COPIER_STARTING, text
    earlier, epoch = before.get("epoch"), after.get("epoch")
    if earlier is not None and epoch is not None and epoch > earlier:
        yield "Normal", Reason.COPIER_STARTING, f"a new copier process resumed from the checkpoint, as epoch {epoch}"


_REPORTED_ENDS = (ExitCode.DONE, ExitCode.CONFIG, ExitCode.DATA, ExitCode.TERMINATED)
_WARNINGS = {(Condition.STALLED, "True"), (Condition.VERIFIED, "False"), (Condition.VALIDATED, "False")}
_NEWS = {
    (Condition.SUCCEEDED, "True"),
    (Condition.VALIDATED, "True"),
    (Condition.COPY_COMPLETE, "True"),
    (Condition.READY_FOR_CUTOVER, "True"),
    (Condition.CUT_OVER, "True"),
    (Condition.VERIFIED, "True"),
    (Condition.PAUSED, "True"),
    (Condition.THROTTLED, "True"),
}
# Only as a change, not as the first value.
_NEWS_LATER = {(Condition.CUT_OVER, "False"), (Condition.PAUSED, "False"), (Condition.THROTTLED, "False")}
TOLD_ONCE = frozenset(
    {
        Reason.RATE_LIMIT,
        Reason.REPLICA_LAG,
        Reason.THREADS_RUNNING,
        Reason.COMMIT_LATENCY,
        Reason.QUERY,
        Reason.OUTSIDE_ACTIVE_HOURS,
        Reason.NOT_THROTTLED,
    }
)
"""Reasons that may come and go all night: while an Event of one exists, none of the same reason is posted."""


def _worth_telling(condition: Object, last_attempt: str | None, *, first: bool) -> str | None:
    """Type of the Event, or None. ``last_attempt`` is the result of the last cutover attempt."""
    now = (condition["type"], condition["status"])
    if now == (Condition.SUCCEEDED, "False"):
        return "Warning" if condition["reason"] == Reason.FAILED else "Normal"
    failed = now == (Condition.CUT_OVER, "False") and condition["reason"] in (last_attempt, Reason.ATTEMPTS_EXHAUSTED)
    if now in _WARNINGS or failed:
        return "Warning"
    if now in _NEWS or (now in _NEWS_LATER and not first and condition["reason"] != Reason.IN_PROGRESS):
        return "Normal"
    return None
