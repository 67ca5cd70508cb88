"""Undoes a start whose tables were altered before the first row was copied. Called by ``startup``.

Nothing is lost by it: the run validates again, with the definitions of now, instead of ending by SchemaChanged.
"""

import logging
from collections.abc import Sequence

from ferry_core.checkpoint.marks import forget_marks
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.run.setup import RunContext
from ferry_core.tables.table import Table

log = logging.getLogger(__name__)


def undo_start(context: RunContext, fence: Fence, state: RunState, created: Sequence[Table]) -> None:
    """Store ``state``, which tells of no table, and drop the tables that this start has created.

    In this order: a table whose start is recorded is not emptied by the next run. All threads have ended by now; keys
    of theirs that are on the target already lie in tables of ours without a record, which are emptied.
    """
    state.epoch = fence.epoch
    if isinstance(context.store, SqliteStore):
        with fence.exclusively() as (session, _):
            forget_marks(session, context.uid)
    context.store.save(state, fence.epoch)
    with context.connections.target() as target, fence.hold(target):
        for table in created:
            target.execute(f"DROP TABLE IF EXISTS {table.target.sql}")
    log.info("nothing is copied yet: dropped the %d tables that this run has created", len(created))
