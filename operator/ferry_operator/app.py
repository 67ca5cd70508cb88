"""Builds the operator and runs it until it is told to stop. Called by ``__main__`` and by tests."""

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable

import aiohttp
import kopf
from aiohttp import web

from ferry_core.http_limits import ConnectionLimits
from ferry_operator import handlers
from ferry_operator.act import Actor
from ferry_operator.budget import StatusBudget
from ferry_operator.copier_client import copier_clients
from ferry_operator.health import CHECK_SECONDS, WatchChecker, application
from ferry_operator.kube import MAX_REQUESTS, ApiKube, ApiRequest, access_of, configuration, count_requests
from ferry_operator.metrics import Metrics
from ferry_operator.names import MANAGER
from ferry_operator.reconciler import OperatorContext, Reconciler
from ferry_operator.run_slots import RunSlots
from ferry_operator.settings import Settings
from ferry_operator.start import prepare, servable_namespace

log = logging.getLogger(__name__)

Flag = asyncio.Event | threading.Event


async def run(settings: Settings) -> None:
    """Until a signal, or until kopf ends."""
    operator = asyncio.create_task(_run(settings))
    # kopf installs its own handlers later. Without these, SIGTERM would be ignored until then: the kernel does not end
    # process 1 by a signal that it has no handler for.
    for each in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(each, operator.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await operator


async def _run(settings: Settings) -> None:
    async with running(settings) as operator:
        await operator


@contextlib.asynccontextmanager
async def running(
    settings: Settings, stop: threading.Event | None = None, check_seconds: float = CHECK_SECONDS
) -> AsyncIterator["asyncio.Task[None]"]:
    """The operator as a task. Probes answer from the beginning; it is ready once everything is watched."""
    end: Flag = stop or asyncio.Event()
    reconcilers: dict[str, Reconciler] = {}
    metrics = Metrics(lambda: [reconciler.newest() for reconciler in list(reconcilers.values())])
    access = await configuration(settings.kubeconfig)
    kube = ApiKube(access, metrics.count_request)
    versions: dict[str, int] = {}
    watch_checker = WatchChecker(kube, versions, settings.watch_namespaces, metrics, check_seconds)
    ready = asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(kube.close)
        await stack.enter_async_context(_serving(settings, metrics, watch_checker, ready))
        prepared = await prepare(kube, settings)
        watch_checker.namespaces = prepared.settings.watch_namespaces
        copiers = await stack.enter_async_context(copier_clients(prepared.identity.context()))
        slots = RunSlots(settings.max_running, lambda uid: reconcilers[uid].wake() if uid in reconcilers else None)
        actor = Actor(kube, prepared.identity, settings, StatusBudget())
        context = OperatorContext(actor, copiers, slots, metrics, reconcilers, versions)
        watching = asyncio.create_task(watch_checker.run())
        stack.callback(watching.cancel)
        task = asyncio.create_task(_operate(prepared.settings, context, end, ready))
        if prepared.left_out:
            late = asyncio.create_task(_restart_for_namespace(kube, settings, prepared.left_out, check_seconds, end))
            stack.callback(late.cancel)
        try:
            yield task
        finally:
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def _restart_for_namespace(
    kube: ApiKube, settings: Settings, left_out: tuple[str, ...], pause: float, end: Flag
) -> None:
    """End the process, so that it is restarted with one namespace more: kopf cannot add one."""
    namespace = await servable_namespace(kube, settings, left_out, pause)
    log.warning("namespace %s can be served now: restarting", namespace)
    end.set()


async def _operate(settings: Settings, context: OperatorContext, end: Flag, ready: asyncio.Event) -> None:
    registry = kopf.OperatorRegistry()

    names = settings.watch_namespaces
    # Each namespace has a watch of Ferries and one of Pods, with a connection each.
    login = _Login(settings.kubeconfig, MAX_REQUESTS + 2 * max(1, len(names)), context.metrics.count_request)
    handlers.register(registry, context, login)
    await kopf.operator(
        registry=registry,
        clusterwide=not names,
        namespaces=names,
        standalone=True,
        # By default kopf uses the user's name, which a Pod does not have. Its own type of str is not public.
        identity=MANAGER,  # type: ignore[arg-type]
        ready_flag=ready,
        stop_flag=end,
    )


class _Login:
    """Gives kopf a session with a connection limit and request metrics; its own has neither."""

    def __init__(self, kubeconfig: str | None, limit: int, count_request: Callable[[ApiRequest], None]) -> None:
        self._kubeconfig = kubeconfig
        self._limit = limit
        self._count_request = count_request
        self._session: tuple[kopf.ConnectionInfo, kopf.AiohttpSession] | None = None

    async def __call__(self) -> kopf.AiohttpSession:
        found = access_of(await configuration(self._kubeconfig))  # read each time: tokens of Pods change every hour
        info = kopf.ConnectionInfo(
            server=found.server,
            ca_path=found.ca_path,
            token=found.token,
            certificate_path=found.certificate_path,
            private_key_path=found.key_path,
        )
        if self._session is None or self._session[0] != info:
            connector = aiohttp.TCPConnector(limit=self._limit, ssl=info.as_ssl_context())
            session = aiohttp.ClientSession(
                connector=connector, headers=info.as_http_headers(), trace_configs=[count_requests(self._count_request)]
            )
            self._session = info, kopf.AiohttpSession(server=found.server, aiohttp_session=session)
        return self._session[1]  # if nothing has changed it is the one that was refused, and kopf ends


@contextlib.asynccontextmanager
async def _serving(
    settings: Settings, metrics: Metrics, watch_checker: WatchChecker, ready: asyncio.Event
) -> AsyncIterator[None]:
    limits = ConnectionLimits()
    served = application(metrics, watch_checker, ready)
    served.middlewares.append(limits.count)
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    try:
        family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
        await limits.start(runner, socket.create_server((settings.listen, settings.port), family=family))
        yield
    finally:
        await runner.cleanup()
