"""The ControlServer's routes.

Handlers never block the event loop: calls that may wait run in a pool. Used by ``server``.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import partial
from typing import Annotated, TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import Field, ValidationError

from ferry_core.api.directive import Directive
from ferry_core.api.durations import Duration
from ferry_core.api.model import Model
from ferry_core.api.report import Report
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.api.unsupported import refuse_unsupported_directive
from ferry_core.control.answers import answer, refusal
from ferry_core.control.managed import Managed
from ferry_core.control.openapi import document
from ferry_core.control.page import PAGE, PAGE_HEADERS
from ferry_core.control.verbs import Verbs
from ferry_core.errors import FerryError
from ferry_core.reasons import Reason
from ferry_core.report.metrics import exposition

LONGEST_WAIT_SECONDS = 60.0
SLICE_SECONDS = 1.0
"""Longest time for which a long poll occupies a pool thread, so that stopping is quick."""

T = TypeVar("T")


class NewThrottle(Model):
    """Body of POST /api/v1/throttle."""

    max_rows_per_second: Annotated[int, Field(ge=1, le=1_000_000_000)] | None
    """The new limit; null removes it."""


class Nothing(Model):
    """Body of verbs without arguments: empty, or {}."""


class Routes:
    """``pool`` runs verbs, ``pollers`` long polls, so that neither starves the other."""

    def __init__(
        self, verbs: Verbs, registry: CollectorRegistry, managed: Managed | None, pool: Executor, pollers: Executor
    ) -> None:
        self._verbs = verbs
        self._registry = registry
        self._managed = managed
        self._pool = pool
        self._pollers = pollers
        self.closing = asyncio.Event()

    def table(self) -> list[web.RouteDef]:
        """All routes; ``openapi`` describes the same ones."""
        said = {
            "pause": "no rows move until it is resumed; progress is kept",
            "resume": "rows move again",
            "cutover": "the cutover is approved; it begins when all gates are passed",
            "abort": "the run ends for good; the target is kept",
            "stop": "the run stores its progress and ends",
        }
        calls: dict[str, Callable[[], None]] = {
            "pause": self._verbs.pause,
            "resume": self._verbs.resume,
            "cutover": self._verbs.cutover,
            "abort": self._verbs.abort,
            "stop": self._verbs.stop,
        }
        verbs = [web.post(f"/api/v1/{verb}", self._simple(verb, calls[verb], said[verb])) for verb in calls]
        return [
            web.get("/api/v1/status", self.status),
            web.get("/api/v1/tables", self.tables),
            *verbs,
            web.post("/api/v1/throttle", self.throttle),
            web.post("/api/v1/verify", self.verify),
            web.put("/api/v1/directive", self.directive),
            web.get("/metrics", self.metrics),
            web.get("/healthz", self.health),
            web.get("/readyz", self.readiness),
            web.get("/openapi.json", self.openapi),
            web.get("/", self.page),
        ]

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, call)

    # -- reading --------------------------------------------------------------------------------------------------

    async def status(self, request: web.Request) -> web.StreamResponse:
        """The report. With ``wait`` and ``since`` it answers as soon as the revision exceeds ``since``."""
        wait, since, only_news = _wait(request), _since(request), _only_news(request)
        if wait is None or since is None:
            return answer(await self._run(self._verbs.progress.report))
        return answer(await self._poll(since, wait, only_news=only_news))

    async def _poll(self, since: int, wait: float, *, only_news: bool) -> Report:
        loop = asyncio.get_running_loop()
        end = loop.time() + wait
        newer = partial(self._verbs.progress.wait_changed, only_news=only_news)
        while True:
            left = 0.0 if self.closing.is_set() else max(0.0, end - loop.time())
            report = await loop.run_in_executor(self._pollers, newer, since, min(left, SLICE_SECONDS))
            if report is not None:
                return report
            if left <= 0:
                return await self._run(self._verbs.progress.report)

    async def tables(self, _: web.Request) -> web.StreamResponse:
        tables = await self._run(self._verbs.progress.tables)
        return answer({"tables": [table.model_dump(mode="json", by_alias=True) for table in tables]})

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        text = await self._run(lambda: exposition(self._registry))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(self, _: web.Request) -> web.StreamResponse:
        if self._verbs.progress.alive:
            return answer({"status": "ok"})
        return refusal(503, Reason.HANGING, "the coordinator has not responded for a minute")

    async def readiness(self, _: web.Request) -> web.StreamResponse:
        if await self._run(lambda: self._verbs.progress.ready):
            return answer({"status": "ok"})
        return refusal(503, Reason.NOT_READY, "validation has not passed yet, or the run has failed")

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        return answer(document({"Directive": Directive, "NewThrottle": NewThrottle}))

    async def page(self, _: web.Request) -> web.StreamResponse:
        return web.Response(text=PAGE, content_type="text/html", headers=PAGE_HEADERS)

    # -- verbs ----------------------------------------------------------------------------------------------------

    def _refuse_managed(self, verb: str, limit: int | None = None) -> web.Response | None:
        if self._managed is None:
            return None
        line = self._managed.instead_of(verb, limit)
        return refusal(
            409,
            Reason.MANAGED_BY_OPERATOR,
            f"this run follows its Ferry resource, whose next directive would undo it; instead: {line}",
        )

    def _simple(
        self, verb: str, call: Callable[[], None], said: str
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            Nothing.model_validate(await _body(request))
            if refused := self._refuse_managed(verb):
                return refused
            await self._run(call)
            return answer({"message": said})

        return handle

    async def throttle(self, request: web.Request) -> web.StreamResponse:
        limit = NewThrottle.model_validate(await _body(request)).max_rows_per_second
        if refused := self._refuse_managed("throttle", limit):
            return refused
        await self._run(lambda: self._verbs.set_throttle(limit))
        return answer({"message": "no cap of rows a second" if limit is None else f"at most {limit} rows a second"})

    async def verify(self, request: web.Request) -> web.StreamResponse:
        Nothing.model_validate(await _body(request))
        return self._refuse_managed("verify") or refusal(
            422, Reason.NOT_BUILT_YET, "not supported yet: a run verifies before the cutover, not on request"
        )

    async def directive(self, request: web.Request) -> web.StreamResponse:
        """All that the spec says, whole, and which generation is acted on. One that is refused may hold back."""
        body = await request.read()
        try:
            directive = Directive.model_validate_json(body)
            refuse_unsupported_directive(directive)
            self._verbs.check(directive)
            await self._run(lambda: self._verbs.directive(directive))
        except (ValidationError, FerryError, OSError) as error:
            override = SafetyOverride.of(body, error)
            if override is not None:
                await self._run(lambda: self._verbs.override(override))
            raise
        report = await self._run(self._verbs.progress.report)
        return answer({"acknowledgedGeneration": report.copier.acknowledged_generation})


async def _body(request: web.Request) -> object:
    raw = await request.read()
    if not raw.strip():
        return {}
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise web.HTTPBadRequest(text=f"the body is no JSON: {error}") from error


def _wait(request: web.Request) -> float | None:
    text = request.query.get("wait")
    if text is None:
        return None
    try:
        return min(Duration(text), LONGEST_WAIT_SECONDS)
    except ValueError as error:
        raise web.HTTPBadRequest(text=f"wait: {error}") from error


def _only_news(request: web.Request) -> bool:
    text = request.query.get("only")
    if text not in (None, "news"):
        raise web.HTTPBadRequest(text=f"only: {text!r}; the only value is news")
    return text is not None


def _since(request: web.Request) -> int | None:
    text = request.query.get("since")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise web.HTTPBadRequest(text=f"since: {text!r} is not a revision; give a whole number")
    return int(text)
