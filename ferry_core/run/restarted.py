"""Notices at each start that the source was restarted since rows were copied, also by another process.

A crash may take rows that the source's binlog contains, so that the target has the only copy of them. The checkpoint
keeps when the source was started. Once it was started again, rows of the target that the source no longer has stay,
in each table until they were reported or none was found (``workers.repairs``). Called by ``startup``.
"""

import logging

from ferry_core.checkpoint.state import RunState
from ferry_core.mysql.session import Session

log = logging.getLogger(__name__)


def meet_source(state: RunState, source: Session, *, verifies: bool) -> None:
    """Store when the source was started, and whether that was after rows were copied."""
    state.meets_source(source.identity.start)
    if not any(table.restarted for table in state.tables.values()):
        return
    log.warning(
        "%s was restarted since this Ferry has copied rows, and may have lost some of them in a crash: %s",
        source.endpoint.where,
        "rows that only the target has are reported, and stay there"
        if verifies
        else "with verify.mode None nothing finds rows that only the target has",
    )
