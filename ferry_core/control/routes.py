"""The ControlServer's routes: one table, from which the server and its OpenAPI document are made.

Handlers never block the event loop: calls that may wait run in a pool. Used by ``server``.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from importlib.metadata import version
from typing import TypeVar

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ferry_core.api.control import Health, History, RunReport, Settings, TableReports
from ferry_core.api.durations import DURATION_PATTERN, Duration
from ferry_core.api.report import Report
from ferry_core.control.answers import answer, refusal
from ferry_core.control.commands import Commands
from ferry_core.control.live import Live
from ferry_core.control.managed import Managed
from ferry_core.control.openapi import document
from ferry_core.control.page import routes as page_routes
from ferry_core.control.route import Query, Route
from ferry_core.control.verbs import Verbs
from ferry_core.reasons import Reason
from ferry_core.report.metrics import exposition
from ferry_core.report.samples import Samples

LONGEST_WAIT_SECONDS = 60.0
SLICE_SECONDS = 1.0
"""Longest time for which a long poll occupies a pool thread, so that stopping is quick."""

POLL = (
    Query(
        "wait", "How long to wait for a newer report; at most 1m.", {"type": "string", "pattern": DURATION_PATTERN,
                                                                    "maxLength": 32}
    ),
    Query("since", "The revision that the caller knows.", {"type": "integer", "minimum": 0, "maximum": 10**18}),
    Query("only", "news: changed numbers alone are not waited for.", {"type": "string", "enum": ["news"]}),
)  # fmt: skip

T = TypeVar("T")


class Routes:
    """``pool`` runs commands, ``pollers`` long polls, so that neither starves the other."""

    def __init__(
        self, verbs: Verbs, registry: CollectorRegistry, managed: Managed | None, pool: Executor, pollers: Executor
    ) -> None:
        self._verbs = verbs
        self._registry = registry
        self._managed = managed
        self.pool = pool
        self._pollers = pollers
        self._commands = Commands(verbs, managed, pool)
        self.closing = asyncio.Event()
        self.samples = Samples(verbs.progress)
        self._live = Live(verbs.progress, self._described, pollers, self.closing)

    def table(self) -> list[Route]:
        """All routes."""
        reading = [
            Route("GET", "/api/v1/status", "status", "The run's status; with wait and since, once it is newer.",
                  self.status, Report, query=POLL),
            Route("GET", "/api/v1/tables", "tables", "Every selected table.", self.tables, TableReports),
            Route("GET", "/api/v1/run", "run", "Which run this is, and what is wanted of it.", self.run, RunReport),
            Route("GET", "/api/v1/settings", "settings", "What can be tuned now.", self.settings, Settings),
            Route("GET", "/api/v1/history", "history", "Figures over time, and recent events.", self.history, History),
            Route("GET", "/api/v1/events", "events",
                  "Server-sent events: run (RunReport), status (Report) and tables (TableChanges), when they change.",
                  self._live.events, "text/event-stream"),
            Route("GET", "/metrics", "metrics", "Metrics for Prometheus.", self.metrics, "text/plain"),
            Route("GET", "/healthz", "healthz", "Whether the run is alive.", self.health, Health, public=True),
            Route("GET", "/readyz", "readyz", "Whether it was validated and works.", self.readiness, Health,
                  public=True),
            Route("GET", "/openapi.json", "openapi", "This document.", self.openapi, "application/json"),
        ]  # fmt: skip
        return [*reading, *self._commands.routes(), *page_routes()]

    async def _run(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

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
        return answer(TableReports(tables=await self._run(self._verbs.progress.tables)))

    def _described(self) -> RunReport:
        wanted = self._verbs.wanted
        return RunReport(
            name=self._verbs.name,
            version=version("mysql-ferry"),
            managed=self._managed is not None,
            paused=wanted.paused,
            cutover_mode=wanted.cutover.mode.value,
            cutover_approved=wanted.cutover.permitted,
        )

    async def run(self, _: web.Request) -> web.StreamResponse:
        return answer(self._described())

    async def settings(self, _: web.Request) -> web.StreamResponse:
        wanted = self._verbs.wanted
        return answer(Settings(copy_=wanted.copy_, throttle=wanted.throttle))

    async def history(self, _: web.Request) -> web.StreamResponse:
        events = await self._run(self._verbs.progress.events)
        return answer(History(samples=self.samples.all(), events=events))

    async def metrics(self, _: web.Request) -> web.StreamResponse:
        text = await self._run(lambda: exposition(self._registry))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def health(self, _: web.Request) -> web.StreamResponse:
        if self._verbs.progress.alive:
            return answer(Health(status="ok"))
        return refusal(503, Reason.HANGING, "the coordinator has not responded for a minute")

    async def readiness(self, _: web.Request) -> web.StreamResponse:
        if await self._run(lambda: self._verbs.progress.ready):
            return answer(Health(status="ok"))
        return refusal(503, Reason.NOT_READY, "validation has not passed yet, or the run has failed")

    async def openapi(self, _: web.Request) -> web.StreamResponse:
        return answer(document(self.table()))


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
