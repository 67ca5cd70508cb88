"""A ControlServer for tests over real HTTP, with a fake ``Run`` that records what it was asked."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import aiohttp

from ferry_core.api.control import Settings
from ferry_core.api.directive import Directive
from ferry_core.api.report import Stage
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.control.server import ControlServer
from ferry_core.report.progress import Progress
from tests.support.tables import moves_of, simple_table
from tests.support.waits import PATIENCE_SECONDS

TOKEN = "s3cret-ü"


class Run:
    """Records what it was asked."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.progress.begin(moves_of([simple_table("<b>orders</b>", rows=100)]))
        self.progress.set_stage(Stage.COPYING)
        self.asked: list[object] = []
        self.name = "shop/orders"
        self.wanted = Directive(generation=1)
        self.threads: set[str] = set()
        self.refuse_with: Exception | None = None
        self.refuse_directives_with: Exception | None = None
        self.block: threading.Event | None = None

    def _ask(self, what: object) -> None:
        self.threads.add(threading.current_thread().name)
        if self.block is not None:
            self.block.wait(PATIENCE_SECONDS)
        if self.refuse_with is not None:
            raise self.refuse_with
        self.asked.append(what)

    def pause(self) -> None:
        self._ask("pause")

    def resume(self) -> None:
        self._ask("resume")

    def set_throttle(self, max_rows_per_second: int | None) -> None:
        self._ask(("throttle", max_rows_per_second))

    def set_settings(self, settings: Settings) -> None:
        self._ask(settings)
        self.wanted = self.wanted.model_copy(update={"copy_": settings.copy_, "throttle": settings.throttle})

    def verify(self, tables: Sequence[str]) -> int:
        self._ask(("verify", *tables))
        return 7

    def withdraw(self) -> None:
        self._ask("withdraw")

    def cutover(self) -> None:
        self._ask("cutover")

    def abort(self) -> None:
        self._ask("abort")

    def stop(self) -> None:
        self._ask("stop")

    def check(self, _: Directive) -> None:
        """Accepts any, unless told otherwise."""
        if self.refuse_directives_with is not None:
            raise self.refuse_directives_with

    def directive(self, directive: Directive) -> None:
        self._ask(directive)
        self.progress.acknowledge(directive.generation)

    def override(self, override: SafetyOverride) -> None:
        self.asked.append(override)


@contextmanager
def serving(
    run: Run, listen: str = "127.0.0.1:0", *, token: str | None = None, **options: Any
) -> Iterator[ControlServer]:
    if token is not None:
        options["tokens"] = {"operator": token}
    server = ControlServer(run, listen, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        assert not server._thread.is_alive()


@asynccontextmanager
async def client(server: ControlServer, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url, **options) as session:
        yield session


def ask(
    server: ControlServer, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
) -> tuple[int, Any]:
    """Status and parsed JSON body."""

    async def once() -> tuple[int, Any]:
        async with client(server, headers=headers or {}) as session, session.request(method, path, **options) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    return asyncio.run(once())


def refused(answer: tuple[int, Any], status: int, reason: str) -> str:
    assert answer[0] == status, answer
    assert set(answer[1]) - {"command"} == {"reason", "message"}, answer
    assert answer[1]["reason"] == reason, answer
    assert "\n" not in answer[1]["message"]
    return str(answer[1]["message"])
