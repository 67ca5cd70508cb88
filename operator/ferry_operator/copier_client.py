"""Talks to the copiers' ControlServers: follows each report by long poll, sends directives. Called by ``reconciler``.

All copiers share one HTTP session and one TLS context. A copier's certificate has its Ferry's uid as its name.
"""

import asyncio
import asyncio.sslproto
import contextlib
import json
import logging
import random
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from pydantic import ValidationError

from ferry_core.api.report import Report
from ferry_core.text import host_port
from ferry_operator.budget import TokenBucket
from ferry_operator.names import CONTROL_PORT
from ferry_operator.observe import Link, PodView

log = logging.getLogger(__name__)

SHORTEST_WAIT, LONGEST_WAIT = 10.0, 60.0
"""How long a poll waits for news before it returns numbers; status shows numbers every 10 s at most."""
POLLS_PER_SECOND = 15.0
"""Of all copiers together while none has news. A poll and the round that follows cost two milliseconds."""
POLLS_AT_ONCE, POLL_SECONDS = 20, 0.5
"""Of one copier whose every answer is news. A start or a cutover has about ten within a second."""
MINOR_NEWS_PAUSE = 2.0
"""Pause before the next poll of a copier whose news changed only a message."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
"""Pauses between failed polls: a new process listens within moments."""
_MOST_BYTES = 1 << 20
"""Maximum size of an answer; a report has about 3 KiB."""
_DIRECTIVE_TIMEOUT = aiohttp.ClientTimeout(total=10)
"""A copier waits for no database before it answers. One that needs longer hangs, and the Ferry's loop with it."""
_GRACE_SECONDS = 15.0
"""How late an answer may be, on a busy node, before the copier counts as silent."""

# Python's buffer of 256 KiB per TLS connection would be most of an idle copier's cost; OpenSSL's own grows with it.
# Measured with a waiting poll: 61 KiB with a buffer of 16, 50 with 4, 42 with 1, no less with 0.5; without TLS 15.
asyncio.sslproto.SSLProtocol.max_size = 1024


class DirectiveRefused(Exception):
    """The copier cannot do what the spec says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Unreachable(Exception):
    """No answer, or none that can be read."""

    def __init__(self, problem: str, *, timed_out: bool = False) -> None:
        super().__init__(problem)
        self.timed_out = timed_out
        """Nothing was received since the request; otherwise the connection ended or was refused."""


class CopierClients:
    """What the clients of all copiers share: the HTTP session, the TLS context, and how often they may poll."""

    def __init__(self, session: aiohttp.ClientSession, tls: ssl.SSLContext) -> None:
        self.session = session
        self.tls = tls
        self.followed = 0

    def wait(self) -> float:
        """Of the next poll, in seconds. Random: a thousand polls that began together would stay together."""
        even = min(max(self.followed / POLLS_PER_SECOND, SHORTEST_WAIT), LONGEST_WAIT)
        return even * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


@contextlib.asynccontextmanager
async def copier_clients(tls: ssl.SSLContext) -> AsyncIterator[CopierClients]:
    """For all copiers of this operator."""
    connector = aiohttp.TCPConnector(limit=0, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        yield CopierClients(session, tls)


class CopierClient:
    """Of one Ferry. Calls ``changed`` when a round is needed: the report has news, or the copier stopped answering."""

    def __init__(self, clients: CopierClients, uid: str, token: str, changed: Callable[[], None]) -> None:
        self._clients = clients
        self._uid = uid
        self._headers = {"Authorization": f"Bearer {token}"}
        self._changed = changed
        self._followed: tuple[str, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._raw = b""
        """The newest report as received: parsed, a thousand of them would take 10 MB more."""
        self._silence: tuple[datetime, str] | None = None

    @property
    def view(self) -> Link:
        """What is known now."""
        report = Report.model_validate_json(self._raw) if self._raw else None
        return Link(report) if self._silence is None else Link(report, *self._silence)

    def follow(self, pod: PodView | None) -> None:
        """Follow the copier in this Pod from now on; None: no copier. Idempotent."""
        wanted = (pod.uid, pod.ip) if pod is not None and pod.ip and pod.running else None
        dead = self._task is not None and self._task.done()
        if wanted == self._followed and not dead:
            return
        self.close()
        self._followed = wanted
        if wanted is not None:
            self._clients.followed += 1
            self._task = asyncio.create_task(self._follow(), name=f"copier {self._uid}")

    def close(self) -> None:
        """Stop following, and forget the report."""
        if self._task is not None:
            self._clients.followed -= 1
            self._task.cancel()
            self._task = None
        self._followed = None
        self._raw, self._silence = b"", None

    async def send(self, directive: str) -> None:
        """A ``Directive`` as JSON. Raises DirectiveRefused or Unreachable."""
        # The poll uses the connection that is kept open; a second one would double the cost of a Ferry.
        headers = {"Content-Type": "application/json", "Connection": "close"}
        status, body = await self._request("PUT", "/api/v1/directive", _DIRECTIVE_TIMEOUT, directive, headers)
        if status == HTTPStatus.OK:
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):
            refusal = json.loads(body)
            raise DirectiveRefused(str(refusal["reason"]), str(refusal["message"]))
        raise Unreachable(f"HTTP {status}")

    # -- the long poll ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        now = asyncio.get_running_loop().time
        since: int | None = None
        pause = _SHORTEST_PAUSE
        polls = TokenBucket(POLLS_AT_ONCE, POLL_SECONDS)
        while True:
            while wait := polls.take():  # noqa: ASYNC110 - a bucket wakes nobody
                await asyncio.sleep(wait)
            polled, polled_at = now(), datetime.now(UTC)
            try:
                since, news = await self._poll(since)
            except Exception as error:  # noqa: BLE001 - otherwise the last report would count as current for ever
                timed_out = isinstance(error, Unreachable) and error.timed_out
                self._unanswered(self._problem(error), polled_at if timed_out else datetime.now(UTC))
                since = None  # a copier that was restarted counts from 1
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _SHORTEST_PAUSE
            if not news and now() - polled < MINOR_NEWS_PAUSE:
                await asyncio.sleep(MINOR_NEWS_PAUSE)

    def _problem(self, error: Exception) -> str:
        if isinstance(error, Unreachable):
            return str(error)
        log.error("copier of %s: the poll failed", self._uid, exc_info=error)
        return f"a bug in the operator: {error!r}"

    async def _poll(self, since: int | None) -> tuple[int, bool]:
        """Returns the report's revision, and whether it has more news than numbers and messages."""
        wait = 0.0 if since is None else self._clients.wait()
        query = "" if since is None else f"?wait={wait:.0f}s&since={since}&only=news"
        timeout = aiohttp.ClientTimeout(total=wait + _GRACE_SECONDS, sock_connect=5)
        status, raw = await self._request("GET", f"/api/v1/status{query}", timeout)
        if status != HTTPStatus.OK:
            raise Unreachable(f"HTTP {status}")
        try:
            report = Report.model_validate_json(raw)
        except ValidationError as error:
            raise Unreachable(f"its report cannot be read: {error.errors()[0]['msg']}") from error
        return report.revision, self._received(report, raw)

    async def _request(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - aiohttp's own
        text: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, bytes]:
        if self._followed is None:
            raise Unreachable("it does not run")
        ip = self._followed[1]
        url = f"https://{host_port(ip, CONTROL_PORT)}{path}"
        try:
            async with self._clients.session.request(
                method,
                url,
                data=text,
                headers=self._headers | (headers or {}),
                timeout=timeout,
                ssl=self._clients.tls,
                server_hostname=self._uid,
                allow_redirects=False,
            ) as answer:
                return answer.status, await _read(answer)
        except aiohttp.ClientConnectorError as error:
            # Its own text shows an object's address.
            raise Unreachable(f"no connection to {host_port(ip, CONTROL_PORT)}: {error.strerror}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            raise Unreachable(text, timed_out=isinstance(error, TimeoutError)) from error

    def _received(self, report: Report, raw: bytes) -> bool:
        before = self.view.report
        answers_again = self._silence is not None
        if raw != self._raw or answers_again:
            self._raw, self._silence = raw, None
            self._changed()
        return answers_again or before is None or _awaited(before) != _awaited(report)

    def _unanswered(self, problem: str, since: datetime) -> None:
        first = self._silence is None
        self._silence = (since if self._silence is None else self._silence[0], problem)
        if first:
            log.info("copier of %s does not answer: %s", self._uid, problem)
            self._changed()


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """Bounded: spec.copier.image may answer anything, and this process serves other Ferries too."""
    raw = b""
    async for part in answer.content.iter_any():
        raw += part
        if len(raw) > _MOST_BYTES:
            raise Unreachable(f"its answer is longer than {_MOST_BYTES} bytes")
    return raw


def _awaited(report: Report) -> tuple[object, ...]:
    """What a person or a script may wait for."""
    conditions = tuple((each.type, each.status, each.reason) for each in report.conditions)
    copier = (report.copier.acknowledged_generation, report.copier.epoch)
    return (report.stage, report.phase, conditions, report.throttle.active, report.failure, report.cutover, copier)
