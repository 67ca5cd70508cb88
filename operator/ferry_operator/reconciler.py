"""One Ferry's loop: observe, decide, act, then sleep until something may have changed. Called by ``handlers``."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferry_core.api.spec import Spec
from ferry_operator.act import Actor
from ferry_operator.copier_client import CopierClient
from ferry_operator.decide import decide
from ferry_operator.kube import KubeError
from ferry_operator.names import Object, Role, full_name
from ferry_operator.observe import FerryView, Observed, PodView, ferry_view
from ferry_operator.plan import RESYNC_SECONDS, SOON_SECONDS, CreatePod, Plan
from ferry_operator.round_state import RoundState

if TYPE_CHECKING:
    from ferry_operator.copier_client import CopierClients
    from ferry_operator.metrics import Metrics
    from ferry_operator.run_slots import RunSlots

log = logging.getLogger(__name__)

_ERROR_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Pauses after failed rounds. Most causes end within seconds; a person who fixes the others can wait for the last
one.
"""
_FEW_CONFLICTS = 5
"""In a row: no error, since kopf and users change a Ferry too."""
_CONFLICT_PAUSES = (0.02,) * _FEW_CONFLICTS + (0.1, 0.2, 0.5, 1.0)
"""Pauses after rounds that end with a conflict: observe again at once. Varied by half, so that two operators do not
meet again and again.
"""
_RELEASE_POLL = 3.0
"""While kopf handles a deletion it delivers no events of the Ferry, so a change by its user is found by polling."""


@dataclass(frozen=True)
class OperatorContext:
    """What all reconcilers share."""

    actor: Actor
    copiers: "CopierClients"
    slots: "RunSlots"
    metrics: "Metrics"
    reconcilers: dict[str, "Reconciler"]
    """By uid of the Ferry."""
    watched_versions: dict[str, int]
    """The resourceVersion of each Ferry and Pod that the watches delivered last, by uid."""


class Reconciler:
    """Reconciles one Ferry. ``body`` and ``pods`` return what the watches know of it and of its Pods now."""

    def __init__(
        self,
        context: OperatorContext,
        uid: str,
        body: Callable[[], Object],
        pods: Callable[[], Iterable[PodView]],
        state: RoundState | None = None,
    ) -> None:
        self._context = context
        self._uid = uid
        self._body = body
        self._pods = pods
        self._state = state or RoundState()
        self._woken = asyncio.Event()
        token = context.actor.identity.token(uid)
        self.copier = CopierClient(context.copiers, uid, token, self.wake)

    def wake(self) -> None:
        """Something may have changed."""
        self._woken.set()

    def release_slot(self) -> None:
        """Nothing reconciles this Ferry any more, so its slot is free, unless a copier still uses it."""
        if all(pod.role is not Role.COPIER for pod in self._pods()):
            self._context.slots.release(self._uid)

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until stopped, or until nothing is left to do. A round that fails is retried, whatever the error."""
        while not stopped():
            pause = await self._round_or_error()
            if pause is None:
                return
            await self.sleep(pause)

    async def release(self, seconds: float) -> bool:
        """Whether the finalizer of the deleted Ferry may be removed. False: not within so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            pause = await self._round_or_error(_RELEASE_POLL, refresh=True)
            if pause is None:
                return True
            await self.sleep(min(pause, left))
        return False

    async def _round_or_error(self, longest: float = RESYNC_SECONDS, *, refresh: bool = False) -> float | None:
        """Returns the seconds until the next round is due, or None if nothing is left to do for the Ferry.

        ``refresh``: read the Ferry itself first.
        """
        self._woken.clear()
        try:
            if refresh and await self._gone():
                return None
            plan = await self.round()
        except Exception as error:  # noqa: BLE001 - reported by its kind
            return await self._failed(error)
        self._state.failures = self._state.conflicts = 0
        if plan.released:
            return None
        # Not the plan itself: kept over the sleep, a thousand of them would take 5 MB.
        return min(plan.next_look, self._state.held_back or longest)

    async def _failed(self, error: Exception) -> float | None:
        """The same for a round that raised ``error``."""
        conflict = isinstance(error, KubeError) and error.conflict
        # A 404 does not prove that the Ferry is gone: it may be about any object.
        if conflict or (isinstance(error, KubeError) and error.not_found):
            with contextlib.suppress(KubeError):  # then the first error is reported
                if await self._gone():
                    return None
        if conflict:
            return self._conflicted(error)
        self._state.conflicts = 0
        pause = _ERROR_PAUSES[min(self._state.failures, len(_ERROR_PAUSES) - 1)]
        if self._state.undelivered:  # a user may wait for it, whatever prevents the status
            pause = min(pause, SOON_SECONDS)
        self._state.failures += 1
        if isinstance(error, KubeError):
            self._context.metrics.failed(error.reason or "Unreachable")
            log.warning("%s: %s; retrying in %.0f s", self._name(), error, pause)
            # If the status is what was refused, only an Event can report it.
            await self._context.actor.events.post_refusal(self._body(), error)
        else:
            self._context.metrics.failed("Bug")
            log.error("%s: a round failed; retrying in %.0f s", self._name(), pause, exc_info=error)
        return pause

    def _conflicted(self, error: Exception) -> float:
        """The same for a conflict."""
        self._state.conflicts += 1
        if self._state.conflicts > _FEW_CONFLICTS:
            self._context.metrics.failed("Conflict")
            log.warning("%s: %d conflicts in a row, the last one: %s", self._name(), self._state.conflicts, error)
        pause = _CONFLICT_PAUSES[min(self._state.conflicts, len(_CONFLICT_PAUSES)) - 1]
        return pause * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

    async def _gone(self) -> bool:
        """Read the Ferry: whether it no longer exists. If it does, the next round uses what was read."""
        meta = self._body()["metadata"]
        try:
            found = await self._context.actor.kube.get_ferry(meta["namespace"], meta["name"])
        except KubeError as error:
            if error.not_found:
                return True
            raise
        if found["metadata"]["uid"] != self._uid:
            return True
        self._state.written = found
        return False

    async def sleep(self, seconds: float) -> None:
        """Until woken, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def round(self) -> Plan:
        """Observe, decide and act once. Where it has to wait for its turn to act, it keeps nothing and observes again.

        Plans of a thousand Ferries that change at once would leave holes of megabytes, which Python never returns.
        """
        began = time.perf_counter()
        actor = self._context.actor
        decided = self._decide()
        await actor.send_directives(*decided, self.copier, self._state)
        wait = actor.concurrency.locked()
        if wait:
            del decided
        async with actor.concurrency:
            body, spec, plan = self._decide() if wait else decided
            await actor.act(body, spec, plan, self._state)
        self._context.metrics.reconciled(time.perf_counter() - began)
        return plan

    def _decide(self) -> tuple[Object, Spec | None, Plan]:
        """No more than acting needs."""
        body = self.newest()
        if body is not self._state.written:
            self._state.written = None  # the watch has caught up
        seen = self._observe(body)
        plan = decide(seen)
        self._release_unused_slot(seen, plan)
        return body, seen.ferry.spec if plan.actions else None, plan

    def newest(self) -> Object:
        """The watch's object, or the result of our own last write if the watch has not delivered that yet."""
        body, written = self._body(), self._state.written
        if written is not None and written["metadata"]["uid"] == self._uid and _version(written) > _version(body):
            return written
        return body

    def _observe(self, body: Object) -> Observed:
        ferry = ferry_view(body)
        refusal = self._state.refusal
        if refusal is not None and refusal.generation != ferry.generation:
            self._state.refusal = None
        pods = list(self._pods())
        if pods:
            self._state.taken_since = None  # the Pod that had the name is one of these
        copier = next((pod for pod in pods if pod.role is Role.COPIER), None)
        helper = next((pod for pod in pods if pod.role is not Role.COPIER), None)
        self.copier.follow(None if ferry.deleting_since is not None else copier)
        return Observed(
            ferry=ferry,
            now=datetime.now(UTC),
            copier=copier,
            helper=helper,
            link=self.copier.view,
            admitted=self._admitted(ferry, copier, body["metadata"]["creationTimestamp"]),
            refusal=self._state.refusal,
            namespace_ending=self._state.namespace_ending,
        )

    def _admitted(self, ferry: FerryView, copier: PodView | None, created: str) -> bool:
        """Whether it has a slot. None for a Ferry that may vanish without us: nothing would release the slot."""
        if copier is not None:
            self._context.slots.adopt(self._uid)
            return True
        return ferry.held and ferry.deleting_since is None and self._context.slots.acquire(self._uid, created)

    def _release_unused_slot(self, seen: Observed, plan: Plan) -> None:
        """A Ferry that neither has a Pod nor creates one needs no slot."""
        wants = any(isinstance(action, CreatePod) for action in plan.actions)
        done = seen.copier is None or seen.copier.phase == "Succeeded"
        ends = seen.ferry.deleting_since is not None
        if plan.released or (done and (ends or (seen.admitted and not wants))):
            self._context.slots.release(self._uid)

    def _name(self) -> str:
        return full_name(self._body())


def _version(body: Object) -> int:
    return int(body["metadata"]["resourceVersion"])
