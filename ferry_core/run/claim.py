"""The claim: a run becomes the one that may write, and the lease says which tables are its own. Called by ``startup``.

Once a Ferry may have written to a table, nobody can tell whose the rows are that no state has a record of: a later run
deletes them. So the claim looks into the tables. After the fence was taken no transaction of an earlier run commits any
more: a table without a row is recorded as unwritten, until right before the first row can be written. What is found in
an unwritten table, by this run or by a later one, was written by others: it is refused, and never deleted. The lease's
phase is Claimed while all tables are unwritten.

Two Ferries that start at once may both have passed preflight with the same tables. So claims on one target are made one
after another, and each reads the other Ferries' leases again. A cleanup that drops tables waits for its turn too.
"""

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

from ferry_core.api.report import Phase, Stage
from ferry_core.checkpoint.marks import forget_marks
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.target import TargetStore
from ferry_core.consistency.epochs import Epochs
from ferry_core.consistency.fence import COMPLETED, Fence, Lease
from ferry_core.consistency.holder import record_holder
from ferry_core.consistency.own_tables import CLAIMED
from ferry_core.consistency.table_start import empty_tables
from ferry_core.errors import ConfigError, Fenced, LockConflict, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.listings import holds_rows
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.lease import read_leases
from ferry_core.preflight.target import claims_in_the_way, not_empty
from ferry_core.reasons import Reason
from ferry_core.run.setup import RunContext
from ferry_core.tables.table import TableName
from ferry_core.text import counted

log = logging.getLogger(__name__)

_CLAIMING = AdvisoryLock("ferry-claim")
CLAIMING_SECONDS = 60
EMPTIED_AT_ONCE = 50
"""Number of tables after which the lease records that they are emptied."""
OPEN_SECONDS = 5
"""How long to wait for a transaction that writes to a table which looks empty: it may be rolled back."""


def take_fence(context: RunContext, first: RunState, ours: Epochs | None = None) -> Fence:
    """Become the only run that may write.

    If there is no state yet, ``first`` is stored before any table is claimed: so a claim without a state always belongs
    to a run whose state was lost. ``ours`` as in ``unlock_first``.
    """
    fence, before = Fence.take(
        context.connections.lease, context.uid, context.name, context.source_id, ours, context.epoch
    )
    if before.phase == COMPLETED:
        raise Fenced(
            Reason.ALREADY_CUT_OVER, f"another run of {context.name} has already cut over; there is nothing to do"
        )
    if before.phase == Phase.ABORTED.value:
        raise Fenced(Reason.ABORTED, f"{context.name} was aborted by another command: this run ends")
    if isinstance(context.store, TargetStore):
        context.store.fence = fence
    if context.state is None:
        first.epoch = fence.epoch
        context.store.save(first, fence.epoch)
    claimed = {*before.tables, *(str(table.target) for table in context.tables)}
    with context.connections.lease() as waiting, claims_kept_out(waiting), fence.exclusively() as (session, _):
        _refuse_claimed(context, session)
        unwritten = _unwritten(context, before, session)
        phase = _phase(before, all_unwritten=claimed <= unwritten)
        fence.update(session, phase=phase, tables=claimed, unwritten=unwritten, source_id=context.source_id)
        if not context.begun and isinstance(context.store, SqliteStore):
            forget_marks(session, context.uid)
        record_holder(session, context.uid, fence.epoch, context.store.describe())
    return fence


def claim_again(context: RunContext, fence: Fence) -> None:
    """While the run goes on: also claim the tables that have joined, and look into those to be copied again."""
    with context.connections.lease() as waiting, claims_kept_out(waiting), fence.exclusively() as (session, lease):
        _refuse_claimed(context, session)
        claimed = {*lease.tables, *(str(table.target) for table in context.tables)}
        fence.update(session, tables=claimed, unwritten=_unwritten(context, lease, session))


@contextmanager
def claims_kept_out(session: Session) -> Iterator[None]:
    """Meanwhile no other session claims tables on this server, or drops those of a Ferry or the helper tables.

    Enter it before a transaction that writes to the lease table: whoever waits here must not hold locks there.
    """
    if not _CLAIMING.take(session, CLAIMING_SECONDS):
        raise RetriableError(
            Reason.LOCK_CONFLICT,
            f"{session.endpoint.where}: another Ferry has been claiming or dropping its tables for "
            f"{CLAIMING_SECONDS} s",
        )
    yield
    _CLAIMING.release(session)


def _refuse_claimed(context: RunContext, session: Session) -> None:
    """Raise ConfigError for tables that another Ferry has claimed since preflight."""
    leases, facts = read_leases(session), ServerFacts(session)
    for finding in claims_in_the_way(leases, context.tables, context.uid, facts):
        raise ConfigError(finding.reason, finding.message)


def refuse_rows(target: Session, tables: Collection[TableName]) -> None:
    """Raise TargetNotEmpty for tables that hold rows, none of which are ours.

    Rows of a transaction that is still open are not visible, but they are locked.
    """
    if holding := [table for table in tables if holds_rows(target, table)]:
        raise ConfigError(Reason.TARGET_NOT_EMPTY, not_empty(target, holding))
    target.execute(f"SET SESSION innodb_lock_wait_timeout = {OPEN_SECONDS}")
    for table in tables:
        try:
            found = holds_rows(target, table, " LOCK IN SHARE MODE")
        except LockConflict as error:
            raise ConfigError(
                Reason.TARGET_NOT_EMPTY,
                f"{target.endpoint.where}: an open transaction, which is not this Ferry's, writes to {table} "
                f"({error.message}); end it and empty the table, or choose another target table",
            ) from error
        if found:
            raise ConfigError(Reason.TARGET_NOT_EMPTY, not_empty(target, [table]))


def writes_begin(fence: Fence, tables: Collection[TableName]) -> None:
    """From now on rows of this Ferry may be in these tables. Raises TargetNotEmpty for rows of others there."""
    with fence.exclusively() as (session, lease):
        if begin := {str(table): table for table in tables if str(table) in lease.unwritten}:
            refuse_rows(session, begin.values())
            phase = Stage.COPYING.value if lease.phase == CLAIMED else None
            fence.update(session, phase=phase, tables=lease.tables, unwritten=lease.unwritten - begin.keys())


def empty_unrecorded(
    fence: Fence, session: Session, moves: Sequence[TableMove], wait_while_paused: Callable[[], object]
) -> None:
    """Delete what a forgotten run left in tables without a record of their start.

    Raises TargetNotEmpty for rows where no run can have left any.
    """
    unwritten = fence.read().unwritten
    refuse_rows(session, [move.table.target for move in moves if str(move.table.target) in unwritten])
    perhaps_ours = [move for move in moves if str(move.table.target) not in unwritten]
    for at in range(0, len(perhaps_ours), EMPTIED_AT_ONCE):
        some = perhaps_ours[at : at + EMPTIED_AT_ONCE]
        deleted = empty_tables(fence, session, some, wait_while_paused)
        note_emptied(fence, [move.table.target for move in some])
        gone, of = counted(deleted, "row"), counted(len(some), "table")
        log.info("deleted %s of an earlier, forgotten run from %s", gone, of)


def note_emptied(fence: Fence, tables: Collection[TableName]) -> None:
    """This Ferry has deleted its rows from these tables, so rows in them now were written by others."""
    with fence.exclusively() as (session, lease):
        fence.update(session, tables=lease.tables, unwritten=lease.unwritten.union(map(str, tables)))


def _unwritten(context: RunContext, before: Lease, session: Session) -> frozenset[str]:
    """The names of tables in which certainly no row of ours is. Raises TargetNotEmpty for rows of others there.

    Tables that the lease names and this run has not selected are not looked into: the account may not see them.
    """
    kept = context.kept(before)
    ours = {str(table.target) for table in context.tables if table.id in kept}
    others = {str(table.target): table.target for table in context.tables if table.id not in kept}
    perhaps_ours = set(before.tables) - before.unwritten
    refuse_rows(session, [table for name, table in others.items() if name not in perhaps_ours])
    empty = {name for name in others.keys() & perhaps_ours if not holds_rows(session, others[name])}
    return frozenset((before.unwritten - ours) | (others.keys() - perhaps_ours) | empty)


def _phase(before: Lease, *, all_unwritten: bool) -> str | None:
    """None: it stays. The phase of a cutover attempt that must be undone is kept."""
    if all_unwritten:
        return CLAIMED if before.phase != Stage.CUTTING_OVER.value else None
    return Stage.COPYING.value if before.phase == CLAIMED else None
