"""A proxy between the operator and the real kube-apiserver: cuts a request, simulates an outage, records answers,
answers 409, or lets somebody else change an object first.

It speaks plain HTTP to the operator, so that it can read the requests.
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp
import yaml
from aiohttp import web

from tests.support.kube_api import KubeApi
from tests.support.kubelet import end_all
from tests.support.waits import PATIENCE_SECONDS


@dataclass
class Cut:
    """After this request nothing is passed on any more, as if the operator had been killed there."""

    method: str
    path: re.Pattern[str]
    when: Literal["before", "after"]
    """Before the API server receives it, or after it has answered."""
    happened: threading.Event = field(default_factory=threading.Event)


@dataclass
class Interference:
    """An action before each request of a kind."""

    method: str
    path: re.Pattern[str]
    act: Callable[[], object]


@dataclass
class Conflicts:
    """The next ``left`` requests of a kind are answered 409 and not passed on."""

    method: str
    path: re.Pattern[str]
    left: int
    answered: int = 0


class ApiProxy:
    """For one operator."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._cut: Cut | None = None
        self._interference: Interference | None = None
        self._conflicts: Conflicts | None = None
        self.answers: list[tuple[str, str, int]] = []
        """Method, path and status of each."""
        self.gone = threading.Event()
        """Set when a watch gets 410 Gone."""
        self.deaf = False
        """Watches stay open but deliver nothing; events are lost."""
        self._away = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="api proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._stop())
        self._do(end_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE_SECONDS)

    @property
    def kubeconfig(self) -> Path:
        """For the operator."""
        config = yaml.safe_load(self._api.kubeconfig.read_text())
        config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        path = self._api.folder / f"proxy-{self._port}.kubeconfig"
        path.write_text(yaml.safe_dump(config))
        return path

    # -- faults -------------------------------------------------------------------------------------------------------

    def cut(self, method: str, path: str, when: Literal["before", "after"]) -> Cut:
        """Cut at the next request of that kind."""
        self._cut = Cut(method, re.compile(path), when)
        return self._cut

    def interfere(self, method: str, path: str, act: Callable[[], object]) -> None:
        """Call ``act`` before each request of that kind, so that the API server refuses optimistic locks."""
        self._interference = Interference(method, re.compile(path), act)

    def leave_alone(self) -> None:
        """Undo ``interfere``."""
        self._interference = None

    def conflict(self, method: str, path: str, times: int) -> Conflicts:
        """Answer the next so many requests of that kind with 409 Conflict."""
        self._conflicts = Conflicts(method, re.compile(path), times)
        return self._conflicts

    def go_away(self) -> None:
        """Cut every connection, and answer no new one."""

        async def cut_all() -> None:
            self._abort_all()

        self._do(cut_all())

    def come_back(self) -> None:
        self._away = False

    def _abort_all(self) -> None:
        self._away = True
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()

    # -- life ---------------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        self._session = aiohttp.ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def _stop(self) -> None:
        self._abort_all()
        await self._runner.cleanup()
        await self._session.close()

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        if self._away:
            return _hung_up(request)
        cut = self._cut
        hit = cut is not None and _is(cut, request)
        if hit and cut is not None and cut.when == "before":
            return self._end_with(cut, request)
        if self._conflicts is not None and self._conflicts.left and _is(self._conflicts, request):
            return self._say_conflict(self._conflicts)
        if self._interference is not None and _is(self._interference, request):
            await asyncio.to_thread(self._interference.act)
        async with self._session.request(
            request.method,
            f"{self._api.url}{request.path_qs}",
            headers={k: v for k, v in request.headers.items() if k.lower() not in ("host", "content-length")},
            data=await request.read() or None,
            skip_auto_headers=("Content-Type", "Accept", "User-Agent"),
            ssl=self._api.tls,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            self.answers.append((request.method, request.path_qs, answer.status))
            if hit and cut is not None:
                await answer.read()
                return self._end_with(cut, request)
            return await self._relay(request, answer)

    def _say_conflict(self, conflicts: Conflicts) -> web.Response:
        conflicts.left -= 1
        conflicts.answered += 1
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict", "code": 409}
        return web.json_response(status | {"message": "the object has been modified"}, status=409)

    async def _relay(self, request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        passed = ("content-type", "content-encoding")
        relayed = web.StreamResponse(
            status=answer.status, headers={k: v for k, v in answer.headers.items() if k.lower() in passed}
        )
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):  # either side may be killed in between
            await relayed.prepare(request)
            async for piece in answer.content.iter_any():
                if b'"code":410' in piece:
                    self.gone.set()
                if not (self.deaf and "watch" in request.query):
                    await relayed.write(piece)
        return relayed

    def _end_with(self, cut: Cut, request: web.Request) -> web.Response:
        self._abort_all()
        cut.happened.set()
        return _hung_up(request)


def _is(kind: Cut | Interference | Conflicts, request: web.Request) -> bool:
    return request.method == kind.method and kind.path.search(request.path_qs) is not None


def _hung_up(request: web.Request) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
