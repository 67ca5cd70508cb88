"""Writers that bypass the lock on the source: XA transactions and replication. Checked twice under the lock.

MySQL's super_read_only allows XA COMMIT, and on both families replication (all channels, including Group Replication)
and Galera write in spite of it. Preflight checks for replication as well, but that may be days ago. Reads only. Called
by ``attempt``.
"""

from collections.abc import Callable

from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.cutover.source_lock import SourceLock
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import Position, parse_position
from ferry_core.mysql.replication import (
    Replicated,
    replicated,
    running_replication,
    unlogged_replication,
    unlogged_since,
)
from ferry_core.mysql.session import Session
from ferry_core.mysql.xa import prepared_xids
from ferry_core.reasons import Reason

OTHER_WRITERS_SECONDS = 2.0
"""How long writes stay blocked so that XA transactions can end; those of applications end within milliseconds."""


def refuse_replication(control: Session) -> None:
    """AttemptFailed while replication is running."""
    running = running_replication(control)
    if running:
        where = control.endpoint.where
        raise AttemptFailed(
            Reason.SOURCE_IS_REPLICA,
            f"replication runs on {where} and writes to it in spite of the lock: "
            f"{'; '.join(running)}; STOP REPLICA (MariaDB: STOP ALL SLAVES) there before the next attempt, and make "
            "sure that nothing starts it again",
        )


def refuse_unlogged(control: Session, known: Replicated | None) -> None:
    """AttemptFailed if replication is set up, even if stopped, whose changes the source does not log.

    Also if it was set up and removed again since ``known``, which was read when the run started.
    """
    unlogged = unlogged_replication(control)
    if unlogged:
        raise AttemptFailed(
            Reason.REPLICA_CHANGES_NOT_LOGGED,
            f"replication was set up on the source ({'; '.join(unlogged)}), and the source does not log what it "
            "applies (log_replica_updates, on MariaDB log_slave_updates, is OFF): rows may differ without any event "
            "about them. If it applied anything since this run began, start over with a fresh copy; else RESET REPLICA "
            "ALL (MariaDB: RESET SLAVE ALL) there before the next attempt",
        )
    if said := unlogged_since(known, replicated(control)):
        raise AttemptFailed(Reason.REPLICA_CHANGES_NOT_LOGGED, said)


def refuse_unstreamed(control: Session, streamed: Position) -> None:
    """AttemptFailed if the source counts transactions as executed that are in none of its binlogs and were not
    streamed. Nothing shows this without GTIDs.
    """
    if control.flavor is Flavor.MARIADB or isinstance(streamed, FilePosition):
        return  # on MariaDB a value set there is a position independent of the binlog
    gone = control.text("SELECT @@GLOBAL.gtid_purged")
    if not streamed.contains(parse_position(control.flavor, gone)):
        raise AttemptFailed(
            Reason.SOURCE_BINLOG_PURGED,
            f"the source's gtid_purged is '{gone}', and the stream, which stands at '{streamed}', will never contain "
            f"all of that: it was set since this run began, as by loading a dump that holds GTIDs, or binlogs were "
            "purged. Rows may differ without any event about them: start over with a fresh copy",
        )


def refuse_xa(control: Session, wait: Callable[[Callable[[float], bool]], bool], lock: SourceLock) -> None:
    """AttemptFailed if an XA transaction is open or prepared; ``wait`` checks again for ``OTHER_WRITERS_SECONDS``.

    None can begin under the lock, and most end within milliseconds.
    """
    found: list[str] = []

    def none_left(_: float) -> bool:
        found[:] = lock.open_xa_writers(control)
        return not found

    if not wait(none_left):
        raise AttemptFailed(
            Reason.XA_OPEN,
            f"XA transactions were open when writes were stopped, and could be committed after the cutover: "
            f"{'; '.join(found)}; end them first",
        )
    xids = prepared_xids(control)  # in this order: an open one may become prepared, never the other way round
    if xids:
        raise AttemptFailed(
            Reason.XA_PREPARED,
            f"XA transactions are prepared and could be committed after the lock: {', '.join(xids)} "
            "(formatID,gtrid,bqual); decide them first",
        )
