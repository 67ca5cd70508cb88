"""What ``schema.onNewTable`` does with tables that appeared on the source. Used by ``setup`` and ``new_tables``.

A table that joins is in the state without a record of a start, like one to be copied again (``copy_again``).
"""

import logging
from collections.abc import Collection, Iterable, Sequence

from ferry_core.api.choices import OnNewTable
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.checkpoint.state import RunState
from ferry_core.errors import DataError
from ferry_core.reasons import Reason
from ferry_core.tables.shadow import is_shadow
from ferry_core.tables.table import TableName
from ferry_core.text import shortlist

log = logging.getLogger(__name__)

NAMED = 5


def wanted(found: Iterable[TableName], known: Collection[str]) -> list[TableName]:
    """Of new tables those that are not left behind by an online schema change, of a selected one (``known``: ids) or of
    one that is new itself.
    """
    news = list(found)
    selected = {*known, *map(str, news)}
    return [name for name in news if not is_shadow(name, selected)]


def refuse_new(ferry: FerryManifest, found: Iterable[TableName], known: Collection[str]) -> None:
    """Raise NewTable, after which a run begins again with the new tables if they are to be copied."""
    news, policy = wanted(found, known), ferry.spec.schema_.on_new_table
    if not news or policy is OnNewTable.IGNORE:
        return
    names = shortlist([str(name) for name in news], NAMED)
    if policy is OnNewTable.COPY:
        error = DataError(Reason.NEW_TABLE, f"created on the source since the start, and copied too: {names}")
        error.appeared = frozenset(map(str, news))
        raise error
    raise DataError(
        Reason.NEW_TABLE,
        f"tables that spec.tables selects were created on the source since the start: {names}. Set schema.onNewTable "
        "to Copy or Ignore, or drop or rename them there; then start again: the run resumes from its checkpoint",
    )


def join(state: RunState, found: Iterable[TableName]) -> None:
    """From the next checkpoint on these new tables are part of the run."""
    if news := wanted(found, state.tables):
        log.warning("new tables since the start are copied too: %s", shortlist([str(name) for name in news], NAMED))
        state.joins(map(str, news))


def leave_out(state: RunState) -> None:
    """Tables that joined and have not begun, or are to be copied again, are new once more, and no longer copied."""
    left = [name for name, table in state.tables.items() if table.joins and not table.started]
    if left:
        names = shortlist(left, NAMED)
        log.warning("no longer copied (schema.onNewTable): %s; drop what was created of them on the target", names)
    state.leaves(left)


def without_joining(state: RunState, gone: Sequence[str]) -> list[str]:
    """The tables of ``gone`` that the run has begun to move; it forgets those that were dropped before it did."""
    dropped = [table for table in gone if state.tables[table].joins and not state.tables[table].started]
    state.leaves(dropped)
    return [table for table in gone if table not in dropped]
