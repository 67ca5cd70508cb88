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
from ferry_operator.act import Actor, Memory
from ferry_operator.copier import CopierLink
from ferry_operator.decide import decide
from ferry_operator.kube import KubeError
from ferry_operator.names import Object, Role
from ferry_operator.observe import FerryView, Observed, PodView, ferry_view
from ferry_operator.plan import REST_SECONDS, CreatePod, Plan

if TYPE_CHECKING:
    from ferry_operator.copier import Exchange
    from ferry_operator.fleet import Fleet
    from ferry_operator.metrics import Metrics

log = logging.getLogger(__name__)

_ERROR_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Between rounds that fail: most causes are gone within seconds, and who mends the others looks for as long."""
_CONFLICT_PAUSES = (0.02,) * 5 + (0.1, 0.2, 0.5, 1.0)
"""After a conflict, which is no error: look again at once. Varied by half, or two that met would meet again."""
_RELEASE_LOOK = 3.0
"""While a deletion is handled kopf tells nothing of the Ferry: that its user gives up is found by asking."""


@dataclass(frozen=True)
class Office:
    """What all tenders share."""

    actor: Actor
    copiers: "Exchange"
    fleet: "Fleet"
    metrics: "Metrics"
    tenders: dict[str, "Tender"]
    told: dict[str, int]
    """resourceVersion of each Ferry and Pod as the watches told it last, by uid."""


class Tender:
    """Tends one Ferry, known by its uid. ``pods`` reads the watch's view of the Pods that belong to it."""

    def __init__(
        self,
        office: Office,
        uid: str,
        body: Callable[[], Object],
        pods: Callable[[], Iterable[PodView]],
        memory: Memory | None = None,
    ) -> None:
        self._office = office
        self._uid = uid
        self._body = body
        self._pods = pods
        self._memory = memory or Memory()
        self._woken = asyncio.Event()
        token = office.actor.identity.token(uid)
        self.link = CopierLink(office.copiers, uid, token, self.wake)

    def wake(self) -> None:
        """Something may have changed."""
        self._woken.set()

    def leave(self) -> None:
        """Nobody tends it any more, who would give its place back; only a copier keeps that, until its Pod is gone."""
        if all(pod.role is not Role.COPIER for pod in self._pods()):
            self._office.fleet.leave(self._uid)

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until stopped, or until nothing is left to tend; whatever goes wrong in a round is tried again."""
        while not stopped():
            pause = await self._turn()
            if pause is None:
                return
            await self.sleep(pause)

    async def release(self, seconds: float) -> bool:
        """Whether the deleted Ferry may go; False: not yet, after so many seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            pause = await self._turn(_RELEASE_LOOK, ask=True)
            if pause is None:
                return True
            await self.sleep(min(pause, left))
        return False

    async def _turn(self, longest: float = REST_SECONDS, *, ask: bool = False) -> float | None:
        """One round; after how many seconds the next one is due, or None if nothing is left to do for the Ferry.

        ``ask``: for the Ferry itself, before it.
        """
        self._woken.clear()
        try:
            if ask and await self._gone():
                return None
            plan = await self.round()
        except Exception as error:  # noqa: BLE001 - told by its kind
            return await self._failed(error)
        self._memory.failures = self._memory.conflicts = 0
        if plan.released:
            return None
        # Of a plan only this: kept over the sleep, a thousand of them would take 5 MB.
        return min(plan.next_look, self._memory.held_back or longest)

    async def _failed(self, error: Exception) -> float | None:
        """The same of a round that failed."""
        conflict = isinstance(error, KubeError) and error.conflict
        # A 404 may be of anything: an admission webhook gives what code it likes.
        if conflict or (isinstance(error, KubeError) and error.not_found):
            with contextlib.suppress(KubeError):  # then nothing more is known: what has failed is told
                if await self._gone():
                    return None
        if conflict:
            return self._conflicted(error)
        self._memory.conflicts = 0
        pause = _ERROR_PAUSES[min(self._memory.failures, len(_ERROR_PAUSES) - 1)]
        self._memory.failures += 1
        if isinstance(error, KubeError):
            self._office.metrics.failed(error.reason or "Unreachable")
            log.warning("%s: %s; again in %.0f s", self._name(), error, pause)
            # Where the status cannot tell of a refusal, an Event does.
            await self._office.actor.complain(self._body(), error)
        else:
            self._office.metrics.failed("Bug")
            log.error("%s: a round failed; again in %.0f s", self._name(), pause, exc_info=error)
        return pause

    def _conflicted(self, error: Exception) -> float:
        """The same of one that met a conflict: the next one looks anew."""
        self._memory.conflicts += 1
        self._office.metrics.failed("Conflict")
        if self._memory.conflicts >= len(_CONFLICT_PAUSES):
            log.warning("%s: %d conflicts in a row, the last one: %s", self._name(), self._memory.conflicts, error)
        longest = _CONFLICT_PAUSES[min(self._memory.conflicts, len(_CONFLICT_PAUSES)) - 1]
        return longest * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

    async def _gone(self) -> bool:
        """Ask for the Ferry itself: whether it is surely gone; else what is so is remembered."""
        meta = self._body()["metadata"]
        try:
            found = await self._office.actor.kube.get_ferry(meta["namespace"], meta["name"])
        except KubeError as error:
            if error.not_found:
                return True
            raise
        if found["metadata"]["uid"] != self._uid:
            return True
        self._memory.written = found
        return False

    async def sleep(self, seconds: float) -> None:
        """Until woken, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def round(self) -> Plan:
        """One look and what follows from it. Whoever has to wait for a turn keeps nothing meanwhile, and looks again.

        Plans of a thousand Ferries that have news at once leave holes of megabytes, which Python never gives back.
        """
        began = time.perf_counter()
        actor = self._office.actor
        looked = self._look()
        await actor.direct(*looked, self.link, self._memory)
        wait = actor.turns.locked()
        if wait:
            del looked
        async with actor.turns:
            body, spec, plan = self._look() if wait else looked
            await actor.act(body, spec, plan, self._memory)
        self._office.metrics.reconciled(time.perf_counter() - began)
        return plan

    def _look(self) -> tuple[Object, Spec | None, Plan]:
        """No more than acting needs."""
        body = self.newest()
        if body is not self._memory.written:
            self._memory.written = None  # the watch has told as much
        seen = self._observe(body)
        plan = decide(seen)
        self._place(seen, plan)
        return body, seen.ferry.spec if plan.actions else None, plan

    def newest(self) -> Object:
        """The watch's object or the one of our own last write, which the watch may not have told yet."""
        body, written = self._body(), self._memory.written
        if written is not None and written["metadata"]["uid"] == self._uid and _version(written) > _version(body):
            return written
        return body

    def _observe(self, body: Object) -> Observed:
        ferry = ferry_view(body)
        trouble = self._memory.trouble
        if trouble is not None and trouble.generation != ferry.generation:
            self._memory.trouble = None
        pods = list(self._pods())
        if pods:
            self._memory.taken_since = None  # whose name was taken was one of these
        copier = next((pod for pod in pods if pod.role is Role.COPIER), None)
        helper = next((pod for pod in pods if pod.role is not Role.COPIER), None)
        self.link.follow(None if ferry.deleting_since is not None else copier)
        return Observed(
            ferry=ferry,
            now=datetime.now(UTC),
            copier=copier,
            helper=helper,
            link=self.link.view,
            admitted=self._admitted(ferry, copier, body["metadata"]["creationTimestamp"]),
            trouble=self._memory.trouble,
            namespace_ending=self._memory.namespace_ending,
        )

    def _admitted(self, ferry: FerryView, copier: PodView | None, created: str) -> bool:
        """Whether it has a place. One that may vanish without us, or will, is given none: nobody would take it back."""
        if copier is not None:
            self._office.fleet.hold(self._uid)
            return True
        return ferry.held and ferry.deleting_since is None and self._office.fleet.ask(self._uid, created)

    def _place(self, seen: Observed, plan: Plan) -> None:
        """A Ferry without a Pod and without the wish for one holds no place."""
        wants = any(isinstance(action, CreatePod) for action in plan.actions)
        done = seen.copier is None or seen.copier.phase == "Succeeded"
        ends = seen.ferry.deleting_since is not None
        if plan.released or (done and (ends or (seen.admitted and not wants))):
            self._office.fleet.leave(self._uid)

    def _name(self) -> str:
        meta = self._body()["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


def _version(body: Object) -> int:
    return int(body["metadata"]["resourceVersion"])
