"""Speaks to one copier's ControlServer: follows its report by long poll, sends directives. Called by ``tender``.

All copiers share one HTTP session and one TLS context; each proves itself by the Ferry's uid in its certificate.
"""

import asyncio
import asyncio.sslproto
import contextlib
import json
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from pydantic import ValidationError

from ferry_core.api.directive import Directive
from ferry_core.api.report import Report
from ferry_operator.names import CONTROL_PORT
from ferry_operator.observe import Link, PodView

log = logging.getLogger(__name__)

WAIT_SECONDS = 30
NUMBERS_PAUSE = 2.0
"""Between two polls of a copier that has only numbers to tell."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_MOST_BYTES = 1 << 20
"""Of an answer; a report has some 3 KiB."""
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_POLL_TIMEOUT = aiohttp.ClientTimeout(total=WAIT_SECONDS + 15, sock_connect=5)

# Python's buffer of 256 KiB a TLS connection is most of what an idle copier costs.
asyncio.sslproto.SSLProtocol.max_size = 16 * 1024


class DirectiveRefused(Exception):
    """The copier cannot do what the spec says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Silent(Exception):
    """No answer, or none that can be understood."""


def new_session() -> aiohttp.ClientSession:
    """For all copiers of this operator."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, use_dns_cache=False), trust_env=False)


class CopierLink:
    """One Ferry's. ``changed`` is called when there is something to act on or to say."""

    def __init__(
        self, session: aiohttp.ClientSession, tls: ssl.SSLContext, uid: str, token: str, changed: Callable[[], None]
    ) -> None:
        self._session = session
        self._tls = tls
        self._uid = uid
        self._headers = {"Authorization": f"Bearer {token}"}
        self._changed = changed
        self._followed: tuple[str, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self.view = Link()

    def follow(self, pod: PodView | None) -> None:
        """From now on this Pod's copier; None: nobody's. The same one again changes nothing."""
        wanted = (pod.uid, pod.ip) if pod is not None and pod.ip and pod.running else None
        if wanted == self._followed:
            return
        self.close()
        self._followed = wanted
        if wanted is not None:
            self._task = asyncio.create_task(self._follow(), name=f"copier {self._uid}")

    def close(self) -> None:
        """Stop following and forget what was said."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._followed = None
        self.view = Link()

    async def send(self, directive: Directive) -> None:
        """Raises DirectiveRefused or Silent."""
        text = directive.as_json()
        headers = {"Content-Type": "application/json"}
        status, body = await self._ask("PUT", "/api/v1/directive", _TIMEOUT, text, headers)
        if status == HTTPStatus.OK:
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(body)
            raise DirectiveRefused(str(said["reason"]), str(said["message"]))
        raise Silent(f"HTTP {status}")

    # -- the long poll ----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        since: int | None = None
        pause = _SHORTEST_PAUSE
        while True:
            try:
                report = await self._poll(since)
            except Silent as error:
                self._silent(str(error))
                since = None  # a copier that was started again counts from 1
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _SHORTEST_PAUSE
            only_numbers = self._heard(report)
            since = report.revision
            if only_numbers:
                await asyncio.sleep(NUMBERS_PAUSE)

    async def _poll(self, since: int | None) -> Report:
        path = "/api/v1/status" if since is None else f"/api/v1/status?wait={WAIT_SECONDS}s&since={since}"
        status, body = await self._ask("GET", path, _POLL_TIMEOUT)
        if status != HTTPStatus.OK:
            raise Silent(f"HTTP {status}")
        try:
            return Report.model_validate_json(body)
        except ValidationError as error:
            raise Silent(f"its report cannot be read: {error.errors()[0]['msg']}") from error

    async def _ask(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        text: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        if self._followed is None:
            raise Silent("it does not run")
        ip = self._followed[1]
        url = f"https://{f'[{ip}]' if ':' in ip else ip}:{CONTROL_PORT}{path}"
        try:
            async with self._session.request(
                method,
                url,
                data=text,
                headers=self._headers | (headers or {}),
                timeout=timeout,
                ssl=self._tls,
                server_hostname=self._uid,
                allow_redirects=False,
            ) as answer:
                return answer.status, await _read(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Silent(str(error) or type(error).__name__) from error

    def _heard(self, report: Report) -> bool:
        """Tells whether nothing but numbers is new."""
        before = self.view.report
        self.view = Link(report)
        only_numbers = before is not None and _words(before) == _words(report)
        self._changed()
        return only_numbers

    def _silent(self, problem: str) -> None:
        before = self.view
        self.view = Link(before.report, before.silent_since or datetime.now(UTC), problem)
        if before.silent_since is None:
            log.info("copier of %s is silent: %s", self._uid, problem)
            self._changed()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Bounded: spec.copier.image may answer what it likes, and this process serves others, too."""
    raw = b""
    async for part in answer.content.iter_any():
        raw += part
        if len(raw) > _MOST_BYTES:
            raise Silent(f"its answer is longer than {_MOST_BYTES} bytes")
    return raw


def _words(report: Report) -> tuple[object, ...]:
    """What somebody may wait for."""
    conditions = tuple((each.type, each.status, each.reason) for each in report.conditions)
    copier = (report.copier.acknowledged_generation, report.copier.epoch)
    return (report.stage, report.phase, conditions, report.throttle.active, report.failure, report.cutover, copier)
