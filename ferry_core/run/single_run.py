"""Allows one live run of a Ferry at a time, unless told to take over. Called by ``ferry``, before everything else.

Two locks, each released with its process: one on the state file, which refuses a second run on this machine at once,
and one on the target, which refuses one from anywhere. Neither protects rows; the fence does that, and stops a run that
passes here although it is not alone.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferry_core.api.spec import Ferry, ferry_uid
from ferry_core.checkpoint.state_lock import StateLock
from ferry_core.consistency.fence import Fence, read_lease
from ferry_core.consistency.holder import Presence
from ferry_core.errors import FerryError
from ferry_core.reasons import Reason
from ferry_core.run.options import RunOptions
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)

EVICTION_SECONDS = 15.0
"""How long to wait for a fenced-off run to end. A suspended one keeps its lock and harms nothing."""


@contextmanager
def single_run(
    ferry: Ferry, options: RunOptions, connections: Connections, wait: Callable[[float], None]
) -> Iterator[None]:
    """While entered, no other run of this Ferry is alive. Raises FerryError AlreadyRunning (75) if there is one.

    ``wait`` sleeps for some seconds, and raises when the run must stop.
    """
    uid, name = ferry_uid(ferry), f"{ferry.metadata.namespace}/{ferry.metadata.name}"
    lock = StateLock(options.state_path) if options.state_path is not None else None
    presence = Presence(connections.lease, uid)
    try:
        if lock is not None and (other := lock.acquire()) is not None:
            if not options.take_over:
                raise _refused(name, f"{other} uses {options.state_path}")
            _evict(lock, other, connections, uid, name, wait)
        other = presence.enter(take_over=options.take_over, wait=wait)
        if other is not None:
            raise _refused(name, other)
        yield
    finally:
        presence.leave()
        if lock is not None:
            lock.release()


def _refused(name: str, who: str) -> FerryError:
    return FerryError(
        Reason.ALREADY_RUNNING,
        f"another run of {name} is alive: {who}. This one changes nothing. Wait until the other has ended, end it, or "
        f"start this one with --take-over, which ends the other and resumes from its checkpoint",
    )


def _evict(
    lock: StateLock, other: str, connections: Connections, uid: str, name: str, wait: Callable[[float], None]
) -> None:
    """Fence off the run that uses the state file, and wait until it ends."""
    log.warning("takes over from %s", other)
    with connections.target_control() as session:
        begun = read_lease(session, uid) is not None
    if begun:
        Fence.take(connections.lease, uid, name, "")
    deadline = time.monotonic() + EVICTION_SECONDS
    while lock.acquire() is not None:
        if time.monotonic() > deadline:
            log.warning("%s does not end; it is fenced off and can no longer write", other)
            return
        wait(0.2)
