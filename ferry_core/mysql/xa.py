"""Lists prepared, undecided XA transactions in the same normal form as the binlog's XIDs, and those being prepared.

Called before the first chunk (R2), for changed keys of XA transactions (R1) and around the cutover's lock.
"""

import re
from collections.abc import Iterable

from ferry_core.errors import ConfigError, FerryError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.processes import processes
from ferry_core.mysql.session import Row, Session
from ferry_core.reasons import Reason

_XA_RECOVER_DENIED = 1401
"""MySQL's error for XA RECOVER without XA_RECOVER_ADMIN. Its text speaks of damaged data."""

_APPLIER = "system user"
_APPLYING = ("Slave_SQL", "Slave_worker")

_PREPARES = re.compile(r"\bXA(?:\s|/\*.*?\*/|(?:--\s|#)[^\n]*\n)+PREPARE\b", re.IGNORECASE | re.DOTALL)
"""Anywhere in the text: several statements may be sent at once."""


def being_prepared(session: Session) -> frozenset[tuple[int, str]]:
    """Connections that execute XA PREPARE, and their statements. Needs PROCESS, without which it sees none of others.

    MariaDB and MySQL before 8.0.30 write XA PREPARE to the binlog first, then to InnoDB's log, and list the transaction
    in XA RECOVER only after that; MySQL also counts its GTID as executed before (seen on 8.0.15). Also statements of
    procedures and prepared ones are shown as XA PREPARE (tested), but not what replication applies (``Applied``).
    """
    return frozenset((each.ident, each.statement) for each in processes(session) if _PREPARES.search(each.statement))


class Applied:
    """What replication has written to a MariaDB's binlog until now, and may still be applying: also an XA PREPARE.

    The process list shows no statement of it. gtid_slave_pos has its GTID only once it is applied (seen on 10.11).
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._wanted: frozenset[tuple[int, int]] = frozenset()
        if any(each.user == _APPLIER and each.command in _APPLYING for each in processes(session)):
            own = session.number("SELECT @@GLOBAL.server_id")
            written = _gtids(session.text("SELECT @@GLOBAL.gtid_binlog_state"))
            self._wanted = frozenset((domain, number) for domain, server, number in written if server != own)

    def missing(self) -> frozenset[tuple[int, int]]:
        """Domain and sequence number of what is not applied yet."""
        if not self._wanted:
            return frozenset()
        reached = {domain: number for domain, _, number in _gtids(self._session.text("SELECT @@GLOBAL.gtid_slave_pos"))}
        return frozenset(one for one in self._wanted if reached.get(one[0], 0) < one[1])


def _gtids(text: str) -> Iterable[tuple[int, int, int]]:
    for gtid in filter(None, text.split(",")):
        domain, server, number = map(int, gtid.split("-"))
        yield domain, server, number


def prepared_xids(session: Session) -> list[str]:
    """Every prepared and undecided XA transaction, as "formatID,hex gtrid,hex bqual" in lower case."""
    statement = "XA RECOVER CONVERT XID" if session.flavor is Flavor.MYSQL else "XA RECOVER"
    try:
        rows = session.query(statement)
    except FerryError as error:
        if error.code == _XA_RECOVER_DENIED:
            raise ConfigError(
                Reason.MISSING_PRIVILEGE,
                f"{session.endpoint.where}: XA RECOVER is refused; "
                f"GRANT XA_RECOVER_ADMIN ON *.* TO '{session.endpoint.user}'",
                server=session.endpoint.role,
            ) from error
        raise
    return sorted(_normal_forms(rows, hexadecimal=session.flavor is Flavor.MYSQL))


def _normal_forms(rows: Iterable[Row], *, hexadecimal: bool) -> Iterable[str]:
    for format_id, gtrid_length, bqual_length, data in rows:
        raw = data or b""
        # MariaDB returns the bytes themselves (results are binary in our sessions), MySQL "0x" and hexadecimal digits.
        xid = bytes.fromhex(raw[2:].decode()) if hexadecimal else raw
        gtrid, bqual = int(gtrid_length or 0), int(bqual_length or 0)
        if len(xid) != gtrid + bqual:
            raise AssertionError(f"XA RECOVER gave {len(xid)} bytes for an XID of {gtrid} + {bqual}")
        yield f"{int(format_id or 0)},{xid[:gtrid].hex()},{xid[gtrid:].hex()}"
