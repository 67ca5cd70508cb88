"""The observed state as plain values, which ``decide`` reads: a Ferry, its Pods, its copier's report.

Pure; callers pass the time. Called by ``reconciler`` and, for Pods, by ``handlers``.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from ferry_core.api.report import Outcome, Report, Stage
from ferry_core.api.spec import Spec
from ferry_operator import unreadable
from ferry_operator.names import (
    COMPONENT,
    DIGEST,
    FERRY_NAME,
    FERRY_UID,
    FINALIZER,
    GENERATION,
    RECONCILE,
    SECRET,
    SKIP_CLEANUP,
    Object,
    Role,
    pod_name,
)
from ferry_operator.pods import digest

_LONG_SETTING_UP = timedelta(seconds=20)
"""From scheduling a Pod to its volumes and network."""
_LOST = timedelta(seconds=60)
"""A Pod that outlives its grace period by this much is on a node that does not answer."""
_GIVEN_UP = timedelta(seconds=10)
"""The same if Kubernetes has given the node up. A healthy kubelet kills the process within this time."""
_ERROR = re.compile(r"^ferry: ([A-Z]\w+): ", re.MULTILINE)
"""The reason in an error that ``ferry abort`` and ``ferry cleanup`` print."""


@dataclass(frozen=True)
class Ended:
    """How a container's process ended."""

    exit_code: int
    reason: str
    message: str
    at: datetime | None

    @property
    def report(self) -> Report | None:
        """The copier's report in the termination message, if it could write one."""
        try:
            report = Report.model_validate_json(self.message)
        except ValidationError:
            return None
        return report if report.says_where_it_is else None  # a line of its log is JSON too

    @property
    def outcome(self) -> Outcome | None:
        """What ``ferry abort`` or ``ferry cleanup`` did, if that is in the termination message."""
        try:
            return Outcome.model_validate_json(self.message)
        except ValidationError:
            return None

    @property
    def error(self) -> str | None:
        """The reason of the error by which a command ended: it writes the line ``ferry: Reason: message``."""
        return next(reversed(_ERROR.findall(self.message)), None)


@dataclass(frozen=True)
class PodView:
    """The part of a Pod that decisions need."""

    role: Role
    name: str
    uid: str
    phase: str = "Pending"
    """As in Kubernetes, but Succeeded as soon as our container is: an injected sidecar may never end."""
    ip: str | None = None
    image: str = ""
    digest: str = ""
    generation: int = 0
    secret: str = ""
    created: datetime | None = None
    deletion_due: datetime | None = None
    """When its grace period ends, if it is being deleted."""
    lost: str = ""
    """Why Kubernetes has given its node up; the kubelet there may still work."""
    evicted: str = ""
    """Why Kubernetes has ended it (eviction, node shutdown and the like)."""
    unschedulable: str = ""
    scheduled: datetime | None = None
    """When it was scheduled to a node."""
    set_up: bool = False
    """Its volumes and network are ready; only the image may be missing."""
    waiting: tuple[str, str] | None = None
    """Reason and message, if its container is not running."""
    running: bool = False
    restarts: int = 0
    ended: Ended | None = None
    """The process ended, and no other was started yet."""
    ended_before: Ended | None = None
    """The end of the process before the present one."""

    @property
    def deleting(self) -> bool:
        return self.deletion_due is not None

    @property
    def last_end(self) -> Ended | None:
        return self.ended or self.ended_before


@dataclass(frozen=True)
class Link:
    """What is known of the copier over the network."""

    report: Report | None = None
    silent_since: datetime | None = None
    """Since when it has not answered; None while it does."""
    problem: str = ""


@dataclass(frozen=True)
class Refusal:
    """The cluster or the copier refused the last action."""

    reason: str
    message: str
    since: datetime
    generation: int = 0
    """Of the refused spec. Another generation is tried at once."""


@dataclass(frozen=True)
class FerryView:
    """The Ferry itself."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: Spec | None
    problem: str = ""
    """Why the spec cannot be read. Then ``spec`` is None, or if it is aborted enough of it for that."""
    unread: Mapping[str, Any] = field(default_factory=dict)
    """The spec as it is stored, if it cannot be read."""
    status: Mapping[str, Any] = field(default_factory=dict)
    created: datetime | None = None
    deleting_since: datetime | None = None
    hands_off: bool = False
    skip_cleanup: bool = False
    digests: Mapping[Role, str] = field(default_factory=dict)
    """Of the Pod of each role, if it were created now."""
    held: bool = True
    """It has our finalizer, so it cannot vanish without us."""

    @property
    def aborted(self) -> bool:
        return unreadable.aborted(self.unread) if self.spec is None else self.spec.aborted

    @property
    def permitted(self) -> bool:
        """Whether the spec permits a cutover."""
        return unreadable.permits(self.unread) if self.spec is None else self.spec.cutover.permitted

    @property
    def stage(self) -> str:
        return str(self.status.get("stage", Stage.PENDING.value))

    def condition(self, kind: str) -> Mapping[str, Any] | None:
        conditions: list[Mapping[str, Any]] = self.status.get("conditions", [])
        return next((each for each in conditions if each["type"] == kind), None)


@dataclass(frozen=True)
class Observed:
    """Everything at one moment."""

    ferry: FerryView
    now: datetime
    copier: PodView | None = None
    helper: PodView | None = None
    """The Pod of ``ferry abort`` or ``ferry cleanup``."""
    link: Link = Link()
    admitted: bool = True
    """It has a slot: see ``RunSlots``."""
    refusal: Refusal | None = None
    namespace_ending: bool = False

    def where_to_look(self, pod: PodView) -> str:
        """Where a user finds why a container does not start: in Events, which the operator may not read."""
        if pod.set_up or pod.scheduled is None or self.now - pod.scheduled < _LONG_SETTING_UP:
            return ""
        describe = f"kubectl describe pod {pod.name} -n {self.ferry.namespace}"
        return f"see {describe} (volumes, Secrets, network)"

    def out_of_reach(self, pod: PodView) -> str:
        """What a person must do about a deleted Pod that may still run on a lost node; else ""."""
        if pod.deletion_due is None or self.now - pod.deletion_due < (_GIVEN_UP if pod.lost else _LOST):
            return ""
        why = f" ({pod.lost})" if pod.lost else ""
        way_out = f"kubectl delete pod {pod.name} -n {self.ferry.namespace} --force"
        return f"cannot confirm that Pod {pod.name} has ended{why}; once its node is down for sure: {way_out}"


def moment(text: str | None) -> datetime | None:
    """From Kubernetes' format."""
    return None if text is None else datetime.fromisoformat(text)


def ferry_view(body: Object) -> FerryView:
    """From the raw object."""
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    raw = body.get("spec") or {}
    spec, problem = _spec(raw)
    if spec is None and unreadable.aborted(raw) and "deletionTimestamp" not in meta:
        spec = unreadable.for_abort(raw)
    return FerryView(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta["generation"],
        spec=spec,
        problem=problem,
        unread=raw if problem else {},
        status=body.get("status") or {},
        created=moment(meta.get("creationTimestamp")),
        deleting_since=moment(meta.get("deletionTimestamp")),
        hands_off=annotations.get(RECONCILE) == "disabled",
        skip_cleanup=annotations.get(SKIP_CLEANUP) == "true",
        digests={} if spec is None else {role: digest(spec, role) for role in Role},
        held=FINALIZER in meta.get("finalizers", ()),
    )


def _spec(raw: Object) -> tuple[Spec | None, str]:
    """A stored object may violate a newer rule, or be newer than this operator."""
    try:
        return Spec.model_validate_json(json.dumps(raw)), ""
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        return None, f"spec.{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


def is_own(body: Object) -> bool:
    """Whether the operator created this Pod for the Ferry that its labels name.

    Labels alone prove nothing: ``kubectl debug --keep-labels`` copies them.
    """
    meta = body["metadata"]
    labels = meta.get("labels") or {}
    names = {pod_name(str(labels.get(FERRY_NAME)), role) for role in Role if role == labels.get(COMPONENT)}
    owners = {owner.get("uid") for owner in meta.get("ownerReferences") or () if owner.get("controller")}
    return meta["name"] in names and labels.get(FERRY_UID) in owners


def pod_view(body: Object) -> PodView:
    """From the raw object, or kopf's view of it."""
    meta, status = body["metadata"], body.get("status") or {}
    annotations, labels = meta.get("annotations") or {}, meta["labels"]
    role = Role(labels[COMPONENT])
    container, container_status = (
        _own(body["spec"]["containers"], role),
        _own(status.get("containerStatuses") or (), role),
    )
    state, before = container_status.get("state") or {}, container_status.get("lastState") or {}
    succeeded = (state.get("terminated") or {}).get("exitCode") == 0
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    return PodView(
        role=role,
        name=meta["name"],
        uid=meta["uid"],
        phase="Succeeded" if succeeded else status.get("phase", "Pending"),
        ip=status.get("podIP"),
        image=container.get("image", ""),
        digest=annotations.get(DIGEST, ""),
        generation=int(annotations.get(GENERATION, "0")),
        secret=annotations.get(SECRET, ""),
        created=moment(meta.get("creationTimestamp")),
        deletion_due=moment(meta.get("deletionTimestamp")),
        lost=_lost(status, conditions),
        evicted=_evicted(status, conditions),
        unschedulable=_unschedulable(conditions),
        scheduled=moment(conditions.get("PodScheduled", {}).get("lastTransitionTime")),
        set_up=conditions.get("PodReadyToStartContainers", {}).get("status") == "True",
        waiting=_waiting(state),
        running="running" in state,
        restarts=container_status.get("restartCount", 0),
        ended=_ended(state) or (_ended(before) if "waiting" in state else None),
        ended_before=_ended(before),
    )


def _own(containers: Sequence[Object], role: Role) -> Object:
    """Our container. A webhook may add others before it, and the kubelet sorts them by name."""
    return next((each for each in containers if each["name"] == role), {})


def _lost(status: Object, conditions: Object) -> str:
    if status.get("reason") == "NodeLost":
        return str(status.get("message") or "the node was lost")
    target = conditions.get("DisruptionTarget", {})
    if target.get("reason") == "DeletionByTaintManager":
        return str(target.get("message") or "its node does not answer")
    return ""


def _evicted(status: Object, conditions: Object) -> str:
    if status.get("phase") != "Failed":
        return ""
    message = status.get("message") or conditions.get("DisruptionTarget", {}).get("message")
    return ": ".join(str(text) for text in (status.get("reason"), message) if text) or "Failed"


def _unschedulable(conditions: Object) -> str:
    scheduled = conditions.get("PodScheduled", {})
    return str(scheduled.get("message", "")) if scheduled.get("status") == "False" else ""


def _waiting(state: Object) -> tuple[str, str] | None:
    waiting = state.get("waiting")
    return None if waiting is None else (str(waiting.get("reason", "")), str(waiting.get("message", "")))


def _ended(state: Object) -> Ended | None:
    ended = state.get("terminated")
    if ended is None:
        return None
    return Ended(
        exit_code=int(ended["exitCode"]),
        reason=str(ended.get("reason", "")),
        message=str(ended.get("message", "")),
        at=moment(ended.get("finishedAt")),
    )
