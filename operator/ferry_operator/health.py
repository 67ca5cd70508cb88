"""Metrics and probes over HTTP, and the watch_checker who finds out whether watches still tell the truth.

kopf's own liveness answers 200 whatever its watches do. Called by ``app``.
"""

import asyncio
import contextlib
import ctypes
import logging
import time
from collections.abc import Callable, Mapping

from aiohttp import web

from ferry_core.api.crd import GROUP, PLURAL
from ferry_operator.kube import Kube, KubeError
from ferry_operator.metrics import Metrics

log = logging.getLogger(__name__)

CHECK_SECONDS = 60.0
_BEAT_SECONDS = 0.5
_LONGEST_CHECK = 60.0
"""Behind a thousand requests to an API server that hangs, its turn would come after half an hour."""
_GONE = -1


class WatchChecker:
    """Compares what the API has with what the watches told, and measures how late the event loop is."""

    def __init__(
        self, kube: Kube, told: Mapping[str, int], namespaces: tuple[str, ...], metrics: Metrics,
        check_seconds: float = CHECK_SECONDS, now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._kube = kube
        self._told = told
        self.namespaces = namespaces
        """Where it looks; none: everywhere."""
        self._metrics = metrics
        self._check_seconds = check_seconds
        self._behind: dict[str, int] = {}
        self._now = now
        self._looked_at: float | None = None
        """When it looked last, also if in vain; None before it begins."""
        self._ended = False
        self.problem = ""

    async def run(self) -> None:
        """For ever."""
        self._looked_at = self._now()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._beat())
                group.create_task(self._check_for_ever())
        except Exception:
            log.exception("nobody compares watches with the API any more")
        finally:
            self._ended = True

    @property
    def unhealthy(self) -> str:
        """Why this process should be started anew; empty while it is well."""
        if self._ended:
            return "nobody compares watches with the API any more; the log says why"
        if self._looked_at is not None:
            silent = self._now() - self._looked_at
            if silent > 3 * max(self._check_seconds, _LONGEST_CHECK):
                return f"nobody has compared watches with the API for {silent:.0f} s"
        return self.problem

    async def _beat(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_BEAT_SECONDS)
            self._metrics.lag.set(max(0.0, time.perf_counter() - began - _BEAT_SECONDS))

    async def _check_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                async with asyncio.timeout(_LONGEST_CHECK):
                    await self.check()
            except KubeError as error:
                self._not_checked(error)
            except TimeoutError:
                log.info("watches not checked: kube-apiserver has not told all within %.0f s", _LONGEST_CHECK)
            self._looked_at = self._now()
            _give_back()

    def _not_checked(self, error: KubeError) -> None:
        if error.not_found:
            # kopf gives up at its watch's 404 and then often hangs; a new process waits for the CRD.
            self.problem = f"the CustomResourceDefinition {PLURAL}.{GROUP} is gone"
            log.error("%s", self.problem)
        else:
            # An API that is away is no reason to restart: that would not bring it back.
            log.info("watches not checked: %s", error)

    async def check(self) -> None:
        """What was missed at two checks in a row, the watch will not tell any more."""
        found: dict[str, int] = {}
        for namespace in self.namespaces or (None,):
            found |= await self._kube.list_versions(namespace)
        late = {uid: version for uid, version in found.items() if self._told.get(uid, 0) < version}
        late |= {uid: _GONE for uid in self._told if uid not in found}
        stuck = [uid for uid, version in late.items() if self._still(uid, version)]
        self._behind = late
        self.problem = (
            f"the watch has not told of {len(stuck)} Ferries or Pods for {self._check_seconds:.0f} s" if stuck else ""
        )
        if self.problem:
            log.error("%s", self.problem)

    def _still(self, uid: str, version: int) -> bool:
        """It was behind at the check before, and what it had missed then it has not seen since."""
        before = self._behind.get(uid)
        if before is None or _GONE in (version, before):
            return before == version
        return self._told.get(uid, 0) < before


def _give_back() -> None:
    """RoundState that the start or a storm of events took: glibc keeps it, 25 KiB a Ferry, until it is asked."""
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def application(metrics: Metrics, watch_checker: WatchChecker, ready: asyncio.Event) -> web.Application:
    """/metrics, /healthz, /readyz."""

    async def show_metrics(_: web.Request) -> web.Response:
        # In a thread: a thousand Ferries have 50,000 series, for which the loop would stand still for half a second.
        text = await asyncio.to_thread(metrics.snapshot())
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def healthz(_: web.Request) -> web.Response:
        if watch_checker.unhealthy:
            return web.Response(status=503, text=watch_checker.unhealthy)
        return web.Response(text="ok")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if ready.is_set() else web.Response(status=503, text="starting")

    app = web.Application()
    app.add_routes([web.get("/metrics", show_metrics), web.get("/healthz", healthz), web.get("/readyz", readyz)])
    return app
