"""Allows writes on the source again, and decides who may: the session that holds the cutover mutex, otherwise the
lease.

The run whose attempt stopped the writes holds a named lock on the source (``mutex``) and unlocks over that session,
without the target: no successor stops writes before it has ended that session. The lease row is corrected when the
target answers (``LeaseCorrector``). A run that has lost the mutex, and every later start, first reads epoch and phase
in the lease row. Called by ``attempt``, by the next start and by ``ferry abort``.
"""

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_delay,
    stop_when_event_set,
    wait_exponential_jitter,
)

from ferry_core.api.report import Stage
from ferry_core.consistency.fence import Fence, Lease
from ferry_core.cutover.background import Background
from ferry_core.cutover.messages import locked
from ferry_core.cutover.primary import LOCKED_SERVER
from ferry_core.cutover.source_lock import Released, SourceLock
from ferry_core.errors import AmbiguousError, FerryError, RetriableError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

UNLOCK_SECONDS = 600.0
ATTEMPT = "attempt"
"""Key of the attempt's name in the lease row, beside the values that its lock must restore."""

_CUTTING_OVER = Stage.CUTTING_OVER.value


def undo(fence: Fence, lock: SourceLock, over: threading.Event | None = None) -> Released:
    """Allow writes again if the lease says that this Ferry stopped them. Retries until it is certain, or ``over``.

    Raises AmbiguousError when source or target stay unreachable, Fenced when a newer run took over (it will undo).
    """
    retrying = Retrying(
        retry=retry_if_exception_type(RetriableError),
        wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.1),
        stop=stop_after_delay(UNLOCK_SECONDS) | stop_when_event_set(over or threading.Event()),
        reraise=True,
    )
    try:
        return Released(retrying(_undo_once, fence, lock))
    except RetriableError as error:
        raise AmbiguousError(Reason.SOURCE_LOCKED, locked(error.message, lock.by_hand({}))) from error


def _undo_once(fence: Fence, lock: SourceLock) -> Released:
    with fence.exclusively() as (session, lease):
        released = _release(lock, lease)
        if lease.phase == _CUTTING_OVER and released is not Released.UNCLEAR:
            fence.update(session, phase=Stage.STREAMING.value, cutover={})
    return released


def _release(lock: SourceLock, lease: Lease) -> Released:
    if lease.phase == _CUTTING_OVER and set(lease.cutover) - {
        ATTEMPT,
        LOCKED_SERVER,
    }:  # nothing is restored without a lock
        return lock.release(lease.cutover)
    return Released.NOTHING


def undo_without_writing(connect: Callable[[], Session], uid: str, lock: SourceLock) -> Released:
    """The same if the target cannot be written, so that nobody can record a cutover there meanwhile either.

    An older run that is still alive is ended on both servers: its sessions on the target here, its mutex by
    ``release``. Before it records anything it checks the mutex on a session that is found and ended here.
    """
    with Fence.held_still(connect, uid) as lease:
        return Released.NOTHING if lease is None else _release(lock, lease)


class LeaseCorrector:
    """Corrects the lease row of an attempt whose source was unlocked without it, in the background. One per run.

    A kill before it succeeds is harmless: the next start finds the source writable, or finds out whose lock it is.
    """

    def __init__(self, suspend_writes: Callable[[], AbstractContextManager[None]]) -> None:
        """``suspend_writes`` stops this run's row writes: they hold the lease row while they wait for a lock."""
        self.suspend_writes = suspend_writes
        self._over = threading.Event()

    def cancel(self) -> None:
        """Called by the next attempt, which writes the lease row itself."""
        self._over.set()

    def correct(self, fence: Fence, attempt: str) -> Background[None]:
        """Record that the attempt of this name, made by ``fence``, is over. Ends when it is written or never can be."""
        over = self._over = threading.Event()

        def body() -> None:
            try:
                Retrying(
                    retry=retry_if_exception_type(RetriableError),
                    wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.1),
                    stop=stop_when_event_set(over),
                    sleep=sleep_using_event(over),
                    reraise=True,
                )(self._once, fence, attempt)
            except FerryError as error:
                log.debug("the lease still says that the attempt is running: %s", error)

        return Background("cutover-lease", body)

    def _once(self, fence: Fence, attempt: str) -> None:
        fence.end_recording()
        with self.suspend_writes(), fence.exclusively() as (session, lease):
            if lease.phase == _CUTTING_OVER and lease.cutover.get(ATTEMPT, "") == attempt:
                fence.update(session, phase=Stage.STREAMING.value, cutover={})
