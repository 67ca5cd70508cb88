"""Whether a MariaDB source has logged what it applied of other servers while nobody read its binlog. Called by
``run.replicated``.

``log_slave_updates`` changes only by a restart. If a run reads ON before and after a stop, it may have been OFF in
between only if the source was started twice. A started server begins a new file, whose format description says so. Then
the numbers decide: in each domain, every number up to the one applied last must be in the binlog, as another server's.
"""

from collections.abc import Mapping

from ferry_core.binlog import events
from ferry_core.binlog.history import events_from
from ferry_core.binlog.last_read import LastRead
from ferry_core.binlog.source_errors import SourceRefusal
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.gtid import MariaDbGtid, MariaDbGtids
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session

_BODY = 20
_CREATED = slice(_BODY + 52, _BODY + 56)
"""In a format description: when the server was started that began this file; 0 in a file that follows another."""


def perhaps_unlogged(session: Session, last: LastRead, known: str, now: str) -> str:
    """What is missing in the binlog after ``last``; empty if everything applied since ``known`` was logged.

    ``known`` and ``now`` are values of gtid_slave_pos; log_slave_updates was ON when either was read.
    """
    before, after = MariaDbGtids.parse(known), MariaDbGtids.parse(now)
    own = session.number("SELECT @@GLOBAL.server_id")
    logged = _logged_at(session, last)
    wanted: dict[int, tuple[int, int]] = {}
    for domain, applied in after.domains.items():
        if applied == before.domains.get(domain):
            continue
        there = logged.domains.get(domain)
        begun = [before.domains[domain].sequence] if domain in before.domains else []
        begun += [there.sequence] if there is not None and there.server_id != own else []
        wanted[domain] = max(begun, default=0) + 1, applied.sequence
    try:
        missing = _missing(session.endpoint, last, wanted, own)
    except SourceRefusal:
        return "the binlog file that this Ferry has read last is gone"
    return ", ".join(f"{domain}-*-{number}" for domain, number in missing.items())


def _logged_at(session: Session, last: LastRead) -> MariaDbGtids:
    """The last transaction of each domain before a place; none if the file is gone."""
    return MariaDbGtids.parse(session.text(f"SELECT BINLOG_GTID_POS({string(last.file)}, {last.offset})"))


def _missing(endpoint: Endpoint, last: LastRead, wanted: Mapping[int, tuple[int, int]], own: int) -> Mapping[int, int]:
    """The first missing number of each domain, if the source was started more than once after ``last``."""
    following = {domain: first for domain, (first, _) in wanted.items()}
    starts = files = 0
    for event in events_from(endpoint, last.file, last.offset):
        if event[5] == events.FORMAT_DESCRIPTION:
            files += 1
            starts += files > 1 and any(event[_CREATED])
        elif event[5] == events.MARIADB_GTID:
            number = int.from_bytes(event[_BODY : _BODY + 8], "little")
            domain = int.from_bytes(event[_BODY + 8 : _BODY + 12], "little")
            gtid = MariaDbGtid(int.from_bytes(event[6:10], "little"), number)
            if gtid.server_id != own and gtid.sequence == following.get(domain):
                following[domain] += 1
    if starts < 2:
        return {}
    return {domain: number for domain, number in following.items() if number <= wanted[domain][1]}
