"""Undoes a start whose tables were altered before the first row was copied. Called by ``startup``.

Nothing is lost: the run validates again with the current definitions, instead of failing with SchemaChanged. The state
names the tables that the run will create before it creates them. So a run that is killed while it creates or drops them
recognises them later, and creates again those that differ from the source's by then.
"""

import logging
from collections.abc import Collection, Sequence

from ferry_core.checkpoint.marks import forget_marks
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.errors import RetriableError
from ferry_core.mysql.session import Session
from ferry_core.preflight import PreflightContext
from ferry_core.preflight.target import is_recreated, unlike_tables
from ferry_core.run.setup import RunContext
from ferry_core.schema.drop import drop_if_empty
from ferry_core.schema.foreign_keys import with_other_keys
from ferry_core.tables.table import Table
from ferry_core.text import counted

log = logging.getLogger(__name__)


def undo_start(context: RunContext, fence: Fence, state: RunState, created: Sequence[Table]) -> None:
    """Save ``state``, which has no rows, and drop the tables that this start has created.

    In this order, because the next run does not empty a table whose start is recorded. All threads have ended; keys
    that they already wrote to the target are in our tables without a record, which are emptied. If the lease says that
    a table is unwritten and it contains rows, it is kept, since somebody else has loaded them.
    """
    state.epoch = fence.epoch
    if isinstance(context.store, SqliteStore):
        with fence.exclusively() as (session, _):
            forget_marks(session, context.uid)
    context.store.save(state, fence.epoch)
    try:
        with context.connections.target() as target:
            unwritten = fence.read().unwritten
            dropped = _drop(target, fence, created, {table for table in created if str(table.target) in unwritten})
    except RetriableError as error:
        log.warning("not all tables that this run has created could be dropped, the next start does that: %s", error)
    else:
        log.info("nothing is copied yet: dropped %s that this run has created", counted(dropped, "table"))


def drop_outdated(context: RunContext, fence: Fence, source: Session, target: Session) -> None:
    """Drop tables that an earlier start created without copying a row, if the source's table differs now."""
    created = [table for table in context.tables if table.id in context.recreatable]
    if not created:
        return
    spec, known = context.ferry.spec, context.recreatable
    checked = PreflightContext(spec, context.uid, source, target, created, context.started, recreatable=known)
    there = [table for table in created if table.target in checked.existing_targets]
    unlike = {table for table, _ in unlike_tables(checked)}.union(
        with_other_keys(source, target, context.tables, there)
    )
    outdated = [table for table in there if table in unlike and is_recreated(checked, table)]
    if outdated:
        dropped = _drop(target, fence, outdated, set(outdated))
        log.info("dropped %s of an earlier start, altered on the source since", counted(dropped, "table"))


def _drop(target: Session, fence: Fence, tables: Sequence[Table], unwritten: Collection[Table]) -> int:
    """Drop tables, those that are ``unwritten`` only if they are empty. Returns how many were dropped."""
    dropped = 0
    with fence.hold(target):
        for table in tables:
            if table in unwritten:
                dropped += drop_if_empty(target, table.target)
            else:
                target.execute(f"DROP TABLE IF EXISTS {table.target.sql}")
                dropped += 1
    return dropped
