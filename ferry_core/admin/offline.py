"""Acts on a Ferry's databases without a running copier: ``ferry abort -f`` and ``ferry cleanup -f``. Called by the CLI.

Both take the next epoch first, so a copier that still runs somewhere is fenced off and stops. Both undo the source lock
of a run that died while cutting over, with the values stored in the lease row.
"""

import math
from pathlib import Path

from ferry_core.admin.drop_target import drop_target
from ferry_core.api.choices import DeletionPolicy
from ferry_core.api.report import Outcome, Phase, Stage
from ferry_core.api.spec import ferry_uid
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state_lock import StateLock
from ferry_core.consistency.commit_probe import probe_id
from ferry_core.consistency.fence import COMPLETED, PERHAPS_LIVE, Fence, Lease
from ferry_core.consistency.own_tables import CHECKPOINT, HOLDER, LEASE, aborted_by_hand, removed_by_hand
from ferry_core.cutover.durable import drop_left_behind
from ferry_core.cutover.source_lock import Released
from ferry_core.errors import AmbiguousError, ConfigError, DataError, FerryError, RetriableError
from ferry_core.manifest import LoadedFerry
from ferry_core.mysql.faults import table_is_gone
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.preflight.lease import read_leases
from ferry_core.preflight.trial_schema import drop_leftovers
from ferry_core.reasons import Reason
from ferry_core.run.claim import claims_kept_out
from ferry_core.run.left_locked import (
    lease_or_explain,
    perhaps_forgotten,
    refuse_forgotten,
    refuse_other_target,
    unknown_lock,
    unlock_left,
)
from ferry_core.run.options import RunOptions
from ferry_core.workers.connections import Connections


def abort(loaded: LoadedFerry, options: RunOptions) -> Outcome:
    """Fence off any running copier, allow writes on the source again, keep the target.

    If the target may be live without a record of that, the lease row says so: a later cleanup must not drop tables.
    """
    connections = _connections(loaded)
    lease = _lease(loaded, connections)
    where = loaded.target.address
    refuse_forgotten(loaded.ferry, connections, lease, options.state_path)
    if lease is None:
        refuse_other_target(loaded.ferry, options.state_path)
        nothing = f"nothing to abort: target {where} has no record of this Ferry"
        nothing += _namesakes(loaded, connections)
        return Outcome(message=nothing, needs_person=unknown_lock(loaded.ferry, connections))
    _refuse_cut_over(lease, where)
    fence, before, unlocked = _take(loaded, connections, options.state_path)
    _refuse_cut_over(before, where)  # a run that continued until then may just have done so
    locked = unasked = ""
    if not unlocked:
        try:
            locked = perhaps_forgotten(loaded.ferry, connections, before, must_know=True)
        except FerryError as error:
            unasked = f"; the source was not asked whether it is read-only ({error.message})"
    fence.record(phase=Phase.ABORTED.value, cutover=PERHAPS_LIVE if locked or unasked else {})
    done = f"aborted: target {where} is kept as it is{unlocked}{unasked}{_state(options.state_path)}"
    return Outcome(message=done, needs_person=locked)


def cleanup(loaded: LoadedFerry, options: RunOptions) -> Outcome:
    """Like ``abort``, and remove the Ferry's records from the target, except the tombstone of a cutover.

    With ``deletionPolicy: DropTarget`` first drop the tables that it filled, unless they are live. If the target may be
    live without a record of that, the lease row is kept, so that a person can make it the tombstone.
    """
    connections = _connections(loaded)
    lease = _lease(loaded, connections)
    refuse_forgotten(loaded.ferry, connections, lease, options.state_path)
    if lease is None:
        refuse_other_target(loaded.ferry, options.state_path)
        with connections.target_control() as session:
            drop_leftovers(session, ferry_uid(loaded.ferry))
        nothing = f"nothing to clean up: target {loaded.target.address} has no record of this Ferry"
        nothing += _namesakes(loaded, connections) + _remove_state(options.state_path, ferry_uid(loaded.ferry))
        return Outcome(message=nothing, needs_person=unknown_lock(loaded.ferry, connections))
    fence, before, unlocked = _take(loaded, connections, options.state_path)
    drops = loaded.ferry.spec.deletion_policy is DeletionPolicy.DROP_TARGET
    locked = _perhaps_live(loaded, connections, before, drops=drops) if not unlocked else ""
    dropped = ""
    if drops:
        if locked:
            dropped = "; its tables are kept because they may be live"
        else:
            dropped = drop_target(loaded.ferry, options.state_path, connections, fence, before)
    # Before the lease: a state with rows of which the target has no record belongs to another target.
    removed = _remove_state(options.state_path, ferry_uid(loaded.ferry))
    own = f"WHERE ferry_uid = {string(ferry_uid(loaded.ferry))}"
    with fence.exclusively() as (session, lease):
        session.execute(f"DELETE FROM {CHECKPOINT} {own}")
        session.execute(f"DELETE FROM {HOLDER} {own} OR ferry_uid = {string(probe_id(ferry_uid(loaded.ferry)))}")
        if lease.phase != COMPLETED and not locked:
            # A missing lease row counts as fenced too, so removing it loses nothing.
            session.execute(removed_by_hand(ferry_uid(loaded.ferry)))
    with connections.target() as session:
        with claims_kept_out(session):
            _drop_if_unused(session)
        drop_left_behind(session, ferry_uid(loaded.ferry))
        drop_leftovers(session, ferry_uid(loaded.ferry))
    kept = " except the record of its cutover" if before.phase == COMPLETED else ""
    if locked:
        kept = f" but for its row in {LEASE}"
        locked += (
            ", and run ferry cleanup again, which removes that row; if the source is to stay read-only, run on the "
            f"target: {removed_by_hand(ferry_uid(loaded.ferry))}"
        )
    done = f"cleaned up: target {loaded.target.address} holds nothing of this Ferry any more{kept}{dropped}"
    return Outcome(message=f"{done}{unlocked}{removed}", needs_person=locked)


def _refuse_cut_over(lease: Lease, where: str) -> None:
    if lease.phase == COMPLETED:
        raise ConfigError(
            Reason.ALREADY_CUT_OVER,
            f"this Ferry was already cut over to target {where}: there is nothing to abort",
        )


def _connections(loaded: LoadedFerry) -> Connections:
    """Another server at an address never becomes an error here, however long it answers: the command can be run
    again.
    """
    return Connections(
        lambda: loaded.source, lambda: loaded.target, math.inf, token=loaded.token, primary=loaded.primary
    )


def _lease(loaded: LoadedFerry, connections: Connections) -> Lease | None:
    return lease_or_explain(loaded.ferry, connections)


def _namesakes(loaded: LoadedFerry, connections: Connections) -> str:
    """A Ferry from a cluster is known to the target by a uid that its manifest may lack."""
    own, name = ferry_uid(loaded.ferry), _name(loaded)
    with connections.target_control() as session:
        others = [lease for lease in read_leases(session) if lease.name == name and lease.ferry_uid != own]
    if not others:
        return ""
    listed = ", ".join(f"{lease.ferry_uid} ({lease.phase})" for lease in others)
    return (
        f"; but it knows other Ferries named {name}, with these uids: {listed}. If you mean one of them, and its Ferry "
        f"no longer exists in any cluster, add its uid to the manifest, for example metadata.uid: {others[0].ferry_uid}"
    )


def _name(loaded: LoadedFerry) -> str:
    return f"{loaded.ferry.metadata.namespace}/{loaded.ferry.metadata.name}"


def _take(loaded: LoadedFerry, connections: Connections, state_path: Path | None) -> tuple[Fence, Lease, str]:
    """Take the fence; returns it with the lease as it was before, and what became of the writes on the source."""
    uid = ferry_uid(loaded.ferry)
    unlocked = ""
    lease = _lease(loaded, connections)
    if lease is not None and lease.phase == Stage.CUTTING_OVER.value:
        # The source is needed only from here on: a Ferry that is still copying can be aborted while the source is
        # unreachable.
        unlocked = _unlock(loaded, connections, lease, state_path)
    try:
        fence, before = Fence.take(connections.lease, uid, _name(loaded), "")
    except FerryError as error:
        if unlocked:
            error.add(f"; {unlocked}")
        raise
    if before.phase == Stage.CUTTING_OVER.value and not unlocked:
        unlocked = _unlock(loaded, connections, before, state_path)
    return fence, before, f"; {unlocked}" if unlocked else ""


def _unlock(loaded: LoadedFerry, connections: Connections, lease: Lease, state_path: Path | None) -> str:
    """Unlock the source; returns what became of the writes. Refuses if that is uncertain: the lease holds the values to
    restore.
    """
    try:
        left = unlock_left(loaded.ferry, connections, lease, state_path, ends=True)
    except AmbiguousError as error:
        if error.reason != Reason.SOURCE_LOCKED:
            raise
        raise RetriableError(Reason.SOURCE_LOCKED, error.message) from error  # running the command again does the rest
    if left.released is Released.UNCLEAR:
        raise ConfigError(
            Reason.SOURCE_LOCKED,
            f"{left.text}. Nothing else was done: run this again after that. If the source is to stay as it is, is "
            f"gone for good, or has another name now, first run on target {loaded.target.address}: "
            f"{aborted_by_hand(ferry_uid(loaded.ferry))}",
        )
    return left.text


def _perhaps_live(loaded: LoadedFerry, connections: Connections, lease: Lease, *, drops: bool) -> str:
    """What a read-only source means. No table is dropped while the source cannot be asked.

    A Ferry that was aborted was not cut over afterwards: unless the abort recorded a doubt, the source need not be
    asked.
    """
    try:
        must_know = drops and (lease.phase != Phase.ABORTED.value or lease.perhaps_live)
        return perhaps_forgotten(loaded.ferry, connections, lease, must_know=must_know)
    except FerryError as error:
        error.add(
            ". Nothing was dropped or removed: with deletionPolicy: DropTarget the source is asked first whether it "
            "is read-only, since the target may have lost the record of a cutover. Run this again once the source "
            "answers, or with deletionPolicy: Retain, which keeps the tables"
        )
        raise


def _drop_if_unused(session: Session) -> None:
    """Drop the helper tables with the last row; the lock keeps another Ferry from adding a row in between."""
    try:
        session.execute(f"LOCK TABLES {LEASE} WRITE, {CHECKPOINT} WRITE, {HOLDER} WRITE")
    except DataError as error:
        if not table_is_gone(error):
            raise
        return  # the cleanup of the last other Ferry dropped them
    if session.number(f"SELECT COUNT(*) FROM {LEASE}") == 0:
        session.execute(f"DROP TABLE {CHECKPOINT}, {HOLDER}, {LEASE}")
    session.execute("UNLOCK TABLES")


def _state(path: Path | None) -> str:
    return f"; {path} is no longer needed" if path is not None and path.exists() else ""


def _remove_state(path: Path | None, uid: str) -> str:
    """Remove the state file only if it certainly belongs to this Ferry."""
    if path is None or not path.exists():
        return ""
    try:
        store = SqliteStore(path)
        try:
            state = store.load()
        finally:
            store.close()
        if state is None or state.ferry_uid != uid:
            return f"; {path} stays: it is not the state of this Ferry"
        path.unlink()
        lock = StateLock(path)  # a run that was killed leaves its file behind
        lock.acquire()
        lock.release()
    except (FerryError, OSError) as error:
        return f"; {path} stays: {error}"
    return f"; {path} is removed"
