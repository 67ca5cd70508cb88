"""Finds replication that writes to a server in spite of read_only: replica threads and cluster peers.

Asked of the source under the cutover's lock, and at each start what it has applied. Also tells whether the server logs
what it applies. Reads only.
"""

from typing import NamedTuple

from ferry_core.errors import FerryError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import MariaDbGtids
from ferry_core.mysql.session import Session

# In a single-primary group only the primary takes writes. With two primaries the other one's writes arrive here.
_GROUP_PEERS = """
SELECT member_host, member_port FROM performance_schema.replication_group_members
WHERE member_id <> @@server_uuid AND member_role = 'PRIMARY' AND member_state IN ('ONLINE', 'RECOVERING')"""

# A server has one of the two names of each variable, or both.
_LOGS_REPLICATED = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_replica_updates', 'log_slave_updates')"

_GALERA_SIZE = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'"


class Replicated(NamedTuple):
    """The position up to which a MariaDB server has applied other servers' changes, and whether it logs them."""

    position: str  # gtid_slave_pos; replication by file and offset moves it too; RESET SLAVE ALL and restarts keep it
    logged: bool


def replicated(session: Session) -> Replicated | None:
    """None on MySQL, where gtid_purged contains the changes that were applied and not logged."""
    if session.flavor is Flavor.MYSQL:
        return None
    position = MariaDbGtids.parse(session.text("SELECT @@GLOBAL.gtid_slave_pos"))
    return Replicated(str(position), _logs_replicated(session))


def unlogged_since(known: Replicated | None, now: Replicated | None) -> str:
    """A message if the server may have applied changes since ``known`` without logging them; otherwise empty."""
    if known is None or now is None or known.position == now.position or (known.logged and now.logged):
        return ""
    return (
        f"gtid_slave_pos was '{known.position}' at the last check and is '{now.position}' now, and log_slave_updates "
        "is or was OFF: the source applied another server's changes without logging them, or somebody set the "
        "variable. Rows may differ without any event about them: start over with a fresh copy. If nothing was applied, "
        f"restore the variable instead: STOP ALL SLAVES, then SET GLOBAL gtid_slave_pos = '{known.position}' (if the "
        "server refuses that, set gtid_strict_mode to OFF while you do it)"
    )


def running_replication(session: Session) -> list[str]:
    """One line for each channel with a running thread, and for each cluster peer that accepts writes."""
    return [channel for channel, runs in _channels(session) if runs] + cluster_peers(session)


def cluster_peers(session: Session) -> list[str]:
    """One line for each cluster peer that accepts writes."""
    return _galera(session) if session.flavor is Flavor.MARIADB else _group(session)


def unlogged_replication(session: Session) -> list[str]:
    """One line for each channel, even a stopped one, whose changes are not in the server's own binlog."""
    return [] if _logs_replicated(session) else [channel for channel, _ in _channels(session)]


class Followed(NamedTuple):
    """A server that another one replicates from."""

    name: str
    """The channel in words."""
    seconds_behind: int | None
    """None: unknown, because a thread is not running."""
    server_id: int
    """0 if the replica has never been connected to it."""


def followed(session: Session) -> list[Followed]:
    """What the server replicates from, by channel."""
    if session.flavor is Flavor.MARIADB:
        host, behind, ident = 3, 34, 41
    else:
        host, behind, ident = 1, 32, 39
    return [
        Followed(
            f"from {(row[host] or b'').decode()}",
            None if row[behind] is None else int(row[behind] or 0),
            int(row[ident] or 0),
        )
        for row in session.query(session.version.replica_status)
    ]


def _logs_replicated(session: Session) -> bool:
    return b"ON" in {value for _, value in session.query(_LOGS_REPLICATED)}


def _channels(session: Session) -> list[tuple[str, bool]]:
    """Each channel in words, and whether one of its threads is running."""
    if session.flavor is Flavor.MARIADB:
        # SHOW ALL SLAVES STATUS has two more columns in front than SHOW SLAVE STATUS: the connection's name and a
        # state.
        host, io, name = 3, 12, 0
    else:
        host, io, name = 1, 10, 55
    found = []
    for row in session.query(session.version.replica_status):
        channel = (row[name] or b"").decode("utf-8", "replace")
        description = f"from {(row[host] or b'').decode()}" + (f", channel {channel!r}" if channel else "")
        found.append((description, any(row[column] != b"No" for column in (io, io + 1))))
    return found


def _group(session: Session) -> list[str]:
    try:
        rows = session.query(_GROUP_PEERS)
    except FerryError:
        return []  # performance_schema is off or not readable; preflight reports a missing privilege
    return [f"from group member {(host or b'').decode()}:{(port or b'').decode()}" for host, port in rows]


def _galera(session: Session) -> list[str]:
    rows = session.query(_GALERA_SIZE)
    size = int(rows[0][1] or 0) if rows else 0
    return [f"from {size - 1} other nodes of its Galera cluster"] if size > 1 else []
