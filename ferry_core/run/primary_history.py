"""Notices that the primary of a source that is a replica was restored, or has lost its newest transactions.

Its replica then has transactions that it has no more, and it gives their GTIDs to others. Once it has given more than
were lost, the GTIDs of the two look as if nothing had happened, but the replica has never applied those others. So the
checkpoint keeps how far the primary's binlog was written. A server that is started writes to a new file, so the file
that it wrote to before must be there and no shorter, unless it was purged. Another server than before gives other
GTIDs, so those prove enough (``mysql.upstream``).

Asked at each start of a run (``startup``) and once a second (``replica_watch``); saved by ``checkpoints``.
"""

import logging

from ferry_core.binlog.ending import committed_place, place_of_end
from ferry_core.checkpoint.state import PrimaryState, RunState
from ferry_core.errors import DataError, ServerRole
from ferry_core.mysql.file_position import numbered
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.identity import perhaps_renamed
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)


def meet_primary(state: RunState, connections: Connections) -> None:
    """Raise DataError if the primary lacks what it had. Otherwise ``state`` knows it from now on."""
    if not connections.has_primary:
        state.primary = None
        return
    with connections.written_control() as primary:
        if said := lost_history(connections.primary_seen or state.primary, primary):
            raise DataError(Reason.SOURCE_HISTORY_LOST, said, server=ServerRole.PRIMARY)
        connections.primary_seen = state.primary = seen(primary)


def seen(primary: Session) -> PrimaryState:
    """The server, and the place that its binlog has reached."""
    mariadb = primary.flavor is Flavor.MARIADB
    file, offset = committed_place(primary) if mariadb else place_of_end(primary)
    return PrimaryState(server=primary.identity.stored, start=primary.identity.start, file=file, offset=offset)


def lost_history(before: PrimaryState | None, primary: Session) -> str:
    """What the server lacks of its binlog since it was seen; empty: nothing, or it is another server."""
    now = primary.identity
    if before is None or before.start == now.start:
        return ""
    if not (now.is_stored_as(before.server) or perhaps_renamed(before.server, now.name)):
        log.info("the source's primary is another server now: %s, before it was %s", now.name, before.server)
        return ""
    files = {(row[0] or b"").decode(): int(row[1] or 0) for row in primary.query("SHOW BINARY LOGS")}
    length, newest = files.get(before.file), max(files, key=numbered)
    if length is not None and length >= before.offset:
        return ""
    if length is None and numbered(newest)[0] == numbered(before.file)[0] and numbered(newest) > numbered(before.file):
        log.warning("%s: %s was purged, so it is not proven to be complete", primary.endpoint.where, before.file)
        return ""
    found = f"ends at {length}" if length is not None else f"is gone, and its newest is {newest}"
    return (
        f"{primary.endpoint.where} was started again without all that it had written: its binlog {before.file} had "
        f"reached {before.offset}, and now it {found}. It was restored from a backup, was reset, or has lost its "
        "newest transactions in a crash, and its replica may have other rows: make the replica anew, and start over "
        "with a fresh copy"
    )
