"""Carries out a plan for one Ferry. Idempotent: an operator that was killed may have done any step before.

Directives go first, because people wait for them. The status follows, so that an action is on record before it is
taken. Pods come last. Called by ``reconciler``.
"""

import asyncio
import logging
from datetime import UTC, datetime

from ferry_core.api.directive import Directive
from ferry_core.api.spec import Spec
from ferry_operator import unreadable
from ferry_operator.budget import StatusBudget
from ferry_operator.copier_client import CopierClient, DirectiveRefused, Unreachable
from ferry_operator.events import EventPoster
from ferry_operator.identity import Identity
from ferry_operator.kube import MAX_REQUESTS, Kube, KubeError
from ferry_operator.names import FINALIZER, Object, full_name
from ferry_operator.observe import Refusal
from ferry_operator.plan import (
    AddFinalizer,
    CreatePod,
    DeleteFerry,
    DeletePod,
    EnsureSecret,
    Plan,
    PostEvent,
    SendDirective,
)
from ferry_operator.pod_maker import PodMaker
from ferry_operator.round_state import RoundState
from ferry_operator.settings import Settings
from ferry_operator.status import TOLD_ONCE, own_part, transitions, urgent

log = logging.getLogger(__name__)


class Actor:
    """Shared by all Ferries."""

    def __init__(self, kube: Kube, identity: Identity, settings: Settings, budget: StatusBudget) -> None:
        self.kube = kube
        self.identity = identity
        self.events = EventPoster(kube, settings.namespace)
        self.concurrency = asyncio.Semaphore(MAX_REQUESTS)
        """Limits how many Ferries ``act`` at once. More would wait for the API server anyway, with plans in memory."""
        self._pods = PodMaker(kube, identity, settings)
        self._budget = budget

    async def send_directives(
        self, body: Object, spec: Spec | None, plan: Plan, copier: CopierClient, state: RoundState
    ) -> None:
        """Outside of ``concurrency``: people wait for it, and a copier that does not answer must not block others."""
        for action in plan.actions:
            if isinstance(action, SendDirective):
                await self._send_directive(body, spec, action.withdrawn, copier, state)

    async def act(self, body: Object, spec: Spec | None, plan: Plan, state: RoundState) -> None:
        """Write the status, then change the cluster. Raises KubeError."""
        try:
            if plan.status is not None:
                await self._write_status_if_due(body, plan, plan.status, state)
        except KubeError:
            if plan.urgent:
                await self._execute(body, spec, plan, state)
            raise
        await self._execute(body, spec, plan, state)

    async def remove_finalizer(self, body: Object) -> None:
        """Of a deleted Ferry. kopf does it too, but fails whenever somebody else changes the object just before."""
        meta = body["metadata"]
        try:
            newest = await self.kube.get_ferry(meta["namespace"], meta["name"])
            if newest["metadata"]["uid"] == meta["uid"] and _has_finalizer(newest):
                await self.kube.remove_finalizer(newest)
        except KubeError as error:
            if not error.not_found:
                log.info("%s: the finalizer was not removed, kopf will: %s", full_name(body), error)

    async def _send_directive(
        self, body: Object, spec: Spec | None, withdrawn: int | None, copier: CopierClient, state: RoundState
    ) -> None:
        newest = body["metadata"]["generation"]
        state.undelivered = False
        try:
            await copier.send(_directive(body, spec, withdrawn))
            state.refusal = None
        except DirectiveRefused as error:
            state.refusal = Refusal(error.reason, error.message, datetime.now(UTC), newest)
        except Unreachable as error:
            state.undelivered = True
            log.info("%s: the directive was not delivered: %s", full_name(body), error)

    # -- status -------------------------------------------------------------------------------------------------------

    async def _write_status_if_due(self, body: Object, plan: Plan, status: Object, state: RoundState) -> None:
        before = own_part(body.get("status") or {})
        state.held_back = 0.0
        if status == before:
            return
        acts = any(not isinstance(action, SendDirective) for action in plan.actions)
        new_generation = status.get("observedGeneration") != before.get("observedGeneration")
        if not (acts or new_generation):
            wait = state.transitions.take() if urgent(before, status) else self._budget.take(state.written_at)
            if wait:
                state.held_back = wait
                return
        state.written = await self._write_status(body, status)
        state.written_at = self._budget.now()
        for kind, reason, message in transitions(before, status):
            if reason in TOLD_ONCE:
                await self.events.post_once(body, kind, reason, message, of=reason)
            else:
                await self.events.post(body, kind, reason, message)

    async def _write_status(self, body: Object, status: Object) -> Object:
        """Raises a conflict only if what the status was derived from has changed.

        The object gets a new resourceVersion with every annotation, so a lock on it would starve us while somebody
        else annotates the Ferry all the time. The lock protects a Ferry of the same name that replaced this one, which
        our finalizer rules out, and the status that another operator wrote.
        """
        try:
            return await self.kube.write_status(body, status)
        except KubeError as error:
            if not error.conflict:
                raise
            newest = await self.kube.get_ferry(body["metadata"]["namespace"], body["metadata"]["name"])
            if _basis(newest) != _basis(body):
                raise
        return await self.kube.write_status(newest, status, locked=not _has_finalizer(newest))

    # -- the cluster --------------------------------------------------------------------------------------------------

    async def _execute(self, body: Object, spec: Spec | None, plan: Plan, state: RoundState) -> None:
        meta = body["metadata"]
        for action in plan.actions:
            match action:
                case CreatePod(role) if spec is not None:
                    await self._pods.create(meta, spec, role, state)
                case EnsureSecret(pod) if spec is not None:
                    await self._pods.ensure_secret(meta, spec, pod, state)
                case DeletePod(pod):
                    log.info("%s: deleting Pod %s", full_name(body), pod.name)
                    await self.kube.delete_pod(meta["namespace"], pod.name, pod.uid)
                case PostEvent(kind, reason, message):
                    await self.events.post_once(body, kind, reason, message)
                case AddFinalizer():
                    await self.kube.add_finalizer(body)
                case DeleteFerry():
                    log.info("%s: deleting the Ferry: ttlSecondsAfterFinished has passed", full_name(body))
                    await self.kube.delete_ferry(body)


def _directive(body: Object, spec: Spec | None, withdrawn: int | None) -> str:
    """As JSON; of a spec that cannot be read as it is stored."""
    held = withdrawn is not None
    generation: int = body["metadata"]["generation"] if withdrawn is None else withdrawn
    if spec is None:
        return unreadable.directive(generation, body["spec"], held=held)
    effective = spec.model_copy(update={"cutover": spec.cutover.held()}) if held else spec
    return Directive.of(generation, effective).as_json()


def _has_finalizer(ferry: Object) -> bool:
    return FINALIZER in (ferry["metadata"].get("finalizers") or ())


def _basis(ferry: Object) -> tuple[object, ...]:
    """What a status is derived from, except for the spec: the status names the spec's generation."""
    meta = ferry["metadata"]
    return meta["uid"], meta.get("deletionTimestamp"), _has_finalizer(ferry), own_part(ferry.get("status") or {})
