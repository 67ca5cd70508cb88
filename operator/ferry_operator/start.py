"""Waits for what the operator needs to start: its CRD, its permissions, its identity. Called by ``app``.

It logs what is missing and starts once that exists. Of several namespaces it serves those that it has access to: a
namespace that was deleted together with its Role must not stop the others.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from ferry_core.api.crd import GROUP, PLURAL
from ferry_operator import permissions
from ferry_operator.identity import Identity, IdentityUnusable, load_or_create
from ferry_operator.kube import Kube, KubeError
from ferry_operator.settings import Settings

log = logging.getLogger(__name__)

_LOG_AGAIN_SECONDS = 60.0
Result = TypeVar("Result")


class NotReady(Exception):
    """Something is missing; the message says what."""


@dataclass(frozen=True)
class Prepared:
    """What the operator starts with."""

    identity: Identity
    settings: Settings
    """With only the namespaces that can be served."""
    left_out: tuple[str, ...] = ()
    """The others."""


async def prepare(kube: Kube, settings: Settings, pause: float = 2.0) -> Prepared:
    """Returns once nothing is missing."""
    await _retry(lambda: _served(kube), pause)
    narrowed = await _retry(lambda: _allowed(kube, settings), pause)
    left_out = tuple(each for each in settings.watch_namespaces if each not in narrowed.watch_namespaces)
    identity = await _retry(lambda: load_or_create(kube, settings.namespace, settings.identity_secret), pause)
    return Prepared(identity, narrowed, left_out)


async def servable_namespace(kube: Kube, settings: Settings, left_out: tuple[str, ...], pause: float) -> str:
    """Returns the first of the left out namespaces that can be served now."""
    while True:
        await asyncio.sleep(pause)
        for namespace in left_out:
            try:
                lacking = await permissions.missing(kube, replace(settings, watch_namespaces=(namespace,)))
            except KubeError as error:
                log.info("cannot check whether namespace %s can be served: %s", namespace, error)
                continue
            if not any(each.permission.vital for each in lacking):
                return namespace


async def _retry(step: Callable[[], Awaitable[Result]], pause: float) -> Result:
    logged = ""
    logged_at = 0.0
    while True:
        try:
            return await step()
        except (NotReady, IdentityUnusable, KubeError) as error:
            if str(error) != logged or time.monotonic() - logged_at > _LOG_AGAIN_SECONDS:
                logged, logged_at = str(error), time.monotonic()
                log.warning("waiting: %s", error)
        await asyncio.sleep(pause)


async def _served(kube: Kube) -> None:
    """If kopf were started before the CRD exists, it would never see Ferries."""
    if not await kube.serves_ferries():
        raise NotReady(f"the CustomResourceDefinition {PLURAL}.{GROUP} is not installed yet")


async def _allowed(kube: Kube, settings: Settings) -> Settings:
    """Leaves out namespaces that the operator may not watch: kopf would end the process."""
    lacking = await permissions.missing(kube, settings)
    vital = [each for each in lacking if each.permission.vital]
    blind = {each.namespace for each in vital if not each.permission.name}
    seeing = tuple(each for each in settings.watch_namespaces if each not in blind)
    if any(each.permission.name for each in vital) or (blind and not seeing):
        raise NotReady(permissions.sentence(vital))
    if lacking:
        log.error("%s", permissions.sentence(lacking))
    for namespace in (each for each in settings.watch_namespaces if each in blind):
        log.error("namespace %s is not served until the operator's account may watch it; was it deleted?", namespace)
    return replace(settings, watch_namespaces=seeing)
