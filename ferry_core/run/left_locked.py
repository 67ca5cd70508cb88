"""A source that an earlier run may have left read-only: found and unlocked before anything else.

The lease row on the target tells whether an attempt was under way. Where it can be read but not written the source is
unlocked all the same; where it cannot be read nobody knows whether the target was handed over, so the source stays as
it is, and the error says by which statement a person unlocks it. Called by the next start, by ``ferry abort`` and
``ferry cleanup``; who may unlock is decided in ``cutover.unlocking``.
"""

import contextlib
import logging
from typing import NamedTuple

from ferry_core.api.choices import SourceLockMode
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.api.spec import ferry_uid
from ferry_core.consistency.fence import Fence, Lease, read_lease
from ferry_core.cutover.messages import CHECK_FIRST
from ferry_core.cutover.source_lock import ReadOnlyLock, Released
from ferry_core.cutover.unlocking import undo, undo_without_writing
from ferry_core.errors import AmbiguousError, ConfigError, Fenced, FerryError
from ferry_core.run.connections import PATIENT_SECONDS, Connections
from ferry_core.run.setup import Crossing, read_only_lock, source_identity

log = logging.getLogger(__name__)


class LeftLock(NamedTuple):
    """What was found; ``text`` is for people, empty if there was nothing."""

    released: Released
    text: str
    fence: Fence | None = None
    """The one that was taken for it."""


def unlock_first(ferry: FerryManifest, connections: Connections, ours: Fence | None = None) -> Fence | None:
    """Allow writes again if an earlier run died while cutting over, whatever validation and a pause will say.

    Gives the fence that it took for that. ``ours`` is one of before: a newer run than that is left alone (Fenced).
    """
    lease = lease_or_explain(ferry, connections)
    if lease is None:
        return None
    left = unlock_left(ferry, connections, lease, ours)
    refuse_unclear(left)
    return left.fence


def unlock_again(crossing: Crossing, fence: Fence) -> None:
    """An older run may have begun an attempt between ``unlock_first`` and the fence."""
    lock = read_only_lock(crossing.connections, crossing.flavor, crossing.uid)
    released = undo(fence, lock)
    if crossing.lease is not None:
        refuse_unclear(LeftLock(released, said(released, lock, crossing.lease)))


def refuse_unclear(left: LeftLock) -> None:
    """A start does not go on with a source that may be locked by nobody."""
    if left.released is Released.UNCLEAR:
        raise ConfigError("SourceLocked", left.text)


def lease_or_explain(ferry: FerryManifest, connections: Connections) -> Lease | None:
    """The lease row; an error says that the source may be locked, if it is read-only."""
    try:
        with connections.target_control(PATIENT_SECONDS) as target:
            return read_lease(target, ferry_uid(ferry))
    except FerryError as error:
        raise _explained(ferry, connections, error) from error


def unlock_left(ferry: FerryManifest, connections: Connections, lease: Lease, ours: Fence | None = None) -> LeftLock:
    """Undo what the lease says is under way; says how that went. Raises when it cannot be done now."""
    if lease.phase != Stage.CUTTING_OVER.value:
        return LeftLock(Released.NOTHING, "")
    uid = ferry_uid(ferry)
    with connections.source_control(PATIENT_SECONDS) as source:
        flavor, identity = source.flavor, source_identity(source)
    lock = read_only_lock(connections, flavor, uid)
    if lease.source_id != identity:
        return LeftLock(
            Released.UNCLEAR,
            f"an attempt of this Ferry to cut over was under way on source server {lease.source_id}, but "
            f"{ferry.spec.source.host}:{ferry.spec.source.port} is {identity}: nothing is changed there. Point the "
            "Ferry at the server it began with; or, if this is it under another name, see whether it is read-only, and "
            f"{CHECK_FIRST} allow writes on {lock.by_hand(lease.cutover)}",
        )
    fence = None
    name = f"{ferry.metadata.namespace}/{ferry.metadata.name}"
    try:
        fence, _ = Fence.take(connections.patient_lease, uid, name, "", ours.epoch if ours else None)
        released = undo(fence, lock)
    except (Fenced, AmbiguousError):
        raise
    except FerryError as error:
        released = _without_writing(ferry, connections, lock, error)
    return LeftLock(released, said(released, lock, lease), fence)


def said(released: Released, lock: ReadOnlyLock, lease: Lease) -> str:
    """What became of the writes."""
    if released is Released.ALLOWED:
        return "writes on the source are allowed again"
    if released is Released.OTHERS:
        return "read_only on the source stays as it is: another Ferry is cutting over from there, or has"
    if released is Released.UNCLEAR:
        return (
            "the source is read-only, and it is not certain that an attempt of this Ferry has made it so: it was "
            f"restarted, or somebody else may have set it since. If nobody wants it to be read-only, {CHECK_FIRST} "
            f"allow writes on {lock.by_hand(lease.cutover)}"
        )
    return ""


def _without_writing(ferry: FerryManifest, connections: Connections, lock: ReadOnlyLock, error: FerryError) -> Released:
    try:
        released = undo_without_writing(connections.patient_lease, ferry_uid(ferry), lock)
    except (AmbiguousError, Fenced):
        raise
    except FerryError as again:
        raise _explained(ferry, connections, again) from again
    log.warning("the target cannot be written to (%s); the source was looked after without it", error.message)
    return released


def _explained(ferry: FerryManifest, connections: Connections, error: FerryError) -> FerryError:
    """The same error, which also says that the source is read-only, if so."""
    if ferry.spec.cutover.source_lock is SourceLockMode.NONE:
        return error
    with contextlib.suppress(FerryError), connections.source_control(PATIENT_SECONDS) as source:
        lock = read_only_lock(connections, source.flavor, ferry_uid(ferry))
        if lock.is_read_only():
            return type(error)(
                error.reason,
                f"{error.message}. The source is read-only: if an attempt of this Ferry to cut over has made it so, "
                "writes stay blocked until the target tells whether it was handed over; the next start or `ferry "
                f"abort` that reaches it allows them. To allow them by hand, {CHECK_FIRST}, on {lock.by_hand({})}",
            )
    return error
