"""Refuses to resume if the source applied other servers' changes since the last start and did not log them.

Replication may be set up after preflight and removed before the cutover, or while the run is stopped. No event shows
what it applied. On MariaDB gtid_slave_pos shows it, so the checkpoint keeps that. Called by ``startup`` at each start;
``cutover.other_writers`` compares it again under the lock.
"""

import logging

from ferry_core.checkpoint.state import RunState
from ferry_core.errors import DataError
from ferry_core.mysql.replication import replicated, unlogged_since
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)


def refuse_replicated(state: RunState, source: Session, *, begun: bool) -> None:
    """Raise DataError, or store the present value in ``state``. ``begun``: an earlier run has copied rows.

    Call it before the first row is read: the copy includes what was applied until then.
    """
    now = replicated(source)
    if begun and state.replicated is None and now is not None and not now.logged:
        log.warning(
            "the checkpoint was written by an older version and does not record what the source had replicated: "
            "unlogged changes of another server that the source applied before now would not be noticed"
        )
    if said := unlogged_since(state.replicated, now):
        raise DataError(Reason.REPLICA_CHANGES_NOT_LOGGED, f"{source.endpoint.where}: {said}")
    state.replicated = now
