"""Speaks to one copier's ControlServer: follows its report by long poll, sends directives. Called by ``tender``.

All copiers share one HTTP session and one TLS context; each proves itself by the Ferry's uid in its certificate.
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

from ferry_core.api.directive import Directive
from ferry_core.api.report import Report
from ferry_operator.budget import Bucket
from ferry_operator.names import CONTROL_PORT
from ferry_operator.observe import Link, PodView

log = logging.getLogger(__name__)

SHORTEST_WAIT, LONGEST_WAIT = 10.0, 60.0
"""How long a poll waits for news before it brings numbers; status shows numbers every 10 s at most."""
POLLS_PER_SECOND = 15.0
"""Of all copiers together, while none has news: a poll and the look that follows cost two milliseconds."""
POLLS_AT_ONCE, POLL_SECONDS = 20, 0.5
"""Of one copier, while all it says is news; a start or a cutover has some ten within a second."""
WORDY_PAUSE = 2.0
"""Before the next poll of a copier whose news were but another wording."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
"""Between polls that fail: a new process listens within moments, and one that was away is found soon after."""
_MOST_BYTES = 1 << 20
"""Of an answer; a report has some 3 KiB."""
_TIMEOUT = aiohttp.ClientTimeout(total=10)
"""Of a directive, for which no copier waits for a database: one that needs longer hangs, and the Ferry's loop too."""
_GRACE_SECONDS = 15.0
"""How late an answer may be, on a busy node, before the copier counts as silent."""

# Python's buffer of 256 KiB a TLS connection would be most of what an idle copier costs; OpenSSL's own grows with it.
# Measured with a poll that waits: 61 KiB with one of 16, 50 with 4, 42 with 1, and no less with 0.5; without TLS 15.
asyncio.sslproto.SSLProtocol.max_size = 1024


class DirectiveRefused(Exception):
    """The copier cannot do what the spec says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Silent(Exception):
    """No answer, or none that can be understood."""

    def __init__(self, problem: str, *, late: bool = False) -> None:
        super().__init__(problem)
        self.late = late
        """Nothing was heard since it was asked; else the end of a connection was, or a refusal."""


class Exchange:
    """What the links to all copiers share: one HTTP session, one TLS context, and how often they may ask."""

    def __init__(self, session: aiohttp.ClientSession, tls: ssl.SSLContext) -> None:
        self.session = session
        self.tls = tls
        self.followed = 0

    def wait(self) -> float:
        """For the next poll, in seconds. Uneven, or a thousand that began together would come together for ever."""
        even = min(max(self.followed / POLLS_PER_SECOND, SHORTEST_WAIT), LONGEST_WAIT)
        return even * random.uniform(0.8, 1.0)  # noqa: S311 - no secret


@contextlib.asynccontextmanager
async def exchange(tls: ssl.SSLContext) -> AsyncIterator[Exchange]:
    """For all copiers of this operator."""
    connector = aiohttp.TCPConnector(limit=0, use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, trust_env=False) as session:
        yield Exchange(session, tls)


class CopierLink:
    """One Ferry's. ``changed`` is called when there is something to act on or to say."""

    def __init__(self, exchange: Exchange, uid: str, token: str, changed: Callable[[], None]) -> None:
        self._exchange = exchange
        self._uid = uid
        self._headers = {"Authorization": f"Bearer {token}"}
        self._changed = changed
        self._followed: tuple[str, str] | None = None
        self._task: asyncio.Task[None] | None = None
        self._raw = b""
        """The newest report as it came: parsed, a thousand of them would take 10 MB more."""
        self._silence: tuple[datetime, str] | None = None

    @property
    def view(self) -> Link:
        """What is known now."""
        report = Report.model_validate_json(self._raw) if self._raw else None
        return Link(report) if self._silence is None else Link(report, *self._silence)

    def follow(self, pod: PodView | None) -> None:
        """From now on this Pod's copier; None: nobody's. The same one again changes nothing."""
        wanted = (pod.uid, pod.ip) if pod is not None and pod.ip and pod.running else None
        dead = self._task is not None and self._task.done()
        if wanted == self._followed and not dead:
            return
        self.close()
        self._followed = wanted
        if wanted is not None:
            self._exchange.followed += 1
            self._task = asyncio.create_task(self._follow(), name=f"copier {self._uid}")

    def close(self) -> None:
        """Stop following and forget what was said."""
        if self._task is not None:
            self._exchange.followed -= 1
            self._task.cancel()
            self._task = None
        self._followed = None
        self._raw, self._silence = b"", None

    async def send(self, directive: Directive) -> None:
        """Raises DirectiveRefused or Silent."""
        text = directive.as_json()
        # The poll has the connection that is kept; a second one would double what a Ferry costs.
        headers = {"Content-Type": "application/json", "Connection": "close"}
        status, body = await self._ask("PUT", "/api/v1/directive", _TIMEOUT, text, headers)
        if status == HTTPStatus.OK:
            return
        with contextlib.suppress(ValueError, KeyError, TypeError):
            said = json.loads(body)
            raise DirectiveRefused(str(said["reason"]), str(said["message"]))
        raise Silent(f"HTTP {status}")

    # -- the long poll ----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        now = asyncio.get_running_loop().time
        since: int | None = None
        pause = _SHORTEST_PAUSE
        polls = Bucket(POLLS_AT_ONCE, POLL_SECONDS)
        while True:
            while wait := polls.wait():  # noqa: ASYNC110 - a bucket wakes nobody
                await asyncio.sleep(wait)
            asked, asked_at = now(), datetime.now(UTC)
            try:
                since, news = await self._poll(since)
            except Exception as error:  # noqa: BLE001 - else its last report would be believed for ever
                late = isinstance(error, Silent) and error.late
                self._silent(self._problem(error), asked_at if late else datetime.now(UTC))
                since = None  # a copier that was started again counts from 1
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause = _SHORTEST_PAUSE
            if not news and now() - asked < WORDY_PAUSE:
                await asyncio.sleep(WORDY_PAUSE)

    def _problem(self, error: Exception) -> str:
        if isinstance(error, Silent):
            return str(error)
        log.error("copier of %s cannot be asked", self._uid, exc_info=error)
        return f"a bug of the operator: {error!r}"

    async def _poll(self, since: int | None) -> tuple[int, bool]:
        """The report's revision, and whether more than numbers and wording is new."""
        wait = 0.0 if since is None else self._exchange.wait()
        query = "" if since is None else f"?wait={wait:.0f}s&since={since}&only=news"
        timeout = aiohttp.ClientTimeout(total=wait + _GRACE_SECONDS, sock_connect=5)
        status, raw = await self._ask("GET", f"/api/v1/status{query}", timeout)
        if status != HTTPStatus.OK:
            raise Silent(f"HTTP {status}")
        try:
            report = Report.model_validate_json(raw)
        except ValidationError as error:
            raise Silent(f"its report cannot be read: {error.errors()[0]['msg']}") from error
        return report.revision, self._heard(report, raw)

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
            async with self._exchange.session.request(
                method,
                url,
                data=text,
                headers=self._headers | (headers or {}),
                timeout=timeout,
                ssl=self._exchange.tls,
                server_hostname=self._uid,
                allow_redirects=False,
            ) as answer:
                return answer.status, await _read(answer)
        except aiohttp.ClientConnectorError as error:
            # Its own text shows an object's address.
            raise Silent(f"no connection to {error.host}:{error.port}: {error.strerror}") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Silent(str(error) or type(error).__name__, late=isinstance(error, TimeoutError)) from error

    def _heard(self, report: Report, raw: bytes) -> bool:
        before = self.view.report
        spoke_again = self._silence is not None
        if raw != self._raw or spoke_again:
            self._raw, self._silence = raw, None
            self._changed()
        return spoke_again or before is None or _words(before) != _words(report)

    def _silent(self, problem: str, since: datetime) -> None:
        first = self._silence is None
        self._silence = (since if self._silence is None else self._silence[0], problem)
        if first:
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
