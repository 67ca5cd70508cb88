"""The current end of the source's binlog, from the server's own status. It is beyond ``@@gtid_executed`` while commits
stall.

Called by the coordinator when a table starts (R2) and by the drain of a cutover.
"""

from ferry_core.errors import DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import MariaDbGtids, source_position
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

BinlogEnd = tuple[str, int] | MariaDbGtids
"""MySQL: file and offset, which compare in binlog order (file names end in a fixed-width number). MariaDB: GTIDs."""


def end_of_binlog(session: Session) -> BinlogEnd:
    """Ask the source for the end of its binlog.

    MariaDB is asked for GTIDs, because SHOW MASTER STATUS hangs there while a commit is stalled.
    """
    if session.flavor is Flavor.MARIADB:
        position = source_position(session)
        assert isinstance(position, MariaDbGtids)
        return position
    return place_of_end(session)


def place_of_end(session: Session) -> tuple[str, int]:
    """File and offset, for both families.

    On MariaDB call it only under the cutover's lock, which waits for stalled commits.
    """
    version = tuple(int(part) for part in session.version.split("-")[0].split(".")[:2])
    modern = session.flavor is Flavor.MYSQL and version >= (8, 4)
    rows = session.query("SHOW BINARY LOG STATUS" if modern else "SHOW MASTER STATUS")
    if not rows:
        raise DataError(Reason.BINLOG_DISABLED, f"{session.endpoint.address} no longer writes a binlog; set log_bin")
    return (rows[0][0] or b"").decode(), int(rows[0][1] or 0)
