"""Metrics and probes over HTTP, and the check whether the watches still work. Called by ``app``.

kopf's own liveness endpoint answers 200 whatever its watches do.
"""

import asyncio
import contextlib
import ctypes
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from ferry_core.api.crd import GROUP, PLURAL
from ferry_operator.kube import Kube, KubeError
from ferry_operator.metrics import Metrics

log = logging.getLogger(__name__)

CHECK_SECONDS = 60.0
_LAG_SECONDS = 0.5
_LONGEST_CHECK = 60.0
"""Timeout of one comparison. Queued behind a thousand requests to a hanging API server it would take half an hour."""
_GONE = -1


class WatchChecker:
    """Compares the API's objects with those that the watches delivered, and measures the event loop's lag."""

    def __init__(
        self, kube: Kube, delivered: Mapping[str, int], namespaces: tuple[str, ...], metrics: Metrics,
        check_seconds: float = CHECK_SECONDS, now: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._kube = kube
        self._delivered = delivered
        self.namespaces = namespaces
        """The namespaces to compare; none: all."""
        self._metrics = metrics
        self._check_seconds = check_seconds
        self._missing: dict[str, int] = {}
        self._had: dict[str, set[str]] = {}
        """The uids in each namespace, as last read."""
        self._now = now
        self._checked_at: float | None = None
        """When the last comparison ended, successfully or not; None before the start."""
        self._ended = False
        self.problem = ""

    async def run(self) -> None:
        """Until cancelled."""
        self._checked_at = self._now()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._measure_lag())
                group.create_task(self._check_repeatedly())
        except Exception:
            log.exception("the watch checker has failed")
        finally:
            self._ended = True

    @property
    def unhealthy(self) -> str:
        """Why this process should be restarted; empty while it is healthy."""
        if self._ended:
            return "the watch checker has failed; the log says why"
        if self._checked_at is not None:
            silent = self._now() - self._checked_at
            if silent > 3 * max(self._check_seconds, _LONGEST_CHECK):
                return f"the watches have not been compared with the API for {silent:.0f} s"
        return self.problem

    async def _measure_lag(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_LAG_SECONDS)
            self._metrics.lag.set(max(0.0, time.perf_counter() - began - _LAG_SECONDS))

    async def _check_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                async with asyncio.timeout(_LONGEST_CHECK):
                    await self.check()
            except KubeError as error:
                self._not_checked(error)
            except TimeoutError:
                log.info("watches not checked: kube-apiserver did not answer within %.0f s", _LONGEST_CHECK)
            self._checked_at = self._now()
            _trim_memory()

    def _not_checked(self, error: KubeError) -> None:
        if error.not_found:
            # kopf ends its watch at the 404 and then often hangs; a new process waits for the CRD.
            self.problem = f"the CustomResourceDefinition {PLURAL}.{GROUP} does not exist any more"
            log.error("%s", self.problem)
        else:
            # An unavailable API is no reason to restart.
            log.info("watches not checked: %s", error)

    async def check(self) -> None:
        """The watches are broken if the same change is missing in two comparisons in a row."""
        found: dict[str, int] = {}
        for namespace in self.namespaces or (None,):
            found |= await self._versions(namespace)
        late = {uid: version for uid, version in found.items() if self._delivered.get(uid, 0) < version}
        late |= {uid: _GONE for uid in self._delivered if uid not in found}
        stuck = [uid for uid, version in late.items() if self._still(uid, version)]
        self._missing = late
        self.problem = (
            f"the watch has missed changes of {len(stuck)} Ferries or Pods for {self._check_seconds:.0f} s"
            if stuck
            else ""
        )
        if self.problem:
            log.error("%s", self.problem)

    async def _versions(self, namespace: str | None) -> dict[str, int]:
        """What the API has. Of a namespace that may not be read any more, what it had before: the others are compared
        all the same, and its watch goes on by itself once the permission is back.
        """
        try:
            found = await self._kube.list_versions(namespace)
        except KubeError as error:
            if namespace is None or error.status != HTTPStatus.FORBIDDEN:
                raise
            log.warning("namespace %s is not compared; was it deleted? %s", namespace, error)
            return {uid: self._delivered.get(uid, 0) for uid in self._had.get(namespace, ())}
        if namespace is not None:
            self._had[namespace] = set(found)
        return found

    def _still(self, uid: str, version: int) -> bool:
        """Whether the change that was missing in the comparison before is missing still."""
        before = self._missing.get(uid)
        if before is None or _GONE in (version, before):
            return before == version
        return self._delivered.get(uid, 0) < before


def _trim_memory() -> None:
    """Return memory that the start or a burst of events took: glibc keeps 25 KiB per Ferry until asked."""
    with contextlib.suppress(OSError, AttributeError):  # another libc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def application(metrics: Metrics, watch_checker: WatchChecker, ready: asyncio.Event) -> web.Application:
    """/metrics, /healthz, /readyz."""

    async def show_metrics(_: web.Request) -> web.Response:
        # In a thread: a thousand Ferries have 50,000 series, which would block the loop for half a second.
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
