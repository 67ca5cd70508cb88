"""The client of one copier whose answers the test chooses."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from ferry_core.api.report import Report
from ferry_operator import copier_client
from ferry_operator.copier_client import CopierClient, CopierClients, Unreachable
from ferry_operator.names import Role
from ferry_operator.observe import PodView

if TYPE_CHECKING:
    from ferry_operator.observe import Link

POD = PodView(Role.COPIER, "orders-copier", "pod-1", ip="127.0.0.9", running=True)


def report(**parts: Any) -> bytes:
    said = Report(revision=1, stage="Copying", phase="Copying").model_copy(update=parts)
    return said.model_dump_json(by_alias=True).encode()


class ScriptedCopier(CopierClient):
    """``answers`` returns the answer to a request, or raises."""

    def __init__(self, answers: Callable[[str], Awaitable[bytes]]) -> None:
        super().__init__(CopierClients(None, None), "uid-1", "token", self._woken)  # type: ignore[arg-type]
        self.answers = answers
        self.changed = asyncio.Event()

    def _woken(self) -> None:
        self.changed.set()

    async def _request(self, _: str, path: str, *__: Any) -> tuple[int, bytes]:
        return 200, await self.answers(path)

    async def until(self, what: Callable[["Link"], object]) -> "Link":
        while not what(self.view):
            self.changed.clear()
            await self.changed.wait()
        return self.view


def followed(scene: Callable[[], Awaitable[None]]) -> None:
    async def play() -> None:
        async with asyncio.timeout(120):
            await scene()

    asyncio.run(play())


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copier_client, "_SHORTEST_PAUSE", 0.001)


def test_a_poll_that_fails_by_a_bug_counts_as_silence_and_is_retried(caplog: pytest.LogCaptureFixture) -> None:
    said: list[bytes | Exception] = [report(), RuntimeError("too deep"), report(message="on")]

    async def answer(_: str) -> bytes:
        if not said:
            await asyncio.Event().wait()
        now = said.pop(0)
        if isinstance(now, Exception):
            raise now
        return now

    async def scene() -> None:
        link = ScriptedCopier(answer)
        link.follow(POD)
        await link.until(lambda view: view.report)
        silent = await link.until(lambda view: view.silent_since)
        assert "bug" in silent.problem
        assert "too deep" in silent.problem
        seen = await link.until(lambda view: view.silent_since is None)
        assert seen.report is not None
        assert seen.report.message == "on"
        link.close()

    followed(scene)
    assert [each.exc_info is not None for each in caplog.records if each.levelname == "ERROR"] == [True]


def test_a_poll_task_that_has_died_is_restarted() -> None:
    async def answer(_: str) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def scene() -> None:
        link = ScriptedCopier(answer)
        link.follow(POD)
        first = link._task
        assert first is not None
        link.follow(POD)
        assert link._task is first
        first.cancel()
        await asyncio.wait([first])
        link.follow(POD)
        assert link._task is not first
        link.close()

    followed(scene)


@pytest.mark.parametrize("late", [True, False], ids=["no answer in time", "connection ended"])
def test_silence_begins_with_the_last_contact(late: bool) -> None:
    """A poll without an answer times out after more than a minute; one whose connection ends was alive until then."""
    moments: list[datetime] = []
    pause = asyncio.Event()

    async def answer(path: str) -> bytes:
        if moments or "since" not in path:
            return report()
        moments.append(datetime.now(UTC))
        await pause.wait()
        moments.append(datetime.now(UTC))
        raise Unreachable("TimeoutError", timed_out=late)

    async def scene() -> None:
        link = ScriptedCopier(answer)
        link.follow(POD)
        await link.until(lambda _: moments)
        asyncio.get_running_loop().call_later(0.05, pause.set)
        seen = await link.until(lambda view: view.silent_since)
        assert seen.silent_since is not None
        assert (seen.silent_since <= moments[0]) is late
        link.close()

    followed(scene)


def test_the_first_poll_does_not_wait_for_news() -> None:
    waited: list[float | None] = []

    async def answer(_: str) -> bytes:
        raise Unreachable("TimeoutError", timed_out=True)

    class Timed(ScriptedCopier):
        async def _request(self, method: str, path: str, timeout: aiohttp.ClientTimeout, *_: Any) -> tuple[int, bytes]:  # noqa: ASYNC109
            waited.append(timeout.total)
            return await super()._request(method, path)

    async def scene() -> None:
        link = Timed(answer)
        link.follow(POD)
        await link.until(lambda view: view.silent_since)
        link.close()

    followed(scene)
    assert waited[0] == 15


def test_a_copier_with_constant_news_is_polled_twice_a_second() -> None:
    asked: list[float] = []

    async def answer(_: str) -> bytes:
        asked.append(asyncio.get_running_loop().time())
        return report(stage=str(len(asked)))

    async def scene() -> None:
        link = ScriptedCopier(answer)
        link.follow(POD)
        await link.until(lambda _: len(asked) == 24)
        link.close()

    followed(scene)
    assert asked[19] - asked[0] < 1, "the first few at once"
    assert asked[23] - asked[19] > 1.4
