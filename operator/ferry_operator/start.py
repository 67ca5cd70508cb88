"""What must be so before the operator may work: its CRD, its permissions, its identity.

It waits for what is missing and says what that is, so that mending it is enough. Called by ``app``.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ferry_core.api.crd import GROUP, PLURAL
from ferry_operator import permissions
from ferry_operator.identity import Identity, IdentityUnusable, load_or_create
from ferry_operator.kube import Kube, KubeError
from ferry_operator.settings import Settings

log = logging.getLogger(__name__)

_SAY_SECONDS = 60.0
Result = TypeVar("Result")


class NotYet(Exception):
    """Something is missing that a person can bring; the message says what."""


async def prepare(kube: Kube, settings: Settings, pause: float = 2.0) -> Identity:
    """The operator's identity, once all is as it must be."""
    await _patiently(lambda: _served(kube), pause)
    await _patiently(lambda: _allowed(kube, settings), pause)
    return await _patiently(lambda: load_or_create(kube, settings.namespace, settings.identity_secret), pause)


async def _patiently(step: Callable[[], Awaitable[Result]], pause: float) -> Result:
    said = ""
    said_at = 0.0
    while True:
        try:
            return await step()
        except (NotYet, IdentityUnusable, KubeError) as error:
            if str(error) != said or time.monotonic() - said_at > _SAY_SECONDS:
                said, said_at = str(error), time.monotonic()
                log.warning("waiting: %s", error)
        await asyncio.sleep(pause)


async def _served(kube: Kube) -> None:
    """Without its CRD, kopf would be blind, and stay so when that comes."""
    if not await kube.serves_ferries():
        raise NotYet(f"the CustomResourceDefinition {PLURAL}.{GROUP} is not installed yet")


async def _allowed(kube: Kube, settings: Settings) -> None:
    """Where it may not watch, kopf gives up and the process with it."""
    lacking = await permissions.missing(kube, settings)
    vital = [each for each in lacking if each.permission.vital]
    if vital:
        raise NotYet(permissions.sentence(vital))
    if lacking:
        log.error("%s", permissions.sentence(lacking))
