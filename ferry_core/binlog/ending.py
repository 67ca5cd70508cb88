"""Where the source's binlog ends now, as its own status says: beyond ``@@gtid_executed`` while commits stall.

Called by the coordinator at a table's start (R2), and by a cutover's drain.
"""

from ferry_core.errors import DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import MariaDbGtids, source_position
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

BinlogEnd = tuple[str, int] | MariaDbGtids
"""MySQL: file and offset, which order as they are (names end in a number of fixed width). MariaDB: GTIDs."""


def end_of_binlog(session: Session) -> BinlogEnd:
    """Ask the source. On MariaDB its GTIDs, since SHOW MASTER STATUS hangs during a stalled commit there."""
    if session.flavor is Flavor.MARIADB:
        position = source_position(session)
        assert isinstance(position, MariaDbGtids)
        return position
    return place_of_end(session)


def place_of_end(session: Session) -> tuple[str, int]:
    """File and offset, on either family. On MariaDB only under the cutover's lock, which waits for stalled commits."""
    version = tuple(int(part) for part in session.version.split("-")[0].split(".")[:2])
    modern = session.flavor is Flavor.MYSQL and version >= (8, 4)
    rows = session.query("SHOW BINARY LOG STATUS" if modern else "SHOW MASTER STATUS")
    if not rows:
        raise DataError(Reason.BINLOG_DISABLED, f"{session.endpoint.address} no longer writes a binlog; set log_bin")
    return (rows[0][0] or b"").decode(), int(rows[0][1] or 0)
