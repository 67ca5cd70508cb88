"""What must be so before the operator may work: its CRD, its permissions, its identity.

It waits for what is missing and says what that is, so that mending it is enough. Of several namespaces it serves those
that it may: one that was deleted, and its Role with it, must not cost the others their pauses and cutovers. Called by
``app``.
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

_SAY_SECONDS = 60.0
Result = TypeVar("Result")


class NotReady(Exception):
    """Something is missing that a person can bring; the message says what."""


@dataclass(frozen=True)
class Prepared:
    """What the operator begins with."""

    identity: Identity
    settings: Settings
    """With those namespaces alone that can be served."""
    left_out: tuple[str, ...] = ()
    """The others."""


async def prepare(kube: Kube, settings: Settings, pause: float = 2.0) -> Prepared:
    """Once all is as it must be."""
    await _retry(lambda: _served(kube), pause)
    narrowed = await _retry(lambda: _allowed(kube, settings), pause)
    left_out = tuple(each for each in settings.watch_namespaces if each not in narrowed.watch_namespaces)
    identity = await _retry(lambda: load_or_create(kube, settings.namespace, settings.identity_secret), pause)
    return Prepared(identity, narrowed, left_out)


async def servable_namespace(kube: Kube, settings: Settings, left_out: tuple[str, ...], pause: float) -> str:
    """The first of the left out namespaces that can be served: by a new process, since kopf takes up no more."""
    while True:
        await asyncio.sleep(pause)
        for namespace in left_out:
            try:
                lacking = await permissions.missing(kube, replace(settings, watch_namespaces=(namespace,)))
            except KubeError as error:
                log.info("not asked whether namespace %s can be served: %s", namespace, error)
                continue
            if not any(each.permission.vital for each in lacking):
                return namespace


async def _retry(step: Callable[[], Awaitable[Result]], pause: float) -> Result:
    said = ""
    said_at = 0.0
    while True:
        try:
            return await step()
        except (NotReady, IdentityUnusable, KubeError) as error:
            if str(error) != said or time.monotonic() - said_at > _SAY_SECONDS:
                said, said_at = str(error), time.monotonic()
                log.warning("waiting: %s", error)
        await asyncio.sleep(pause)


async def _served(kube: Kube) -> None:
    """Without its CRD, kopf would be blind, and stay so when that comes."""
    if not await kube.serves_ferries():
        raise NotReady(f"the CustomResourceDefinition {PLURAL}.{GROUP} is not installed yet")


async def _allowed(kube: Kube, settings: Settings) -> Settings:
    """Without the namespaces that it may not watch: kopf would give up there, and the process with it."""
    lacking = await permissions.missing(kube, settings)
    vital = [each for each in lacking if each.permission.vital]
    blind = {each.namespace for each in vital if not each.permission.name}
    seeing = tuple(each for each in settings.watch_namespaces if each not in blind)
    if any(each.permission.name for each in vital) or (blind and not seeing):
        raise NotReady(permissions.sentence(vital))
    if lacking:
        log.error("%s", permissions.sentence(lacking))
    for namespace in (each for each in settings.watch_namespaces if each in blind):
        log.error("namespace %s is not served: is it gone? It is once the operator's account may watch it", namespace)
    return replace(settings, watch_namespaces=seeing)
