"""Whether a server is an exact, read-only replica of another one, and what one of the two has executed and the other
has not. For a source that is a replica (``spec.source.primary``).

Rows are read from the replica and writes stop at its primary, so the two must hold the same rows once the replica has
applied everything. A replica keeps that promise if nothing but its one channel writes to it, if the channel leaves
nothing out, and if an error stops it. Its own binlog must contain what it applies. Asked by preflight, once a second
by ``run.replica_watch``, and by each cutover attempt. Reads only.
"""

import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.text import host_port

ERRANT_SECONDS = 1.0
"""Under semi-synchronous replication a replica may have a transaction before its primary counts it as executed."""
_POLL_SECONDS = 0.02

_EXACT = {
    "REPLICA_EXEC_MODE": "STRICT",
    "SLAVE_EXEC_MODE": "STRICT",
    "REPLICA_SKIP_ERRORS": "OFF",
    "SLAVE_SKIP_ERRORS": "OFF",
    "SLAVE_RUN_TRIGGERS_FOR_RBR": "NO",
}
"""Otherwise a replica may go on although its rows differ, or triggers change rows without any event in its binlog."""
_LOGS = ("LOG_REPLICA_UPDATES", "LOG_SLAVE_UPDATES")
_SETTINGS = ", ".join(map(string, (*_EXACT, *_LOGS, "READ_ONLY", "GTID_MODE", "GTID_STRICT_MODE")))

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


def _settings(replica: Session) -> Iterator[Trouble]:
    rows = replica.query(f"SHOW GLOBAL VARIABLES WHERE UPPER(Variable_name) IN ({_SETTINGS})")
    found = {(name or b"").decode().upper(): (value or b"").decode().upper() for name, value in rows}
    where = replica.endpoint.where
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
        if found.get(name, exact) != exact:
            yield Trouble(
                Reason.REPLICA_MAY_DIFFER,
                f"{where} has {name.lower()}={found[name]}, so its rows may differ from its primary's without an "
                f"error: set it to {exact}",
            )


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
