"""Limits for HTTP servers: the number of connections, and how long one may be silent.

Each connection costs a file descriptor, and a copier without free ones reaches neither of its databases. Opening a
connection needs no token, so the limits apply before any request is read. Used by the copier's ControlServer and by the
operator's metrics and probes.
"""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 200
HEAD_SECONDS = 10.0
"""From the connection to the end of the first request's head."""
BODY_SECONDS = 10.0
IDLE_SECONDS = 75.0
"""Timeout between two requests, and for a client that does not read its answer."""
HANDSHAKE_SECONDS = 5.0
_LOG_AGAIN_SECONDS = 60.0
_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ConnectionLimits:
    """All connections of one server. Used only in its event loop."""

    _idle: dict["_Connection", asyncio.TimerHandle] = field(default_factory=dict)
    """In order of when they became idle."""
    _busy: set["_Connection"] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    async def start(
        self, runner: web.AppRunner, listener: socket.socket, tls: ssl.SSLContext | None = None
    ) -> "LimitedSite":
        """Serve the application of ``runner``; its cleanup ends the server."""
        site = LimitedSite(runner, listener, self, tls)
        await site.start()
        return site

    @web.middleware
    async def count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The outermost middleware: a connection is busy from the head of its request to the answer."""
        connection = request.protocol
        assert isinstance(connection, _Connection)
        self.lost(connection)
        self._busy.add(connection)
        try:
            return await handler(request)
        finally:
            self._busy.discard(connection)
            if connection.transport is not None:
                self.wait(connection, IDLE_SECONDS)

    def opened(self, connection: "_Connection") -> None:
        """A new connection. Beyond the limit, the one that has been idle for longest is closed."""
        if len(self) >= MOST_CONNECTIONS:
            oldest = next(iter(self._idle), connection)
            self.lost(oldest)  # at once: many are accepted before the loop tells that one is lost
            _close(oldest)
        self.wait(connection, HEAD_SECONDS)

    def wait(self, connection: "_Connection", seconds: float) -> None:
        """Close the connection unless a request arrives within that time."""
        loop = asyncio.get_running_loop()
        self._idle[connection] = loop.call_later(seconds, _close, connection)

    def lost(self, connection: "_Connection") -> None:
        timer = self._idle.pop(connection, None)
        if timer is not None:
            timer.cancel()


@web.middleware
async def read_body(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The innermost middleware reads the body: handlers find it in memory, or the client was too slow."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text=f"the body did not arrive within {BODY_SECONDS:g} s") from None
    return await handler(request)


class _Connection(web.RequestHandler):
    __slots__ = ("_limits",)

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, limits: ConnectionLimits) -> None:
        super().__init__(server, loop=loop, keepalive_timeout=IDLE_SECONDS, lingering_time=1, access_log=None)  # type: ignore[arg-type]
        self._limits = limits

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._limits.opened(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._limits.lost(self)
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """A malformed request is answered with 400; logging a traceback for each would let a client fill the disk."""
        if not isinstance(kw.get("exc_info"), HttpProcessingError):
            super().log_exception(*args, **kw)


def _close(connection: _Connection) -> None:
    if isinstance(connection.transport, asyncio.Transport):
        connection.transport.abort()


class LimitedSite(web.BaseSite):
    """A listening socket whose connections are limited."""

    def __init__(
        self, runner: web.AppRunner, listener: socket.socket, limits: ConnectionLimits, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(runner, ssl_context=tls)
        self._listener, self._limits, self._tls = listener, limits, tls

    @property
    def name(self) -> str:
        return str(self._listener.getsockname())

    async def start(self) -> None:
        await super().start()
        loop, server = asyncio.get_running_loop(), self._runner.server
        assert server is not None
        loop.set_exception_handler(_AcceptErrors(loop.get_exception_handler()))
        self._server = await loop.create_server(
            lambda: _Connection(server, loop, self._limits),
            sock=self._listener,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
        )


class _AcceptErrors:
    """Without free file descriptors asyncio logs a traceback per second and listener; this logs one line a minute."""

    def __init__(self, others: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], Any] | None) -> None:
        self._others = others
        self._logged: float | None = None

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS and "accept" in context["message"]):
            if self._others is not None:
                self._others(loop, context)
            else:
                loop.default_exception_handler(context)
            return
        now = time.monotonic()
        if self._logged is None or now - self._logged > _LOG_AGAIN_SECONDS:
            self._logged = now
            log.warning("no more HTTP connections can be accepted for now: %s", error)
