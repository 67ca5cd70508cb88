"""The handlers that kopf calls: watches wake a Ferry's reconciler, a daemon runs it, deletion waits until it is done.

kopf is used for watches, daemons and finalizers only. There are no change handlers: they act on events, this operator
acts on the current state. Called by ``app``.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, cast

import kopf

from ferry_core.api.crd import GROUP, PLURAL, VERSION
from ferry_operator.kopf_settings import configure
from ferry_operator.names import FERRY_UID, MANAGED_BY, MANAGER, Object, Role
from ferry_operator.object_memory import drop_managed_fields, drop_payload, intern_strings
from ferry_operator.observe import PodView, is_own, pod_view
from ferry_operator.reconciler import OperatorContext, Reconciler
from ferry_operator.round_state import RoundState

log = logging.getLogger(__name__)

_RELEASE_SECONDS = 30.0
"""kopf holds back a Ferry's events while it handles the deletion, so it must be let run now and then."""
_RELEASE_PAUSE = 1.0
"""How long it is let run; the deletion waits as long."""

Login = Callable[[], Awaitable[kopf.AiohttpSession]]
Pods = kopf.Index[tuple[str, str], PodView]


def register(registry: kopf.OperatorRegistry, context: OperatorContext, login: Login) -> None:
    """All handlers of the operator."""
    _register_setup(registry, login)
    _register_pods(registry, context)
    _register_ferries(registry, context)


def _register_setup(registry: kopf.OperatorRegistry, login: Login) -> None:
    @kopf.on.login(registry=registry)
    async def log_in(**_: object) -> kopf.AiohttpSession:
        return await login()

    @kopf.on.startup(registry=registry)
    async def set_up(settings: kopf.OperatorSettings, **_: object) -> None:
        configure(settings)


def _register_pods(registry: kopf.OperatorRegistry, context: OperatorContext) -> None:
    @kopf.index("pods", id="ferry_pods", labels={MANAGED_BY: MANAGER}, registry=registry)
    async def ferry_pods(body: kopf.Body, **_: object) -> dict[tuple[str, str], PodView]:
        pod = drop_managed_fields(_snapshot(body))
        if not is_own(pod):
            return {}
        view, ferry = pod_view(pod), str(body.meta.labels.get(FERRY_UID))
        if view.role is Role.COPIER and view.phase != "Succeeded":
            # Before any Ferry is reconciled: after a restart a queued one must not take the slot of one that runs.
            context.slots.adopt(ferry)
        return {(str(body.meta.namespace), ferry): view}

    @kopf.on.event("pods", labels={MANAGED_BY: MANAGER}, registry=registry)
    async def pod_changed(body: kopf.Body, event: kopf.RawEvent, **_: object) -> None:
        _record_version(context, event)
        drop_payload(cast("Object", event["object"]))
        ferry = str(body.meta.labels.get(FERRY_UID))
        reconciler = context.reconcilers.get(ferry)
        if reconciler is not None:
            reconciler.wake()
        elif event["type"] == "DELETED":
            context.slots.release(ferry)


def _register_ferries(registry: kopf.OperatorRegistry, context: OperatorContext) -> None:
    @kopf.index(GROUP, VERSION, PLURAL, id="stripped", registry=registry)
    async def stripped(body: kopf.Body, **_: object) -> dict[str, str]:
        drop_managed_fields(_snapshot(body))  # kopf calls an index before any other handler
        return {}

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def ferry_changed(uid: str, event: kopf.RawEvent, **_: object) -> None:
        intern_strings(drop_managed_fields(cast("Object", event["object"])))
        _record_version(context, event)
        reconciler = context.reconcilers.get(uid)
        if reconciler is not None:
            reconciler.wake()

    # With an explicit id: kopf keeps progress in annotations named after it, and a nested function's name is not valid.
    @kopf.daemon(GROUP, VERSION, PLURAL, id="reconciler", registry=registry)
    async def reconcile(uid: str, body: kopf.Body, stopped: kopf.DaemonStopped, **others: Any) -> None:
        pods = _reader(others["ferry_pods"], others["namespace"], uid)
        with _registered(context, uid, Reconciler(context, uid, lambda: _snapshot(body), pods)) as reconciler:
            stopping = asyncio.create_task(_wake_when_stopped(stopped, reconciler))
            try:
                await reconciler.run(lambda: bool(stopped))
            finally:
                stopping.cancel()

    @kopf.on.delete(GROUP, VERSION, PLURAL, id="release", registry=registry)
    async def release(uid: str, body: kopf.Body, memo: kopf.Memo, **others: Any) -> None:
        pods = _reader(others["ferry_pods"], others["namespace"], uid)
        state = memo.setdefault("release", RoundState())  # kept between kopf's calls
        deleted = _snapshot(body)
        with _registered(context, uid, Reconciler(context, uid, lambda: deleted, pods, state)) as reconciler:
            if not await reconciler.release(_RELEASE_SECONDS):
                text = "the deletion still waits for Pods or for the cleanup"
                raise kopf.TemporaryError(text, delay=_RELEASE_PAUSE)
            await context.actor.remove_finalizer(deleted)
        log.info("%s/%s: finalizer removed", others["namespace"], others["name"])


@contextlib.contextmanager
def _registered(context: OperatorContext, uid: str, reconciler: Reconciler) -> Iterator[Reconciler]:
    """Inside, this is the reconciler that watches wake, unless another one takes over."""
    context.reconcilers[uid] = reconciler
    try:
        yield reconciler
    finally:
        reconciler.copier.close()
        if context.reconcilers.get(uid) is reconciler:
            del context.reconcilers[uid]
            reconciler.release_slot()


def _record_version(context: OperatorContext, event: kopf.RawEvent) -> None:
    """For the watch checker."""
    meta = event["object"]["metadata"]
    if event["type"] == "DELETED":
        context.watched_versions.pop(meta["uid"], None)
    else:
        context.watched_versions[meta["uid"]] = int(meta["resourceVersion"])


async def _wake_when_stopped(stopped: kopf.DaemonStopped, reconciler: Reconciler) -> None:
    await stopped.wait()
    reconciler.wake()


def _reader(index: Pods, namespace: str, uid: str) -> Callable[[], Iterable[PodView]]:
    def read() -> list[PodView]:
        return list(index.get((namespace, uid), ()))

    return read


def _snapshot(body: kopf.Body) -> Object:
    """The object at this moment; kopf's view changes while it is read."""
    return dict(body)
