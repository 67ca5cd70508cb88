"""Where kopf calls us: watches wake a Ferry's tender, a daemon runs it, deletion waits until nothing is left to do.

kopf is used for watches, daemons and finalizers only. No change handlers: they look at what happened, we look at
what is so. Called by ``app``.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, cast

import kopf

from ferry_core.api.crd import GROUP, PLURAL, VERSION
from ferry_operator.act import Memory
from ferry_operator.essence import NoEssence
from ferry_operator.names import FERRY_UID, FINALIZER, MANAGED_BY, MANAGER, POD_SELECTOR, Object, Role
from ferry_operator.observe import PodView, is_own, pod_view
from ferry_operator.slim import husk, slim, strip
from ferry_operator.tender import Office, Tender

log = logging.getLogger(__name__)

_RELEASE_SECONDS = 30.0
"""kopf holds back the Ferry's own events while its deletion is handled: now and then it must have its turn."""
_RELEASE_PAUSE = 1.0
"""For that turn; the deletion waits as long."""

Login = Callable[[], Awaitable[kopf.AiohttpSession]]
Pods = kopf.Index[tuple[str, str], PodView]

_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Before kopf asks again: most failures are over at once; after a long one all Ferries wait for the last of these."""


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
        settings.networking.request_timeout = 30  # as our own requests have
        settings.networking.error_backoffs = _ForEver()
        settings.background.cancellation_polling = 5  # a tender that is stopped ends with its round, mostly at once
        settings.execution.default_backoff = 15  # after a bug of ours in a handler: waiting mends nothing
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
        pods = _reader(others["ferry_pods"], others["namespace"], uid)
        with _seated(office, uid, Tender(office, uid, lambda: _plain(body), pods)) as tender:
            stopping = asyncio.create_task(_wake_when_stopped(stopped, tender))
            try:
                await tender.run(lambda: bool(stopped))
            finally:
                stopping.cancel()

    @kopf.on.delete(GROUP, VERSION, PLURAL, id="release", registry=registry)
    async def release(uid: str, body: kopf.Body, memo: kopf.Memo, **others: Any) -> None:
        pods = _reader(others["ferry_pods"], others["namespace"], uid)
        memory = memo.setdefault("release", Memory())  # what was known when kopf came last
        deleted = _plain(body)
        with _seated(office, uid, Tender(office, uid, lambda: deleted, pods, memory)) as tender:
            if not await tender.release(_RELEASE_SECONDS):
                text = "the deletion still waits for Pods or for the cleanup"
                raise kopf.TemporaryError(text, delay=_RELEASE_PAUSE)
            await office.actor.free(deleted)
        log.info("%s/%s: released", others["namespace"], others["name"])


@contextlib.contextmanager
def _seated(office: Office, uid: str, tender: Tender) -> Iterator[Tender]:
    """The one that is woken for this Ferry, unless another has taken over."""
    office.tenders[uid] = tender
    try:
        yield tender
    finally:
        tender.link.close()
        if office.tenders.get(uid) is tender:
            del office.tenders[uid]
            tender.leave()


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


def _reader(index: Pods, namespace: str, uid: str) -> Callable[[], Iterable[PodView]]:
    def read() -> list[PodView]:
        return list(index.get((namespace, uid), ()))

    return read


def _plain(body: kopf.Body) -> Object:
    """One moment's object: the view may change under our hands."""
    return dict(body)
