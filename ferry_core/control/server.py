"""Runs the ControlServer: an aiohttp server on its own thread and event loop. Called by ``run.ferry``."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from ferry_core.control.answers import guard, say_errors
from ferry_core.control.audit import audit
from ferry_core.control.listen import (
    Address,
    UnixAddress,
    bind,
    bind_unix,
    file_identity,
    parse,
    refuse_open,
    tls_context,
)
from ferry_core.control.managed import Managed
from ferry_core.control.routes import Routes
from ferry_core.control.verbs import Verbs
from ferry_core.errors import ConfigError
from ferry_core.http_limits import ConnectionLimits, read_body
from ferry_core.report.metrics import registry_of
from ferry_core.report.samples import SAMPLE_SECONDS

log = logging.getLogger(__name__)

BODY_BYTES = 1 << 20
GOODBYE_SECONDS = 2.0


class ControlServer:
    """``start`` returns once it answers, or raises ConfigError. ``stop`` ends it and never raises."""

    def __init__(
        self,
        verbs: Verbs,
        listen: str,
        *,
        tokens: Mapping[str, str] | None = None,
        tls_dir: Path | None = None,
        managed: Managed | None = None,
        metrics_listen: str | None = None,
    ) -> None:
        self.address = parse(listen)
        self.metrics_address = None if metrics_listen is None else Address.parse(metrics_listen)
        self._tokens = tokens or {}
        refuse_open(self.address, self._tokens)
        self._verbs = verbs
        self._tls_dir = tls_dir
        self._managed = managed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._socket_file: tuple[int, int] | None = None
        self._thread = threading.Thread(target=self._run, name="control-server", daemon=True)

    @property
    def url(self) -> str:
        """Its URL; known after ``start``."""
        if isinstance(self.address, UnixAddress):
            return str(self.address)
        return f"{'https' if self._tls_dir else 'http'}://{self.address}"

    def start(self) -> None:
        self._tls = tls_context(self._tls_dir)
        if isinstance(self.address, UnixAddress):
            self._listener = bind_unix(self.address)
            self._socket_file = file_identity(self.address.path)
        else:
            self._listener = bind(self.address)
            self.address = Address(self.address.host, self._listener.getsockname()[1])
        self._metrics_listener = self._bind_metrics()
        if self._tls is None and not self.address.loopback:
            log.warning("%s: the token is sent unencrypted; give --tls-dir", self.url)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        log.info("control server on %s", self.url)

    def _bind_metrics(self) -> socket.socket | None:
        """Prometheus has neither our token nor our CA: in a cluster it gets a separate plain port that serves only
        metrics.
        """
        if self.metrics_address is None:
            return None
        try:
            listener = bind(self.metrics_address)
        except ConfigError:
            self._listener.close()
            raise
        self.metrics_address = Address(self.metrics_address.host, listener.getsockname()[1])
        return listener

    def stop(self) -> None:
        if self._loop is not None and self._ending is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join(GOODBYE_SECONDS * 2)
        if isinstance(self.address, UnixAddress) and self._socket_file == file_identity(self.address.path):
            self.address.path.unlink(missing_ok=True)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:
            if self._started.is_set():
                log.exception("the control server ended; the run continues")
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        pool = ThreadPoolExecutor(4, thread_name_prefix="control-verb")
        pollers = ThreadPoolExecutor(16, thread_name_prefix="control-poll")
        routes = Routes(self._verbs, registry_of(self._verbs.progress), self._managed, pool, pollers)
        limits = ConnectionLimits()
        table = routes.table()
        public = {route.path for route in table if route.public}
        application = web.Application(
            middlewares=[limits.count, guard(self._tokens, public), audit, say_errors, read_body],
            client_max_size=BODY_BYTES,
        )
        application.add_routes([route.definition() for route in table])
        plain = web.Application(middlewares=[limits.count])
        plain.add_routes([web.get("/metrics", routes.metrics)])
        sites = [(application, self._listener, self._tls)]
        if self._metrics_listener is not None:
            sites.append((plain, self._metrics_listener, None))
        runners = [web.AppRunner(each, access_log=None, shutdown_timeout=GOODBYE_SECONDS) for each, _, _ in sites]
        try:
            for runner, (_, listener, tls) in zip(runners, sites, strict=True):
                await runner.setup()
                await limits.start(runner, listener, tls)
            self._started.set()
            await self._sample(routes, self._ending)
        finally:
            routes.closing.set()
            for runner in runners:
                await runner.cleanup()
            pool.shutdown(wait=False, cancel_futures=True)
            pollers.shutdown(wait=False, cancel_futures=True)

    async def _sample(self, routes: Routes, ending: asyncio.Event) -> None:
        """Until the end, take the figures for the page's charts."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAMPLE_SECONDS):
                    await ending.wait()
                    return
            try:
                await asyncio.get_running_loop().run_in_executor(routes.pool, routes.samples.take)
            except Exception:
                log.exception("the figures for charts could not be taken")
