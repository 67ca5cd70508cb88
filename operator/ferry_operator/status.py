"""Builds a Ferry's status: what the copier reports, and over it what only the operator sees. Called by ``decide``.

Pure. The whole of our part is said each time, since server-side apply takes away what is left out.
"""

import copy
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Literal

from ferry_core.api.report import Report, Stage
from ferry_core.reasons import Condition, Reason
from ferry_operator.names import Object
from ferry_operator.observe import PodView

Truth = Literal["True", "False", "Unknown"]

_EARLY = (Stage.PENDING.value, Stage.VALIDATING.value)
_MESSAGE_CHARACTERS = 4096

_FAILURE = (Condition.SUCCEEDED, Condition.STALLED)

# Set at first sight: absent and unknown are not the same.
_FIRST: tuple[tuple[Condition, Truth, str], ...] = (
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

# What may wait for the next write of numbers.
_NUMBERS = ("progress", "replication", "verification", "message")


_OURS = frozenset(map(str, Condition))


def ours(status: Mapping[str, Any]) -> Object:
    """Without conditions of other controllers: said again by us, they would be ours too and never go away."""
    listed = [each for each in status.get("conditions", ()) if each["type"] in _OURS]
    return {**status, **({"conditions": listed} if "conditions" in status else {})}


class Draft:
    """The next status, begun from the present one."""

    def __init__(self, present: Mapping[str, Any], generation: int, now: datetime) -> None:
        self._present = present
        self._generation = generation
        self._made_from = 0
        self._now = now
        self._said: Object = copy.deepcopy({**present})
        self._said.setdefault("stage", Stage.PENDING.value)
        self._said.setdefault("phase", Stage.PENDING.value)
        self._said["observedGeneration"] = generation
        listed: list[Object] = self._said.pop("conditions", [])
        self._before = {each["type"]: each for each in listed if each["type"] in _OURS}
        self._conditions = dict(self._before)
        for kind, status, reason in _FIRST:
            if kind not in self._conditions:
                self.condition(kind, status, reason)

    # -- saying ---------------------------------------------------------------------------------------------------

    def condition(
        self, kind: str, status: Truth, reason: str, message: str = "", generation: int | None = None
    ) -> None:
        """Its time changes only with its status, however often it is said in one round."""
        before = self._before.get(kind)
        same = before is not None and before["status"] == status
        self._conditions[kind] = {
            "type": str(kind),
            "status": status,
            "reason": str(reason),
            "message": message[:_MESSAGE_CHARACTERS],
            "lastTransitionTime": before["lastTransitionTime"] if same and before else stamp(self._now),
            "observedGeneration": self._generation if generation is None else generation,
        }

    def keep_stalled(self, reason: str) -> None:
        """What was said for this reason stands."""
        before = self._before.get(Condition.STALLED)
        if before is not None and before["status"] == "True" and before["reason"] == reason:
            self._conditions[Condition.STALLED] = before

    def stalled_for(self, reason: str) -> str | None:
        """What is said of it, if a person is needed for this reason."""
        said = self._conditions[Condition.STALLED]
        return str(said["message"]) if (said["status"], said["reason"]) == ("True", reason) else None

    def say(self, message: str) -> None:
        self._said["message"] = message[:_MESSAGE_CHARACTERS]

    def phase(self, phase: str) -> None:
        self._said["phase"] = phase

    def stage(self, stage: str) -> None:
        self._said["stage"] = stage

    @property
    def stage_now(self) -> str:
        return str(self._said["stage"])

    def failure(self, reason: str, message: str, *, retriable: bool) -> None:
        self._said["failure"] = {
            "reason": reason,
            "message": message[:_MESSAGE_CHARACTERS],
            "retriable": retriable,
        }

    @property
    def failed(self) -> bool:
        """For a failure on record that a restart in place does not mend."""
        return self._conditions[Condition.SUCCEEDED]["reason"] == Reason.FAILED and "failure" in self._said

    def stalled_by_failure(self) -> str:
        """A person is needed for the failure on record, whatever has been said since of a Pod; gives its message."""
        failure, generation = self._said["failure"], self._conditions[Condition.SUCCEEDED].get("observedGeneration")
        self.condition(Condition.STALLED, "True", failure["reason"], failure["message"], generation)
        return str(failure["message"])

    def no_failure(self) -> None:
        self._said.pop("failure", None)

    def over(self) -> None:
        """What is said stands, whatever becomes of the spec."""
        self._conditions = {
            kind: entry | {"observedGeneration": self._generation} for kind, entry in self._conditions.items()
        }

    def finished(self) -> None:
        self._said.setdefault("completionTime", stamp(self._now))
        self._no_lag()

    def aborted(self, message: str) -> None:
        """Of what the copier said last, what only a copier at work could go on saying is taken back."""
        self.idle(Reason.ABORTED, message)
        self.condition(Condition.READY_FOR_CUTOVER, "False", Reason.ABORTED, message)
        self.condition(Condition.CUT_OVER, "False", Reason.ABORTED, message)
        self.condition(Condition.PAUSED, "False", Reason.NOT_PAUSED)

    def idle(self, reason: str, message: str) -> None:
        """No copier is at work: nothing is close behind, ready to cut over, or held back."""
        self.lag_unknown(reason, message)
        if self._conditions[Condition.READY_FOR_CUTOVER]["status"] != "False":
            self.condition(Condition.READY_FOR_CUTOVER, "Unknown", reason, message)
        self.condition(Condition.THROTTLED, "False", Reason.NOT_THROTTLED)
        if "throttle" in self._said:
            self._said["throttle"] = {"active": False}

    def started(self) -> None:
        self._said.setdefault("startTime", stamp(self._now))

    def pod(self, pod: PodView) -> None:
        """What is known of the copier's Pod."""
        self._made_from = pod.generation
        copier = self._said.setdefault("copier", {})
        copier |= {"podName": pod.name, "image": pod.image, "restarts": pod.restarts}
        end = pod.last_end
        # A Pod that is ended for its failure may be started in place once more: SIGTERM is not what it failed with.
        if end is not None and not (pod.deleting and "failure" in self._present):
            copier["lastTermination"] = {"exitCode": end.exit_code, "reason": end.reason or "Error"}
            if end.at is not None:
                copier["lastTermination"]["time"] = stamp(end.at)

    def _no_lag(self) -> None:
        self._said.get("replication", {}).pop("lagSeconds", None)

    def lag_unknown(self, reason: str, message: str) -> None:
        """Nobody has seen the stream of late: what was true then is not known to be."""
        self._no_lag()
        self.condition(Condition.CAUGHT_UP, "Unknown", reason, message)
        if self._conditions[Condition.READY_FOR_CUTOVER]["status"] == "True":
            self.condition(Condition.READY_FOR_CUTOVER, "Unknown", reason, message)
        for name in ("stage", "phase"):
            if self._said[name] == Stage.READY_FOR_CUTOVER:
                self._said[name] = Stage.STREAMING.value

    def node_lost(self, message: str) -> None:
        """Nobody can tell whether a Pod still runs: a person must."""
        self.lag_unknown(Reason.NODE_LOST, message)
        self.condition(Condition.STALLED, "True", Reason.NODE_LOST, message)

    def report(self, report: Report) -> None:
        """Take over what the copier says. One that has just started again knows less than the status does."""
        said = report.model_dump(mode="json", by_alias=True, exclude_none=True)
        known = self.stage_now not in _EARLY
        if known and said["stage"] in _EARLY:
            self._restarted(report)
            return
        self._said["stage"] = said["stage"]
        self._said["phase"] = said["phase"]
        for part in ("message", "progress", "replication", "throttle", "verification", "cutover"):
            self._said[part] = said[part]
        for part in ("startTime", "completionTime"):
            if part in said:
                self._said.setdefault(part, said[part])
        if said["stage"] == Stage.COMPLETED:
            self._no_lag()  # what the copier still reads is not moved any more
        self._acknowledged(said["copier"])
        if self.withdrawal_missed(report) is None and said["stage"] not in _EARLY:
            self._said["copier"].pop("withdrawnGeneration", None)  # before, it could be forgotten with its process
        # An earlier failure stands until this process has got past it.
        keep = _FAILURE if "failure" in self._present and said["stage"] in _EARLY else ()
        self._conditions_of(report, _OURS.difference(keep))

    def _restarted(self, report: Report) -> None:
        if report.message:
            self.say(report.message)
        self._acknowledged(report.copier.model_dump(mode="json", by_alias=True, exclude_none=True))
        self._said["phase"] = self.stage_now
        self.lag_unknown(Reason.COPIER_STARTING, "the copier was started again and goes on from its checkpoint")
        self._conditions_of(report, {Condition.VALIDATED, Condition.PAUSED})

    def _conditions_of(self, report: Report, kinds: Collection[str]) -> None:
        """They are of the generation that the copier acts on, though it said them before it was told of it."""
        acts_on = max(self._made_from, report.copier.acknowledged_generation or 0)
        for entry in report.conditions:
            if entry.type in kinds:
                generation = max(acts_on, entry.observed_generation or 0)
                self.condition(entry.type, entry.status, entry.reason, entry.message, generation)

    def _acknowledged(self, copier: Object) -> None:
        own = self._said.setdefault("copier", {})
        for name in ("acknowledgedGeneration", "epoch"):
            if name in copier:
                own[name] = copier[name]

    def withdrawn(self) -> None:
        """No cutover is permitted; once it is again, a copier that was not told of this must take it for news."""
        if self.stage_now not in _EARLY:
            self._said.setdefault("copier", {})["withdrawnGeneration"] = self._generation

    def withdrawal_missed(self, report: Report) -> int | None:
        """The generation of one that this copier has not been told of."""
        withdrawn: int | None = self._said.get("copier", {}).get("withdrawnGeneration")
        heard = report.copier.acknowledged_generation or 0
        return withdrawn if withdrawn is not None and withdrawn > heard else None

    # -- reading --------------------------------------------------------------------------------------------------

    def status(self) -> Object:
        """The whole of it."""
        return self._said | {"conditions": list(self._conditions.values())}


def stamp(moment: datetime) -> str:
    """A time as Kubernetes writes it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def urgent(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether more than numbers changed: a person or a script may wait for it."""
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
    """What to tell as Events: type, reason, message."""
    told = []
    old = {each["type"]: each for each in before.get("conditions", ())}
    for new in after["conditions"]:
        was = old.get(new["type"], {})
        if (was.get("status"), was.get("reason")) == (new["status"], new["reason"]):
            continue
        how = _worth_telling(new, after.get("cutover", {}).get("lastResult"), first=not was)
        if how is not None:
            told.append((how, new["reason"], new.get("message") or f"{new['type']} is {new['status']}"))
    return list(dict.fromkeys(told))


_WARNINGS = {(Condition.STALLED, "True"), (Condition.VERIFIED, "False"), (Condition.VALIDATED, "False")}
_NEWS = {
    (Condition.SUCCEEDED, "True"),
    (Condition.VALIDATED, "True"),
    (Condition.COPY_COMPLETE, "True"),
    (Condition.READY_FOR_CUTOVER, "True"),
    (Condition.CUT_OVER, "True"),
    (Condition.VERIFIED, "True"),
    (Condition.PAUSED, "True"),
}
_NEWS_LATER = {(Condition.CUT_OVER, "False"), (Condition.PAUSED, "False")}  # no news where nothing was before


def _worth_telling(condition: Object, last_attempt: str | None, *, first: bool) -> str | None:
    """Type of the Event, None for none. ``last_attempt`` is how the last one to cut over ended."""
    now = (condition["type"], condition["status"])
    if now == (Condition.SUCCEEDED, "False"):
        return "Warning" if condition["reason"] == Reason.FAILED else "Normal"
    failed = now == (Condition.CUT_OVER, "False") and condition["reason"] in (last_attempt, Reason.ATTEMPTS_EXHAUSTED)
    if now in _WARNINGS or failed:
        return "Warning"
    if now in _NEWS or (now in _NEWS_LATER and not first and condition["reason"] != Reason.IN_PROGRESS):
        return "Normal"
    return None
