"""An HTTP server of a user, as cutover.webhooks and notifications call it: aiohttp in a thread of its own.

It answers 200 unless told otherwise, and keeps what it received. ``answers`` are used up one by one, for each path:
a status; LOST (the work is done, the connection is cut without an answer); HANG (no answer until the end).
"""

import asyncio
import json
import ssl
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from tests.support.waits import PATIENCE_SECONDS, wait_until

LOST, HANG, DRIP = -1, -2, -3


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any] = field(default_factory=dict)


class HookServer:
    """``work`` is called with each request before it is answered, unless its answer is an error."""

    def __init__(self, work: Callable[[Received], object] = lambda _: None, tls: ssl.SSLContext | None = None) -> None:
        self.received: list[Received] = []
        self.answers: dict[str, list[int]] = defaultdict(list)
        self._work = work
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._over = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE_SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        self._loop.close()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http{'s' if self._tls else ''}://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Received]:
        return [one for one in list(self.received) if one.path == path]

    def wait_for(self, path: str, number: int = 1) -> list[Received]:
        wait_until(lambda: len(self.at(path)) >= number, f"{number} requests at {path}")
        return self.at(path)

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._over.wait()
        await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        received = Received(request.path, dict(request.headers), raw, json.loads(raw or b"{}"))
        self.received.append(received)
        waiting = self.answers[request.path]
        status = waiting.pop(0) if waiting else 200
        if status < 300 and status != HANG:
            await self._loop.run_in_executor(None, self._work, received)
        if status == HANG:
            await self._over.wait()
        if status == DRIP:
            return await self._drip(request)
        if status < 0:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        headers = {"Location": self.url("/elsewhere")} if 300 <= status < 400 else {}
        return web.Response(status=status, text="" if status < 300 else f"told to say {status}", headers=headers)

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        """A byte now and then, for ever."""
        response = web.StreamResponse()
        await response.prepare(request)
        while not self._over.is_set():
            await response.write(b".")
            await asyncio.sleep(0.05)
        return response
