"""Server-sent events: the report, and the tables that changed, as soon as they change. Used by ``routes``.

The status page reads them. One watcher reads the run for all streams, and only while there are any: of 5,000 tables
that takes 50 ms under the lock of ``Progress``, which the copy needs too.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

from aiohttp import web

from ferry_core.api.control import RunReport
from ferry_core.control.answers import refusal
from ferry_core.http_limits import IDLE_SECONDS
from ferry_core.reasons import Reason
from ferry_core.report.progress import Progress

log = logging.getLogger(__name__)

MOST_STREAMS = 20
SHORTEST_PAUSE = 0.25
"""Between two events: during a cutover each step is news."""
SLICE_SECONDS = 1.0
SILENT_SECONDS = 15.0
"""After that a comment is sent, so that neither side nor a proxy takes the connection for dead."""

HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class _Snapshot:
    """What all streams send, as JSON."""

    revision: int = 0
    run: str = ""
    status: str = ""
    tables: Mapping[str, str] = field(default_factory=dict)
    """By name."""


class Live:
    """All streams of a server. ``run`` describes what people want of the run."""

    def __init__(
        self, progress: Progress, run: Callable[[], RunReport], pollers: Executor, closing: asyncio.Event
    ) -> None:
        self._progress = progress
        self._run = run
        self._pollers = pollers
        self._closing = closing
        self._open = 0
        self._watcher: asyncio.Task[None] | None = None
        self._latest: _Snapshot | None = None
        self._news = asyncio.Event()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Events until the client leaves or the server stops."""
        if self._open >= MOST_STREAMS:
            return refusal(
                429, Reason.TOO_MANY_STREAMS, f"{MOST_STREAMS} clients follow the events already: close a page"
            )
        self._open += 1
        if self._watcher is None or self._watcher.done():
            self._watcher = asyncio.create_task(self._watch(), name="watch the run for events")
        response = web.StreamResponse(headers=HEADERS)
        try:
            await response.prepare(request)
            await self._send(response, request)
        except (ConnectionError, TimeoutError):
            pass  # the client has left, or does not read
        finally:
            self._open -= 1
        return response

    async def _send(self, response: web.StreamResponse, request: web.Request) -> None:
        loop = asyncio.get_running_loop()
        seen = _Seen()
        silent_since = loop.time()
        while not self._closing.is_set() and request.transport is not None:
            news = self._news
            text = seen.news(self._latest) if self._latest else ""
            if not text and loop.time() - silent_since >= SILENT_SECONDS:
                text = ": nothing new\n\n"
            if text:
                async with asyncio.timeout(IDLE_SECONDS):
                    await response.write(text.encode())
                silent_since = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SLICE_SECONDS):
                    await news.wait()

    async def _watch(self) -> None:
        """Until the last stream has ended."""
        loop = asyncio.get_running_loop()
        try:
            while self._open and not self._closing.is_set():
                self._latest, before = await loop.run_in_executor(self._pollers, self._read), self._latest
                if self._latest != before:
                    self._news.set()
                    self._news = asyncio.Event()
                await asyncio.sleep(SHORTEST_PAUSE)
        except Exception:
            log.exception("events cannot be sent until a client connects again")
        finally:
            self._latest = None

    def _read(self) -> _Snapshot:
        """In a thread: the next snapshot, at the latest after a slice."""
        before = self._latest or _Snapshot()
        report = self._progress.wait_changed(before.revision, SLICE_SECONDS)
        run = self._run().model_dump_json(by_alias=True)
        if report is None:
            return _Snapshot(before.revision, run, before.status, before.tables)
        tables = {table.name: table.model_dump_json(by_alias=True) for table in self._progress.tables()}
        return _Snapshot(report.revision, run, report.model_dump_json(by_alias=True), tables)


class _Seen:
    """What one client knows."""

    def __init__(self) -> None:
        self._before = _Snapshot()
        self._has_tables = False

    def news(self, now: _Snapshot) -> str:
        """The events that bring the client up to date; empty if it is."""
        before, self._before = self._before, now
        found = []
        if now.run != before.run:
            found.append(_event("run", now.run))
        if now.revision != before.revision:
            found.append(_event("status", now.status, now.revision))
            changed = [text for name, text in now.tables.items() if before.tables.get(name) != text]
            gone = [name for name in before.tables if name not in now.tables]
            if changed or gone or not self._has_tables:
                self._has_tables = True
                found.append(_event("tables", f'{{"changed":[{",".join(changed)}],"gone":{json.dumps(gone)}}}'))
        return "".join(found)


def _event(kind: str, data: str, number: int | None = None) -> str:
    """One event. JSON has no raw line breaks."""
    identity = "" if number is None else f"id: {number}\n"
    return f"event: {kind}\n{identity}data: {data}\n\n"
