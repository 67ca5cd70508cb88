"""One Ferry's loop: observe, decide, act, then sleep until something may have changed. Called by ``handlers``."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ferry_operator.act import Actor, Memory
from ferry_operator.budget import EACH_SECONDS
from ferry_operator.copier import CopierLink
from ferry_operator.decide import decide
from ferry_operator.kube import KubeError
from ferry_operator.names import Object, Role
from ferry_operator.observe import Observed, PodView, ferry_view
from ferry_operator.plan import CreatePod, Plan

if TYPE_CHECKING:
    from ferry_operator.copier import Exchange
    from ferry_operator.fleet import Fleet
    from ferry_operator.metrics import Metrics

log = logging.getLogger(__name__)

_ERROR_PAUSES = (1.0, 2.0, 5.0, 10.0, 20.0)


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

    def close(self) -> None:
        self.link.close()

    async def run(self, stopped: Callable[[], bool]) -> None:
        """Until stopped; whatever goes wrong in a round is tried again."""
        failures = 0
        while not stopped():
            self._woken.clear()
            try:
                # Of a plan only this: kept over the sleep, a thousand of them would take 5 MB.
                pause, failures = (await self.round()).next_look, 0
                if self._memory.held_back:
                    pause = min(pause, EACH_SECONDS)
            except KubeError as error:
                if error.not_found:
                    return  # the Ferry is gone; the watch will say so
                pause = _ERROR_PAUSES[min(failures, len(_ERROR_PAUSES) - 1)]
                failures += 1
                self._office.metrics.failed(error.reason or "Unreachable")
                log.warning("%s: %s; again in %.0f s", self._name(), error, pause)
                await self.complain(error)
            except Exception:
                pause = _ERROR_PAUSES[min(failures, len(_ERROR_PAUSES) - 1)]
                failures += 1
                self._office.metrics.failed("Bug")
                log.exception("%s: a round failed; again in %.0f s", self._name(), pause)
            await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        """Until woken, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return

    async def complain(self, error: KubeError) -> None:
        """Where the status cannot tell of a refusal, an Event does."""
        await self._office.actor.complain(self._body(), error)

    async def round(self) -> Plan:
        """One look and what follows from it."""
        began = time.perf_counter()
        while True:
            body = self.newest()
            seen = self._observe(body)
            plan = decide(seen)
            self._place(seen, plan)
            changed = await self._office.actor.act(body, seen.ferry.spec, plan, self.link, self._memory)
            if not changed:
                self._office.metrics.reconciled(time.perf_counter() - began)
                return plan

    def newest(self) -> Object:
        """The watch's object or the one of our own last write, which the watch may not have told yet."""
        body, written = self._body(), self._memory.written
        if written is None:
            return body
        if written["metadata"]["uid"] == self._uid and _version(written) > _version(body):
            return written
        self._memory.written = None
        return body

    def _observe(self, body: Object) -> Observed:
        ferry = ferry_view(body)
        trouble = self._memory.trouble
        if trouble is not None and trouble.generation != ferry.generation:
            self._memory.trouble = None
        pods = list(self._pods())
        copier = next((pod for pod in pods if pod.role is Role.COPIER), None)
        helper = next((pod for pod in pods if pod.role is not Role.COPIER), None)
        self.link.follow(None if ferry.deleting_since is not None else copier)
        if copier is not None:
            self._office.fleet.hold(self._uid)
        return Observed(
            ferry=ferry,
            now=datetime.now(UTC),
            copier=copier,
            helper=helper,
            link=self.link.view,
            admitted=copier is not None or self._office.fleet.ask(self._uid, body["metadata"]["creationTimestamp"]),
            trouble=self._memory.trouble,
            namespace_ending=self._memory.namespace_ending,
        )

    def _place(self, seen: Observed, plan: Plan) -> None:
        """A Ferry without a Pod and without the wish for one holds no place."""
        wants = any(isinstance(action, CreatePod) for action in plan.actions)
        done = seen.copier is None or seen.copier.phase == "Succeeded"
        if done and not wants and (seen.admitted or seen.ferry.deleting_since is not None):
            self._office.fleet.leave(self._uid)

    def _name(self) -> str:
        meta = self._body()["metadata"]
        return f"{meta['namespace']}/{meta['name']}"


def _version(body: Object) -> int:
    return int(body["metadata"]["resourceVersion"])
