"""Whether a server is an exact, read-only replica of another one, and what one of the two has executed and the other
has not. For a source that is a replica (``spec.source.primary``).

Rows are read from the replica and writes stop at its primary, so the two must hold the same rows once the replica has
applied everything. A replica keeps that promise if nothing but its one channel writes to it, if the channel leaves
nothing out, and if an error stops it. Its own binlog must contain what it applies. Asked by preflight, once a second
by ``run.replica_watch``, and by each cutover attempt. Reads only.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import string
from ferry_core.mysql.replication import cluster_peers
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.text import host_port

ERRANT_SECONDS = 1.0
"""Under semi-synchronous replication a replica may have a transaction before its primary counts it as executed."""
_POLL_SECONDS = 0.02

_STRICT = ("STRICT",)
_OFF = ("OFF",)
_EXACT_TYPES = ("", "ALL_NON_LOSSY")
_EXACT = {
    "REPLICA_EXEC_MODE": _STRICT,
    "SLAVE_EXEC_MODE": _STRICT,
    "REPLICA_SKIP_ERRORS": _OFF,
    "SLAVE_SKIP_ERRORS": _OFF,
    "REPLICA_TYPE_CONVERSIONS": _EXACT_TYPES,
    "SLAVE_TYPE_CONVERSIONS": _EXACT_TYPES,
    "SLAVE_RUN_TRIGGERS_FOR_RBR": ("NO",),
    "REPLICATE_EVENTS_MARKED_FOR_SKIP": ("REPLICATE",),
}
"""Otherwise a replica may go on although its rows differ, leave rows out, or its triggers change rows without any event
in its binlog.
"""
_LOGS = ("LOG_REPLICA_UPDATES", "LOG_SLAVE_UPDATES")
_POSITIONS = ("GTID_MODE", "GTID_STRICT_MODE")
_DURABLE = {"SYNC_BINLOG": ("1",), "INNODB_FLUSH_LOG_AT_TRX_COMMIT": ("1", "3")}
"""Otherwise a primary may lose in a crash what its replica has. 3 is MariaDB's: sync at prepare and at commit."""

_Gtids = dict[tuple[int, int], int]
"""MariaDB: the last sequence number by domain and server_id."""


class ServerIds(NamedTuple):
    """By what a replica names the server from which it replicates."""

    address: str
    server_id: int
    uuid: str
    """Empty on MariaDB, which has none."""


class Trouble(NamedTuple):
    """Why the source may differ from its primary, or cannot follow it."""

    reason: Reason
    message: str
    may_pass: bool = False
    """Whether it may end by itself, as a stopped thread that is started again."""


class Channel(NamedTuple):
    """From where a server replicates, and how that goes."""

    address: str
    server_id: int
    uuid: str
    stopped: str
    """What does not run, and the last error; empty: both threads run."""
    seconds_behind: int | None
    """None: unknown."""
    delay: int
    """By how many seconds it is to lag."""
    filters: str
    """What it leaves out or renames; empty: nothing."""
    by_gtid: bool
    """On MariaDB whether it follows GTIDs; MySQL keeps the set of all that it has executed anyway."""


def server_ids(session: Session) -> ServerIds:
    """Those of the server itself."""
    uuid = session.text("SELECT @@GLOBAL.server_uuid") if session.flavor is Flavor.MYSQL else ""
    return ServerIds(session.endpoint.address, session.number("SELECT @@GLOBAL.server_id"), uuid)


def channels(session: Session) -> list[Channel]:
    """Of a replica; empty for a server that is none."""
    return [_channel(row) for row in session.named(session.version.replica_status)]


def _channel(row: Mapping[str, str | None]) -> Channel:
    told = {name.replace("Master", "Source").replace("Slave", "Replica"): value or "" for name, value in row.items()}
    running = {name: told[f"Replica_{name}_Running"] for name in ("IO", "SQL")}
    errors = [told[f"Last_{name}_Error"] for name in running if told[f"Last_{name}_Error"]]
    stopped = [f"its {name} thread is {said}" for name, said in running.items() if said != "Yes"]
    filters = {name: value for name, value in told.items() if name.startswith("Replicate_") and value}
    behind = told["Seconds_Behind_Source"]
    return Channel(
        address=host_port(told["Source_Host"], int(told["Source_Port"])),
        server_id=int(told["Source_Server_Id"] or 0),
        uuid=told.get("Source_UUID", ""),
        stopped=": ".join([", ".join(stopped), *errors]) if stopped else "",
        seconds_behind=int(behind) if behind else None,
        delay=int(told["SQL_Delay"] or 0),
        filters=", ".join(f"{name}={value}" for name, value in filters.items()),
        by_gtid=told.get("Using_Gtid") != "No",
    )


def troubles(replica: Session, primary: ServerIds) -> list[Trouble]:
    """Why the replica does not follow this primary exactly, the most important first; empty: it does."""
    return [*_channels(replica, primary), *_settings(replica)]


def _channels(replica: Session, primary: ServerIds) -> Iterator[Trouble]:
    where, found = replica.endpoint.where, channels(replica)
    if not found:
        yield Trouble(
            Reason.NOT_ITS_REPLICA,
            f"{where} does not replicate from any server: it never was a replica of {primary.address}, or was promoted",
        )
        return
    if len(found) > 1 or not _is_from(found[0], primary):
        names = ", ".join(f"{one.address} (server_id {one.server_id})" for one in found)
        yield Trouble(
            Reason.NOT_ITS_REPLICA,
            f"{where} replicates from {names}, and must do so from {primary.address} (server_id {primary.server_id}) "
            "alone: name the server from which it replicates in spec.source.primary",
        )
        return
    (channel,) = found
    if channel.filters:
        yield Trouble(
            Reason.REPLICA_MAY_DIFFER,
            f"{where} replicates with {channel.filters}: rows of its primary may be missing there; remove that filter",
        )
    if not channel.by_gtid:
        yield Trouble(
            Reason.REPLICA_MAY_DIFFER,
            f"{where} replicates with MASTER_USE_GTID=no, so a transaction that it has skipped would not show: STOP "
            "SLAVE, CHANGE MASTER TO MASTER_USE_GTID = slave_pos, START SLAVE there",
        )
    if channel.delay:
        yield Trouble(
            Reason.REPLICA_LAG,
            f"{where} applies changes {channel.delay} s late on purpose, and a cutover would wait for them while "
            "writes are stopped: set that delay to 0 (CHANGE REPLICATION SOURCE TO SOURCE_DELAY = 0; MariaDB: "
            "CHANGE MASTER TO MASTER_DELAY = 0)",
        )
    if channel.stopped:
        yield Trouble(
            Reason.REPLICATION_STOPPED,
            f"{where} does not replicate from {primary.address} now: {channel.stopped}; START REPLICA (MariaDB: START "
            "SLAVE) there",
            may_pass=True,
        )


def _is_from(channel: Channel, primary: ServerIds) -> bool:
    """A channel that was never connected does not know either."""
    if not channel.server_id:
        return bool(channel.stopped)
    return (channel.server_id, channel.uuid) == (primary.server_id, primary.uuid)


def troubles_of_primary(primary: Session) -> list[Trouble]:
    """Why what it logs may not lead to its own rows on a replica, or why it may lose what its replica has."""
    return list(_as_primary(primary))


def _as_primary(primary: Session) -> Iterator[Trouble]:
    found, where = _variables(primary, ("BINLOG_FORMAT", *_DURABLE, *_POSITIONS)), primary.endpoint.where
    if found.get("BINLOG_FORMAT", "ROW") != "ROW":
        yield Trouble(
            Reason.BINLOG_FORMAT_NOT_ROW,
            f"{where} has binlog_format={found['BINLOG_FORMAT']}: its replica executes the same statements and may get "
            "other rows; SET GLOBAL binlog_format = ROW, write it into the server's configuration too, let sessions "
            "reconnect, and rebuild the replica if rows may differ already",
        )
    if loose := [name for name, safe in _DURABLE.items() if found.get(name, safe[0]) not in safe]:
        now = " and ".join(f"{name.lower()}={found[name]}" for name in loose)
        fix = ", ".join(f"GLOBAL {name.lower()} = 1" for name in loose)
        yield Trouble(
            Reason.SOURCE_LOSES_COMMITS,
            f"{where} has {now}: in a crash it can lose transactions that its replica keeps; SET {fix}",
        )
    yield from _positions(found, where)


def _positions(found: Mapping[str, str], where: str) -> Iterator[Trouble]:
    name, reason = "GTID_MODE", Reason.GTID_MODE_OFF
    if name not in found:
        name, reason = "GTID_STRICT_MODE", Reason.GTID_STRICT_MODE_OFF
    if (value := found.get(name, "OFF")) not in ("ON", "1"):
        yield Trouble(
            reason,
            f"{where} has {name.lower()}={value}: what the source has applied of its primary is told by GTIDs; set it "
            "to ON on both, or use the primary as the source",
        )


def _variables(session: Session, names: Iterable[str]) -> dict[str, str]:
    """Names and values in upper case; a server has not all of them."""
    wanted = ", ".join(map(string, names))
    rows = session.query(f"SHOW GLOBAL VARIABLES WHERE UPPER(Variable_name) IN ({wanted})")
    return {(name or b"").decode().upper(): (value or b"").decode().upper() for name, value in rows}


def _settings(replica: Session) -> Iterator[Trouble]:
    found, where = _variables(replica, (*_EXACT, *_LOGS, *_POSITIONS, "READ_ONLY")), replica.endpoint.where
    if "ON" not in {found.get(name) for name in _LOGS}:
        yield Trouble(
            Reason.REPLICA_CHANGES_NOT_LOGGED,
            f"{where} does not log what it applies: start it with log_replica_updates=ON (MariaDB: log_slave_updates)",
        )
    if found["READ_ONLY"] == "OFF":
        yield Trouble(
            Reason.REPLICA_WRITABLE,
            f"{where} has read_only=OFF: what somebody writes there is not on its primary, or it was promoted; SET "
            "GLOBAL read_only = ON (on MySQL better super_read_only), or, if applications write there now, remove "
            "spec.source.primary",
        )
    for name, exact in _EXACT.items():
        if found.get(name, exact[0]) not in exact:
            value = exact[0] or "''"
            yield Trouble(
                Reason.REPLICA_MAY_DIFFER,
                f"{where} has {name.lower()}={found[name]}, so its rows may differ from its primary's without an "
                f"error: set it to {value}",
            )
    for peer in cluster_peers(replica):
        yield Trouble(
            Reason.REPLICA_MAY_DIFFER,
            f"{where} also applies changes {peer}, which may not be on its primary: use a replica outside of a cluster",
        )
    yield from _positions(found, where)


def executed(primary: Session) -> str:
    """What the server has executed, or, on MariaDB, the last transaction of each domain in its binlog."""
    if primary.flavor is Flavor.MYSQL:
        return primary.text("SELECT @@GLOBAL.gtid_executed")
    return primary.text("SELECT @@GLOBAL.gtid_binlog_pos")


def lacking(replica: Session, wanted: str) -> str:
    """What of ``wanted``, which its primary had executed, the replica has not applied. Empty: nothing."""
    if replica.flavor is Flavor.MYSQL:
        return replica.text(f"SELECT GTID_SUBTRACT({string(wanted)}, @@GLOBAL.gtid_executed)")
    logged, applied = _applied(replica)
    missing = [
        f"{domain}-{server}-{number}"
        for (domain, server), number in _parsed(wanted).items()
        # By server_id: others may have reached a higher number in the domain. The binlog may not reach back so far.
        if logged.get((domain, server), -1) < number and applied.get((domain, server)) != number
    ]
    return ",".join(missing)


def errant(replica: Session, primary: Session) -> str:
    """What the replica has executed and its primary has not, so that their rows may differ. Empty: nothing."""
    if replica.flavor is Flavor.MYSQL:
        there = string(executed(replica))

        def more() -> str:
            return primary.text(f"SELECT GTID_SUBTRACT({there}, @@GLOBAL.gtid_executed)")
    else:
        logged, applied = _applied(replica)
        all_there = [*logged.items(), *applied.items()]

        def more() -> str:
            known = _parsed(primary.text("SELECT @@GLOBAL.gtid_binlog_state"))
            extra = {f"{d}-{s}-{number}" for (d, s), number in all_there if known.get((d, s), -1) < number}
            return ",".join(sorted(extra))

    end = time.monotonic() + ERRANT_SECONDS
    while (found := more()) and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    return found


def _applied(replica: Session) -> tuple[_Gtids, _Gtids]:
    """MariaDB: what is in the replica's binlog, and what it has applied."""
    row = replica.row("SELECT @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos", 2)
    logged, applied = (_parsed((value or b"").decode()) for value in row)
    return logged, applied


def _parsed(text: str) -> _Gtids:
    """``domain-server-sequence``, comma separated."""
    found: _Gtids = {}
    for part in filter(None, "".join(text.split()).split(",")):
        domain, server, number = map(int, part.split("-"))
        found[domain, server] = max(number, found.get((domain, server), -1))
    return found
