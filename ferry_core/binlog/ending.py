"""The current end of the source's binlog: what the stream must read before the run draws conclusions from it.

MySQL's binlog status includes stalled commits. MariaDB's status query hangs during a stalled commit, so two other
values are read there, and neither is enough alone. The place up to which transactions are committed does not include a
stalled commit. The GTIDs do, but a source without gtid_strict_mode may log a number equal to or lower than an earlier
one: a position that knows only the highest number of a domain then contains it although it is unread.

Called when a table starts (R2), when rows or definitions are compared, and by the drain of a cutover.
"""

from dataclasses import dataclass

from ferry_core.errors import DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

_SNAPSHOT = "SHOW STATUS LIKE 'binlog_snapshot_%'"


@dataclass(frozen=True)
class BinlogEnd:
    """A place in the source's binlog, and the GTIDs that must have been read too."""

    file: str
    offset: int
    gtids: Position | None = None

    def __str__(self) -> str:
        place = f"{self.file} at {self.offset}"
        return place if self.gtids is None else f"{place} ({self.gtids})"


def end_of_binlog(session: Session) -> BinlogEnd:
    """Everything that a read of the source can see now, and everything in its binlog, is before this end.

    For an XA transaction this holds once its XID has left XA RECOVER.
    """
    if session.flavor is Flavor.MYSQL:
        return BinlogEnd(*place_of_end(session))
    gtids = source_position(session)
    return BinlogEnd(*committed_place(session), gtids)


def end_under_lock(session: Session) -> BinlogEnd:
    """The same under the cutover's lock, which waits for stalled commits."""
    gtids = source_position(session)
    return BinlogEnd(*place_of_end(session), gtids)


def committed_place(session: Session) -> tuple[str, int]:
    """MariaDB: file and offset up to which InnoDB has committed the binlog's transactions."""
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
    told = {(name or b"").decode(): (value or b"").decode() for name, value in session.query(_SNAPSHOT)}
    session.rollback()
    return told["Binlog_snapshot_file"], int(told["Binlog_snapshot_position"])


def place_of_end(session: Session) -> tuple[str, int]:
    """File and offset, for both families. On MariaDB this hangs during a stalled commit."""
    rows = session.query(session.version.binlog_status)
    if not rows:
        raise DataError(Reason.BINLOG_DISABLED, f"{session.endpoint.address} no longer writes a binlog; set log_bin")
    return (rows[0][0] or b"").decode(), int(rows[0][1] or 0)
