"""Where kopf calls us: watches wake a Ferry's tender, a daemon runs it, deletion waits until nothing is left to do.

kopf is used for watches, daemons and finalizers only. No change handlers: they look at what happened, we look at
what is so. Called by ``app``.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, cast

import kopf

from ferry_core.api.crd import GROUP, PLURAL, VERSION
from ferry_operator.act import Memory
from ferry_operator.essence import NoEssence
from ferry_operator.kube import KubeError
from ferry_operator.names import FERRY_UID, FINALIZER, MANAGED_BY, MANAGER, POD_SELECTOR, Object, Role
from ferry_operator.observe import PodView, is_own, pod_view
from ferry_operator.slim import husk, slim, strip
from ferry_operator.tender import Office, Tender

log = logging.getLogger(__name__)

_RELEASE_SECONDS = 30.0
"""kopf holds back the Ferry's own events while its deletion is handled: now and then it must have its turn."""
_RELEASE_PAUSE = 1.0
_RELEASE_LOOK = 3.0

Login = Callable[[], Awaitable[kopf.AiohttpSession]]
Pods = kopf.Index[tuple[str, str], PodView]


_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


class _ForEver:
    """Pauses between tries. An end of them would be the end of the process: an API server may be away for an hour."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain(_PAUSES, itertools.repeat(_PAUSES[-1]))


def register(registry: kopf.OperatorRegistry, office: Office, login: Login) -> None:
    """All handlers of the operator."""
    _register_setup(registry, login)
    _register_pods(registry, office)
    _register_ferries(registry, office)


def _register_setup(registry: kopf.OperatorRegistry, login: Login) -> None:
    @kopf.on.login(registry=registry)
    async def log_in(**_: object) -> kopf.AiohttpSession:
        return await login()

    @kopf.on.startup(registry=registry)
    async def set_up(settings: kopf.OperatorSettings, **_: object) -> None:
        settings.persistence.finalizer = FINALIZER
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
        settings.persistence.diffbase_storage = NoEssence()
        settings.posting.enabled = False
        settings.scanning.disabled = True
        settings.watching.label_selectors["pods"] = POD_SELECTOR
        settings.queueing.idle_timeout = 1  # until then the last object is kept as it came
        settings.networking.request_timeout = 30
        settings.networking.error_backoffs = _ForEver()
        settings.background.cancellation_polling = 5
        settings.execution.default_backoff = 15
        settings.peering.standalone = True


def _register_pods(registry: kopf.OperatorRegistry, office: Office) -> None:
    @kopf.index("pods", id="ferry_pods", labels={MANAGED_BY: MANAGER}, registry=registry)
    async def ferry_pods(body: kopf.Body, **_: object) -> dict[tuple[str, str], PodView]:
        pod = _plain(body)
        strip(pod["metadata"])
        if not is_own(pod):
            return {}
        view, ferry = pod_view(pod), str(body.meta.labels.get(FERRY_UID))
        if view.role is Role.COPIER and view.phase != "Succeeded":
            # Before any Ferry is tended: after a restart a queued one must not take the place of one that runs.
            office.fleet.hold(ferry)
        return {(str(body.meta.namespace), ferry): view}

    @kopf.on.event("pods", labels={MANAGED_BY: MANAGER}, registry=registry)
    async def pod_changed(body: kopf.Body, event: kopf.RawEvent, **_: object) -> None:
        _note(office, event)
        husk(cast("Object", event["object"]))
        ferry = str(body.meta.labels.get(FERRY_UID))
        tender = office.tenders.get(ferry)
        if tender is not None:
            tender.wake()
        elif event["type"] == "DELETED":
            office.fleet.leave(ferry)


def _register_ferries(registry: kopf.OperatorRegistry, office: Office) -> None:
    @kopf.index(GROUP, VERSION, PLURAL, id="stripped", registry=registry)
    async def stripped(body: kopf.Body, **_: object) -> dict[str, str]:
        strip(_plain(body)["metadata"])  # an index is what sees an object first
        return {}

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry)
    async def ferry_changed(uid: str, event: kopf.RawEvent, **_: object) -> None:
        slim(cast("Object", event["object"]))
        _note(office, event)
        tender = office.tenders.get(uid)
        if tender is not None:
            tender.wake()

    # Named: kopf keeps its progress in annotations named so, and a nested function's own name is none that may be.
    @kopf.daemon(GROUP, VERSION, PLURAL, id="tend", registry=registry)
    async def tend(uid: str, body: kopf.Body, stopped: kopf.DaemonStopped, **others: Any) -> None:
        tender = Tender(office, uid, lambda: _plain(body), _reader(others["ferry_pods"], others["namespace"], uid))
        office.tenders[uid] = tender
        stopping = asyncio.create_task(_wake_when_stopped(stopped, tender))
        try:
            await tender.run(lambda: bool(stopped))
        finally:
            stopping.cancel()
            tender.close()
            if office.tenders.get(uid) is tender:
                del office.tenders[uid]

    @kopf.on.delete(GROUP, VERSION, PLURAL, id="release", registry=registry)
    async def release(uid: str, body: kopf.Body, memo: kopf.Memo, **others: Any) -> None:
        pods = _reader(others["ferry_pods"], others["namespace"], uid)
        await _release(office, uid, _plain(body), pods, memo.setdefault("release", Memory()))


def _note(office: Office, event: kopf.RawEvent) -> None:
    """For the watchman."""
    meta = event["object"]["metadata"]
    if event["type"] == "DELETED":
        office.told.pop(meta["uid"], None)
    else:
        office.told[meta["uid"]] = int(meta["resourceVersion"])


async def _wake_when_stopped(stopped: kopf.DaemonStopped, tender: Tender) -> None:
    await stopped.wait()
    tender.wake()


async def _release(
    office: Office, uid: str, newest: Object, pods: Callable[[], Iterable[PodView]], memory: Memory
) -> None:
    """Returns when the finalizer may go; TemporaryError makes kopf come back, ``memory`` is what it knew."""
    name, namespace = newest["metadata"]["name"], newest["metadata"]["namespace"]
    tender = Tender(office, uid, lambda: newest, pods, memory)
    office.tenders[uid] = tender
    end = time.monotonic() + _RELEASE_SECONDS
    try:
        while time.monotonic() < end:
            try:
                newest = await office.actor.kube.get_ferry(namespace, name)
                if newest["metadata"]["uid"] != uid:
                    return
                plan = await tender.round()
            except KubeError as error:
                if error.not_found:
                    return
                log.warning("%s/%s: %s", namespace, name, error)
                await office.actor.complain(newest, error)
                raise kopf.TemporaryError(str(error), delay=5) from error
            if plan.released:
                log.info("%s/%s: released", namespace, name)
                return
            await tender.sleep(min(plan.next_look, _RELEASE_LOOK, max(0.0, end - time.monotonic())))
        raise kopf.TemporaryError("the deletion still waits for Pods or for the cleanup", delay=_RELEASE_PAUSE)
    finally:
        tender.close()
        office.fleet.leave(uid)
        office.tenders.pop(uid, None)


def _reader(index: Pods, namespace: str, uid: str) -> Callable[[], Iterable[PodView]]:
    def read() -> list[PodView]:
        return list(index.get((namespace, uid), ()))

    return read


def _plain(body: kopf.Body) -> Object:
    """One moment's object: the view may change under our hands."""
    return dict(body)
