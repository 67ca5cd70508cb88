"""Finds and unlocks a source that an earlier run may have left read-only, before anything else.

The lease row on the target tells whether an attempt was in progress. If it can be read but not written, the source is
unlocked anyway. If it cannot be read, nobody knows whether the target was cut over: the source stays as it is, and the
error contains the statement by which a person unlocks it. Called by the next start, by ``ferry abort`` and ``ferry
cleanup``. ``cutover.unlocking`` decides who may unlock.
"""

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ferry_core.api.choices import SourceLockMode
from ferry_core.api.report import Phase, Stage
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.target import TargetStore
from ferry_core.consistency.epochs import Epochs
from ferry_core.consistency.fence import COMPLETED, Fence, Lease, read_lease
from ferry_core.consistency.own_tables import aborted_by_hand, completed_by_hand, resumed_by_hand
from ferry_core.cutover.messages import CHECK_FIRST
from ferry_core.cutover.primary import LOCKED_SERVER
from ferry_core.cutover.source_lock import Released, SourceLock
from ferry_core.cutover.unlocking import ATTEMPT, undo, undo_without_writing
from ferry_core.errors import AmbiguousError, ConfigError, Fenced, FerryError
from ferry_core.preflight.read_only import found_read_only, perhaps_cut_over
from ferry_core.reasons import Reason
from ferry_core.run.locks import lock_to_undo, read_only_lock
from ferry_core.run.renamed import source_was
from ferry_core.run.setup import RunContext, source_identity
from ferry_core.workers.connections import PATIENT_SECONDS, Connections

log = logging.getLogger(__name__)

_KNOWS = (Stage.CUTTING_OVER.value, Phase.ABORTED.value)
"""A lease in one of these phases tells what became of the source. Before the first attempt it is in another."""


class LeftLock(NamedTuple):
    """What was found. ``text`` is for people, empty if nothing was found."""

    released: Released
    text: str
    fence: Fence | None = None
    """The fence that was taken to unlock."""
    to_go_on: str = ""
    """What else to do for the Ferry to go on."""


def unlock_first(
    ferry: FerryManifest, connections: Connections, state_path: Path | None, ours: Epochs | None = None
) -> Fence | None:
    """Allow writes again if an earlier run died while cutting over, whatever validation and pause say later.

    Returns the fence that it took for that. ``ours`` are this process's epochs: a newer run is left alone (Fenced).
    """
    lease = lease_or_explain(ferry, connections, hidden_is_none=True)
    refuse_forgotten(ferry, connections, lease, state_path)
    if lease is None:
        return None
    left = unlock_left(ferry, connections, lease, state_path, ours)
    refuse_unclear(left)
    return left.fence


def unlock_again(context: RunContext, fence: Fence) -> None:
    """Unlock an attempt that an older run may have started between ``unlock_first`` and the fence."""
    stored = fence.read().cutover
    lock = lock_to_undo(stored, context.ferry, context.connections, context.flavor, context.uid)
    if stored:
        with context.connections.written_control(PATIENT_SECONDS) as written:
            elsewhere = _elsewhere(stored, context.ferry, context.connections, source_identity(written))
        if elsewhere:
            refuse_unclear(_unclear_elsewhere(elsewhere, context.ferry))
    released = undo(fence, lock)
    if context.lease is not None:
        refuse_unclear(LeftLock(released, said(released, lock, context.lease)))


def refuse_unclear(left: LeftLock) -> None:
    """Refuse to start with a source whose lock may belong to nobody."""
    if left.released is Released.UNCLEAR:
        raise ConfigError(Reason.SOURCE_LOCKED, left.text + left.to_go_on)


def refuse_forgotten(
    ferry: FerryManifest, connections: Connections, lease: Lease | None, state_path: Path | None
) -> None:
    """Refuse to start if the state file records a cutover, or an attempt, that the target does not know: a person
    decides.

    A target loses such records in a crash, by restoring a backup, or when a replica replaces it.
    """
    state = _stored(state_path, ferry_uid(ferry))
    if state is None or (lease is not None and lease.phase == COMPLETED):
        return
    if state.stage == Stage.COMPLETED.value:
        lease = lease or lease_or_explain(ferry, connections)  # hidden from an account without the privilege
        raise ConfigError(Reason.HAND_OVER_FORGOTTEN, _forgotten(ferry, connections, lease, state, f"{state_path}"))
    attempted = state.stage == Stage.CUTTING_OVER.value and (lease is None or lease.phase not in _KNOWS)
    by_hand = locked_by_hand(ferry, connections) if attempted else None
    if attempted and ferry.spec.cutover.source_lock is SourceLockMode.WEBHOOK:
        log.warning(
            "%s records a cutover attempt of this Ferry, and target %s knows of none: if applications cannot write to "
            "the source, do there what cutover.webhooks.unlock does", state_path, _target(ferry)
        )  # fmt: skip
    if by_hand is not None:
        raise ConfigError(
            Reason.SOURCE_LOCKED,
            f"the source is read-only, {state_path} records a cutover attempt of this Ferry, and target "
            f"{_target(ferry)} knows of none: it is another server, or lost its last writes. Point the "
            f"Ferry at the target it began with; or, {CHECK_FIRST}, allow writes on {by_hand}; then start it again",
        )


def refuse_other_target(ferry: FerryManifest, state_path: Path | None) -> None:
    """Refuse to end a Ferry that the target does not know, although the state file records rows there."""
    state = _stored(state_path, ferry_uid(ferry))
    if state is not None and state.tables:
        raise ConfigError(
            Reason.STATE_OF_OTHER_TARGET,
            f"target {_target(ferry)} has no record of this Ferry, and {state_path} records rows that it has copied: "
            f"the target is not the server that the Ferry began with, was restored from a backup, or was cleaned up "
            f"without this file. Nothing was changed. Point the Ferry at the target it began with and run this again; "
            f"if that one was cleaned up or is gone, remove the file",
        )


def _forgotten(
    ferry: FerryManifest, connections: Connections, lease: Lease | None, state: RunState, state_path: str
) -> str:
    uid = ferry_uid(ferry)
    at = "" if state.completed_at is None else f" at {time.strftime('%F %T UTC', time.gmtime(state.completed_at))}"
    knows = "has no record of this Ferry" if lease is None else f"has phase {lease.phase} for it in mysql_ferry.lease"
    used = "remove the state file: nothing is left to run" if lease is None else f"run {completed_by_hand(uid)}"
    again = "empty or drop its tables, and start again" if lease is None else "start with --restart"
    return (
        f"{state_path} says that this Ferry was cut over{at} to target {_target(ferry)}, which {knows}: it lost its "
        f"last writes (in a crash, because a backup was restored, or because a replica took over), its helper tables "
        f"were dropped, or it is another server. Nothing was changed on either server; "
        f"{_writes(ferry, connections)}. If applications use the target, {used}, and compare the tables with the "
        f"source, since rows may be lost. If nobody has used it, remove the state file, {again}: all is copied again"
        + (", and writes on the source are allowed again" if lease and lease.phase == Stage.CUTTING_OVER.value else "")
    )


def _writes(ferry: FerryManifest, connections: Connections) -> str:
    """Whether the source is locked, as far as it can be asked."""
    mode = ferry.spec.cutover.source_lock
    try:
        by_hand = read_only_by_hand(ferry, connections) if _may_be_ours(ferry) else None
    except FerryError as error:
        return f"whether the source accepts writes is not known ({error.message})"
    if by_hand is not None:
        return (
            f"{ferry.spec.source.written.address} is read-only, and stays so until a person allows writes on {by_hand}"
        )
    if mode is SourceLockMode.READ_ONLY:
        return "the source accepts writes"
    return f"whether writes on the source are stopped is unknown here (sourceLock: {mode.value})"


def _may_be_ours(ferry: FerryManifest) -> bool:
    """Whether this Ferry may have made a source read-only: an attempt before a change of the manifest did, or a webhook
    does. With None, a user who keeps the source read-only stops the writes.
    """
    return ferry.spec.cutover.source_lock is not SourceLockMode.NONE


def _target(ferry: FerryManifest) -> str:
    return ferry.spec.target.address


def _stored(state_path: Path | None, uid: str) -> RunState | None:
    """The content of a state file, if it belongs to this Ferry. Validation reports what is wrong with it."""
    if state_path is None or not state_path.exists():
        return None
    with contextlib.suppress(FerryError), contextlib.closing(SqliteStore(state_path)) as store:
        state = store.load()
        return state if state is not None and state.ferry_uid == uid else None
    return None


def _state(connections: Connections, state_path: Path | None, uid: str) -> RunState | None:
    """The stored state, wherever it is kept. None if it cannot be read."""
    if state_path is not None:
        return _stored(state_path, uid)
    with contextlib.suppress(FerryError), contextlib.closing(TargetStore(connections.patient_lease, uid)) as store:
        return store.load()
    return None


def lease_or_explain(ferry: FerryManifest, connections: Connections, *, hidden_is_none: bool = False) -> Lease | None:
    """The lease row. If it cannot be read and the source is read-only, the error says that the source may be locked.

    ``hidden_is_none``: return None if the account may not see the row, unless the source is read-only. For callers that
    validate next: preflight lists this privilege together with all others that are missing.
    """
    try:
        with connections.target_control(PATIENT_SECONDS) as target:
            return read_lease(target, ferry_uid(ferry))
    except FerryError as error:
        by_hand = locked_by_hand(ferry, connections)
        if hidden_is_none and error.reason == Reason.MISSING_PRIVILEGE and by_hand is None:
            return None
        raise _explained(error, by_hand) from error


def unlock_left(
    ferry: FerryManifest,
    connections: Connections,
    lease: Lease,
    state_path: Path | None,
    ours: Epochs | None = None,
    *,
    ends: bool = False,
) -> LeftLock:
    """Undo what the lease records as in progress; returns how that went. Raises when it cannot be done now.

    ``ends``: the Ferry is to go on no more.
    """
    if lease.phase != Stage.CUTTING_OVER.value:
        return LeftLock(Released.NOTHING, "")
    uid = ferry_uid(ferry)
    try:
        with connections.written_control(PATIENT_SECONDS) as written:
            flavor, identity = written.flavor, source_identity(written)
    except FerryError as error:
        error.add(
            ". A cutover attempt of this Ferry was running, and may have stopped writes there; once that server "
            f"answers, they are allowed again. {_gone_for_good(ferry, ends=ends, replica=connections.has_primary)}"
        )
        raise
    lock = lock_to_undo(lease.cutover, ferry, connections, flavor, uid)
    if elsewhere := _elsewhere(lease.cutover, ferry, connections, identity):
        return _unclear_elsewhere(elsewhere, ferry)
    state = _state(connections, state_path, uid) if lease.source_id != identity else None
    if not connections.has_primary and not source_was(lease.source_id, identity, connections, state):
        return LeftLock(
            Released.UNCLEAR,
            f"a cutover attempt of this Ferry was running on source server {lease.source_id}, but "
            f"{ferry.spec.source.address} is {identity}: nothing is changed there. Point the "
            "Ferry at the server it began with; or, if this is the same server under another name, check whether it "
            f"is read-only, and {CHECK_FIRST} allow writes on {lock.by_hand(lease.cutover)}; then start over with a "
            "fresh copy",
        )
    fence = None
    name = f"{ferry.metadata.namespace}/{ferry.metadata.name}"
    try:
        fence, _ = Fence.take(connections.patient_lease, uid, name, "", ours)
        released = undo(fence, lock)
    except (Fenced, AmbiguousError):
        raise
    except FerryError as error:
        released = _without_writing(ferry, connections, lock, error)
    return LeftLock(released, said(released, lock, lease), fence)


def _elsewhere(stored: Mapping[str, str], ferry: FerryManifest, connections: Connections, identity: str) -> str:
    """A message if the attempt stopped writes on another server than the manifest names now; otherwise empty.

    ``identity`` is that of the server that applications write to, by the manifest. For a lock on the source itself, the
    lease has its identity in another column.
    """
    locked, written = stored.get(LOCKED_SERVER), ferry.spec.source.written
    stopped = set(stored) - {ATTEMPT, LOCKED_SERVER}
    if not stopped or locked == identity or (locked is None and not connections.has_primary):
        return ""
    there = "the source itself" if locked is None else f"server {locked}, then the source's primary"
    return (
        f"a cutover attempt of this Ferry stopped writes on {there}, and {written.address}, where applications write "
        f"by the manifest, is {identity}: nothing is changed there. Give spec.source.primary the value of that "
        "attempt"
    )


def _unclear_elsewhere(text: str, ferry: FerryManifest) -> LeftLock:
    return LeftLock(Released.UNCLEAR, text, to_go_on=f". {_gone_for_good(ferry)}")


def _gone_for_good(ferry: FerryManifest, *, ends: bool = False, replica: bool = True) -> str:
    """What to do if the server whose writes an attempt has stopped never comes back.

    ``replica``: it was the source's primary, so rows and changes still come from the source.
    """
    by_hand, then = aborted_by_hand(ferry_uid(ferry)), "start over with a fresh copy"
    if ends:
        then = "run this again"
    elif replica:
        by_hand = resumed_by_hand(ferry_uid(ferry))
        then = (
            "name the server that applications write to now in spec.source.primary, or remove that if it is the source "
            "itself, and start the Ferry again: it continues if that server has all that the source has"
        )
    return f"If that server is gone for good, {CHECK_FIRST}, run on target {_target(ferry)}: {by_hand}; then {then}"


def said(released: Released, lock: SourceLock, lease: Lease) -> str:
    """What became of the writes."""
    if released is Released.ALLOWED:
        return f"writes on the source are allowed again{lock.caution}"
    if released is Released.OTHERS:
        return "read_only on the source stays as it is: another Ferry is cutting over from there, or has"
    if released is Released.UNCLEAR:
        return (
            "the source is read-only, and it is not certain that an attempt of this Ferry set that: the source was "
            f"restarted, or somebody else may have set it since. If nobody needs it to be read-only, {CHECK_FIRST} "
            f"allow writes on {lock.by_hand(lease.cutover)}"
        )
    return ""


def _without_writing(ferry: FerryManifest, connections: Connections, lock: SourceLock, error: FerryError) -> Released:
    try:
        released = undo_without_writing(connections.patient_lease, ferry_uid(ferry), lock)
    except (AmbiguousError, Fenced):
        raise
    except FerryError as again:
        raise _explained(again, locked_by_hand(ferry, connections)) from again
    log.warning(
        "the target cannot be written to (%s); the source was checked and, if needed, unlocked without it",
        error.message,
    )
    return released


def locked_by_hand(ferry: FerryManifest, connections: Connections) -> str | None:
    """Where and how a person allows writes, if the source is read-only and this Ferry may have caused that."""
    if not _may_be_ours(ferry):
        return None
    with contextlib.suppress(FerryError):
        return read_only_by_hand(ferry, connections)
    return None


def perhaps_forgotten(ferry: FerryManifest, connections: Connections, lease: Lease, *, must_know: bool = False) -> str:
    """What a read-only source means when the lease records no attempt; empty if the source is not read-only.

    A checkpoint on the target is lost together with the lease: then nothing else records a cutover. Also empty if the
    source cannot be asked, unless ``must_know``, which raises then.
    """
    if not lease.tables or lease.phase in (COMPLETED, Stage.CUTTING_OVER.value):
        return ""
    if not _may_be_ours(ferry):
        return ""
    unanswered = () if must_know else (FerryError,)
    with contextlib.suppress(*unanswered), connections.written_control(PATIENT_SECONDS) as source:
        lock = read_only_lock(connections, source.flavor, ferry_uid(ferry))
        if lock.is_read_only():
            return (
                f"{found_read_only(source)}. {perhaps_cut_over(_target(ferry), ferry_uid(ferry))}, and nobody needs "
                f"it to be read-only, allow writes on {lock.by_hand({})}"
            )
    return ""


def unknown_lock(ferry: FerryManifest, connections: Connections) -> str:
    """If the target does not know this Ferry: the source may still be locked by it."""
    by_hand = locked_by_hand(ferry, connections)
    if by_hand is None:
        return ""
    return (
        "The source is read-only: if this Ferry set that, the target is not the one it began with, or has lost its "
        f"record. If nobody needs it to be read-only, {CHECK_FIRST} allow writes on {by_hand}"
    )


def read_only_by_hand(ferry: FerryManifest, connections: Connections) -> str | None:
    """Where and how a person allows writes, if the source is read-only. Raises if it cannot be asked."""
    with connections.written_control(PATIENT_SECONDS) as source:
        lock = read_only_lock(connections, source.flavor, ferry_uid(ferry))
        return lock.by_hand({}) if lock.is_read_only() else None


def _explained(error: FerryError, by_hand: str | None) -> FerryError:
    """The same error, with a note that the source is read-only, if it is."""
    if by_hand is None:
        return error
    error.add(
        ". The source is read-only: if a cutover attempt of this Ferry set that, writes stay blocked until the target "
        "answers whether the attempt succeeded; if not, the next start or `ferry abort` allows them. "
        f"To allow them by hand, {CHECK_FIRST}, on {by_hand}"
    )
    return error
