"""Carries out a plan for one Ferry. Idempotent: each step may have been done before by an operator that was killed.

Order matters. The directive goes first, since people wait for it. Then the status, so that what is about to be done is
on record before it is done. Then Pods. Called by ``tender``.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ferry_core.api.directive import Directive
from ferry_core.api.spec import Spec
from ferry_core.reasons import Reason
from ferry_operator import pods
from ferry_operator.budget import BURST, BURST_SECONDS, Bucket, Budget
from ferry_operator.copier import CopierLink, DirectiveRefused, Silent
from ferry_operator.identity import Identity
from ferry_operator.kube import AT_ONCE, Kube, KubeError
from ferry_operator.names import API_VERSION, FINALIZER, MANAGER, Object, Role, pod_name
from ferry_operator.observe import PodView, Trouble
from ferry_operator.plan import CreatePod, DeleteFerry, DeletePod, EnsureSecret, HoldFerry, Plan, SendDirective
from ferry_operator.settings import Settings
from ferry_operator.slim import strip
from ferry_operator.status import ours, transitions, urgent

log = logging.getLogger(__name__)

_TAKEN = timedelta(seconds=10)
"""How long a Pod's name may be taken before that is said."""
_SECRET_SECONDS = 20.0
"""How long the Secret of a Pod that has not started is believed to be there."""


@dataclass
class Memory:
    """What is remembered of one Ferry between rounds; losing it is harmless."""

    trouble: Trouble | None = None
    namespace_ending: bool = False
    written: Object | None = None
    """The object as our own last write left it."""
    written_at: float | None = None
    held_back: float = 0.0
    """Something is not written yet, too soon after what was; after how many seconds to look again."""
    transitions: Bucket = field(default_factory=lambda: Bucket(BURST, BURST_SECONDS))
    secret_of: str | None = None
    """uid of the Pod whose Secret was there when it was looked for last."""
    secret_at: float = 0.0
    """When that was: somebody may delete it before the Pod starts."""
    taken_since: datetime | None = None
    """When a Pod's name was found taken first."""
    failures: int = 0
    """Rounds that failed since one went well."""
    conflicts: int = 0
    """Rounds that met one, in a row; nothing is wrong then, so they are no failures."""

    def knows_secret(self, pod: str) -> bool:
        """Whether it needs no look."""
        return self.secret_of == pod and time.monotonic() < self.secret_at + _SECRET_SECONDS


@dataclass(frozen=True)
class Actor:
    """Hands: shared by all Ferries."""

    kube: Kube
    identity: Identity
    settings: Settings
    budget: Budget
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    """Of Ferries that ``act`` at once; more would only hold plans and Pods in memory, and wait for the API server."""

    async def direct(self, body: Object, spec: Spec | None, plan: Plan, link: CopierLink, memory: Memory) -> None:
        """Not in turn: people wait for it, and a copier that does not answer holds up nobody else."""
        for action in plan.actions:
            if isinstance(action, SendDirective) and spec is not None:
                await self._direct(body, spec, action.withdrawn, link, memory)

    async def act(self, body: Object, spec: Spec | None, plan: Plan, memory: Memory) -> None:
        """In the cluster; raises KubeError."""
        try:
            if plan.status is not None:
                await self._say(body, plan, memory)
        except KubeError:
            if plan.urgent:
                await self._do_all(body, spec, plan, memory)
            raise
        await self._do_all(body, spec, plan, memory)

    async def _direct(self, body: Object, spec: Spec, withdrawn: int | None, link: CopierLink, memory: Memory) -> None:
        newest = body["metadata"]["generation"]
        said = spec if withdrawn is None else spec.model_copy(update={"cutover": spec.cutover.held()})
        directive = Directive.of(newest if withdrawn is None else withdrawn, said)
        try:
            await link.send(directive)
            memory.trouble = None
        except DirectiveRefused as error:
            memory.trouble = Trouble(error.reason, error.message, datetime.now(UTC), newest)
        except Silent as error:
            log.info("%s: no directive yet: %s", _name(body), error)

    # -- status and events ----------------------------------------------------------------------------------------

    async def _say(self, body: Object, plan: Plan, memory: Memory) -> None:
        assert plan.status is not None
        before = ours(body.get("status") or {})
        memory.held_back = 0.0
        if plan.status == before:
            return
        doing = any(not isinstance(action, SendDirective) for action in plan.actions)
        asked_for = plan.status.get("observedGeneration") != before.get("observedGeneration")
        if not (doing or asked_for):
            wait = memory.transitions.wait() if urgent(before, plan.status) else self.budget.wait(memory.written_at)
            if wait:
                memory.held_back = wait
                return
        memory.written = await self._write(body, plan.status)
        memory.written_at = self.budget.now()
        for kind, reason, message in transitions(before, plan.status):
            await self._tell(body, kind, reason, message)

    async def _write(self, body: Object, status: Object) -> Object:
        """Raises a conflict only where what the status was made from has changed.

        Somebody who annotates the Ferry all the time would else keep us from writing for as long: the object is a
        newer one with each annotation. The lock is for a Ferry that was deleted and made anew, which cannot be while
        our finalizer is on it, and for another operator that writes the same status.
        """
        try:
            return await self.kube.write_status(body, status)
        except KubeError as error:
            if not error.conflict:
                raise
            newest = await self.kube.get_ferry(body["metadata"]["namespace"], body["metadata"]["name"])
            if _basis(newest) != _basis(body):
                raise
        return await self.kube.write_status(newest, status, locked=not _held(newest))

    async def complain(self, body: Object, error: KubeError) -> None:
        """What the cluster does not let us do, and no status can say, is told as an Event; once, by its name."""
        if error.refused:
            mark = hashlib.sha256(error.message.encode()).hexdigest()[:12]
            await self._tell(body, "Warning", error.reason or "Refused", error.message, mark)

    async def _tell(self, body: Object, kind: str, reason: str, message: str, mark: str = "") -> None:
        meta = body["metadata"]
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{meta['name']}.{mark or f'{time.time_ns():x}'}", "namespace": meta["namespace"]},
            "eventTime": now,
            "reportingController": MANAGER,
            "reportingInstance": f"{MANAGER}-{self.settings.namespace}"[:128],
            "action": "Reconcile",
            "reason": reason[:128],
            "regarding": {
                "apiVersion": API_VERSION,
                "kind": body["kind"],
                "name": meta["name"],
                "namespace": meta["namespace"],
                "uid": meta["uid"],
            },
            # The API counts bytes, and refuses an Event with more of them.
            "note": message.encode()[:1024].decode(errors="ignore"),
            "type": kind,
        }
        try:
            await self.kube.create_event(meta["namespace"], event)
        except KubeError as error:
            # Events vanish within the hour anyway; status says it all.
            if not error.exists:
                log.info("%s: event %s not posted: %s", _name(body), reason, error)

    # -- Pods -----------------------------------------------------------------------------------------------------

    async def _do_all(self, body: Object, spec: Spec | None, plan: Plan, memory: Memory) -> None:
        for action in plan.actions:
            await self._do(body, spec, action, memory)

    async def _do(self, body: Object, spec: Spec | None, action: object, memory: Memory) -> None:
        meta = body["metadata"]
        match action:
            case CreatePod(role) if spec is not None:
                await self._create(meta, spec, role, memory)
            case EnsureSecret(pod) if spec is not None and not memory.knows_secret(pod.uid):
                await self._ensure_secret(meta, spec, pod, memory)
            case DeletePod(pod):
                log.info("%s: Pod %s is asked to end", _name(body), pod.name)
                await self.kube.delete_pod(meta["namespace"], pod.name, pod.uid)
            case HoldFerry():
                await self.kube.hold_ferry(body)
            case DeleteFerry():
                log.info("%s: its time to live is over", _name(body))
                await self.kube.delete_ferry(body)

    async def free(self, body: Object) -> None:
        """Let a deleted Ferry go. kopf would too, but only in a moment in which nobody else changes the object."""
        try:
            newest = await self.kube.get_ferry(body["metadata"]["namespace"], body["metadata"]["name"])
            if newest["metadata"]["uid"] == body["metadata"]["uid"] and _held(newest):
                await self.kube.free_ferry(newest)
        except KubeError as error:
            if not error.not_found:
                log.info("%s: its finalizer is left to kopf: %s", _name(body), error)

    async def _create(self, meta: Object, spec: Spec, role: Role, memory: Memory) -> None:
        secret_name = f"{pod_name(meta['name'], role)}-{secrets.token_hex(4)}"
        try:
            made = (await self._create_pod(meta, spec, role, secret_name))["metadata"]
            strip(made)
            await self._make_secret(meta, spec, secret_name, made, memory, fresh=True)
            memory.trouble = memory.taken_since = None
            log.info("%s/%s: Pod %s made", meta["namespace"], meta["name"], made["name"])
        except KubeError as error:
            if error.exists:
                self._taken(meta, pod_name(meta["name"], role), memory)
            else:
                self._note(error, meta, memory)

    async def _create_pod(self, meta: Object, spec: Spec, role: Role, secret_name: str) -> Object:
        async def create(*, bare: bool) -> Object:
            image, listen = self.settings.image, self.settings.copier_listen
            pod = pods.pod(meta, spec, role, image, secret_name, listen, bare=bare)
            return await self.kube.create_pod(meta["namespace"], pod)

        try:
            return await create(bare=False)
        except KubeError as error:
            if role is Role.COPIER or not error.refused:
                raise
            return await create(bare=True)

    def _taken(self, meta: Object, name: str, memory: Memory) -> None:
        """Our own, not yet seen in the watch; or an earlier Ferry's, which will be gone; or somebody else's."""
        now = datetime.now(UTC)
        memory.taken_since = memory.taken_since or now
        if now - memory.taken_since > _TAKEN:
            message = f"there is a Pod {name} that is not this Ferry's: delete it, or give the Ferry another name"
            memory.trouble = Trouble(Reason.POD_NAME_TAKEN, message, now, meta["generation"])

    async def _ensure_secret(self, meta: Object, spec: Spec, pod: PodView, memory: Memory) -> None:
        try:
            await self._make_secret(meta, spec, pod.secret, {"name": pod.name, "uid": pod.uid}, memory)
            memory.trouble = None
        except KubeError as error:
            self._note(error, meta, memory)

    async def _make_secret(
        self, meta: Object, spec: Spec, name: str, pod: Object, memory: Memory, *, fresh: bool = False
    ) -> None:
        uid = meta["uid"]
        made = pods.secret(meta, spec, name, pod, self.identity.token(uid), self.identity.tls_pair(uid))
        try:
            await self.kube.create_secret(meta["namespace"], made)
        except KubeError as error:
            if not error.exists:
                raise
            if fresh:
                # Nobody but us knew the name: another Secret under it could lead the databases' passwords elsewhere.
                log.warning(
                    "%s/%s: Secret %s is not ours; Pod %s ends", meta["namespace"], meta["name"], name, pod["name"]
                )
                await self.kube.delete_pod(meta["namespace"], pod["name"], pod["uid"])
                return
        memory.secret_of, memory.secret_at = pod["uid"], time.monotonic()

    def _note(self, error: KubeError, meta: Object, memory: Memory) -> None:
        """A refusal becomes part of what is observed; anything else is tried again by the caller."""
        if error.namespace_ending:
            memory.namespace_ending = True
        elif not error.refused:
            raise error
        reason = Reason.NAMESPACE_TERMINATING if error.namespace_ending else Reason.POD_REFUSED
        memory.trouble = Trouble(reason, error.message, datetime.now(UTC), meta["generation"])


def _held(ferry: Object) -> bool:
    """Whether our finalizer is on it."""
    return FINALIZER in (ferry["metadata"].get("finalizers") or ())


def _basis(ferry: Object) -> tuple[object, ...]:
    """What a status is made from, but for the spec, of which it says the generation."""
    meta = ferry["metadata"]
    return meta["uid"], meta.get("deletionTimestamp"), _held(ferry), ours(ferry.get("status") or {})


def _name(body: Object) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"
