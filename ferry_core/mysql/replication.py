"""What applies other servers' changes to a server, whatever is locked there: replicas' threads and cluster peers.

Asked of the source under the cutover's lock. Reads only.
"""

from ferry_core.errors import FerryError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session

# Of a single-primary group only its primary takes writes; with two primaries the other one's arrive here.
_GROUP_PEERS = """
SELECT member_host, member_port FROM performance_schema.replication_group_members
WHERE member_id <> @@server_uuid AND member_role = 'PRIMARY' AND member_state IN ('ONLINE', 'RECOVERING')"""

_GALERA_SIZE = "SHOW GLOBAL STATUS LIKE 'wsrep_cluster_size'"


def running_replication(session: Session) -> list[str]:
    """One line for each channel with a running thread, and each cluster peer that takes writes."""
    if session.flavor is Flavor.MARIADB:
        # Two more columns than SHOW SLAVE STATUS stand in front: the connection's name and a state.
        return _channels(session, "SHOW ALL SLAVES STATUS", 3, 12, 0) + _galera(session)
    return _channels(session, "SHOW REPLICA STATUS", 1, 10, 55) + _group(session)


def _channels(session: Session, statement: str, host: int, io: int, name: int) -> list[str]:
    """Column numbers: the host, Replica_IO_Running (the applier's is the next one), the channel's name."""
    found = []
    for row in session.query(statement):
        if any(row[column] != b"No" for column in (io, io + 1)):
            channel = (row[name] or b"").decode("utf-8", "replace")
            found.append(f"from {(row[host] or b'').decode()}" + (f", channel {channel!r}" if channel else ""))
    return found


def _group(session: Session) -> list[str]:
    try:
        rows = session.query(_GROUP_PEERS)
    except FerryError:
        return []  # performance_schema is off or not ours to read; preflight says so of the account
    return [f"from group member {(host or b'').decode()}:{(port or b'').decode()}" for host, port in rows]


def _galera(session: Session) -> list[str]:
    rows = session.query(_GALERA_SIZE)
    size = int(rows[0][1] or 0) if rows else 0
    return [f"from {size - 1} other nodes of its Galera cluster"] if size > 1 else []
