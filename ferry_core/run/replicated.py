"""Refuses to resume if the source applied other servers' changes since the last start and did not log them.

Replication may be set up after preflight and removed before the cutover, or while the run is stopped. No event shows
what it applied. On MariaDB gtid_slave_pos shows it, so the checkpoint keeps that. Called by ``startup`` at each start;
``cutover.other_writers`` compares it again under the lock.
"""

import logging

from ferry_core.binlog.last_read import LastRead
from ferry_core.binlog.unlogged import perhaps_unlogged
from ferry_core.checkpoint.state import RunState
from ferry_core.errors import DataError
from ferry_core.mysql.replication import Replicated, replicated, unlogged_since
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
    said = unlogged_since(state.replicated, now) or _unlogged_between(state, now, source)
    if said:
        raise DataError(Reason.REPLICA_CHANGES_NOT_LOGGED, f"{source.endpoint.where}: {said}")
    state.replicated = now


def _unlogged_between(state: RunState, now: Replicated | None, source: Session) -> str:
    """A message if log_slave_updates, which is ON again, may have been OFF while the run was stopped."""
    known = state.replicated
    if known is None or now is None or known.position == now.position or state.last_read is None:
        return ""
    missing = perhaps_unlogged(source, LastRead.parse(state.last_read), known.position, now.position)
    if not missing:
        return ""
    return (
        f"gtid_slave_pos was '{known.position}' at the last check and is '{now.position}' now, the source was started "
        f"more than once in between, and its binlog does not contain everything that it applied ({missing}): "
        "log_slave_updates may have been OFF, or replication filters left something out. Rows may differ without any "
        "event about them: start over with a fresh copy"
    )
