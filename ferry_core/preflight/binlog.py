"""Checks that the source's binlog contains every change of the selected tables in a form that the streamer can read."""

import math
from collections.abc import Iterator, Sequence

from ferry_core.binlog.handshake import server_id_of
from ferry_core.errors import ConfigError
from ferry_core.mysql.session import Row
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import SHOWING_DEFINITIONS, decoded
from ferry_core.preflight.result import Check, Finding, failed, passed, refused, skipped, warning
from ferry_core.preflight.sizes import copy_seconds
from ferry_core.reasons import Reason

ROW_IMAGES = ("FULL", "MINIMAL", "NOBLOB")
SHORT_RETENTION = 24 * 3600
"""A Ferry that is paused or stopped overnight must be able to resume from the binlog."""


def _enabled(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    if not source.is_on("log_bin"):
        yield failed(
            Reason.BINLOG_DISABLED,
            f"{source.where} writes no binlog: start it with log_bin (and server_id) set",
        )
    if source.number("server_id") == 0:
        yield failed(
            Reason.SERVER_ID_ZERO,
            f"{source.where} has server_id 0 and refuses replication clients: SET GLOBAL server_id",
        )


def _server_id(context: PreflightContext) -> Iterator[Finding]:
    """The source closes the older of two streams with the same server id, and that replica then closes ours."""
    source, own = context.source_facts, server_id_of(context.ferry_uid)
    holders = {"the source itself"} if source.number("server_id") == own else set()
    # Host and port that the replica reports about itself; usually empty.
    replicas = _replicas(context)
    holders |= {
        f"its replica at {decoded(row[1]) or 'an unknown host'}"
        for row in replicas or ()
        if decoded(row[0]) == str(own)
    }
    if holders:
        yield failed(
            Reason.SERVER_ID_CLASH,
            f"{source.where}: the server_id {own} that this Ferry streams with is already used by "
            f"{' and '.join(sorted(holders))}; give that one another server_id, or this Ferry another name",
        )
    elif replicas is None:
        yield skipped(
            f"{source.where} shows its replicas to holders of REPLICATION MASTER ADMIN only: whether one of them has "
            f"the server_id {own}, with which this Ferry streams, could not be checked"
        )


def _replicas(context: PreflightContext) -> Sequence[Row] | None:
    """None if MariaDB does not show them, because of a privilege that nothing else here needs."""
    try:
        return context.source.query(context.source.version.replicas)
    except ConfigError:
        if not context.source_facts.mariadb:
            raise
        return None


def _format(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    value = source.variable("binlog_format", "ROW")
    fix = "SET GLOBAL binlog_format = ROW, write it into the server's configuration too, and let sessions reconnect"
    if value == "MIXED":
        others = "others do not stop it"
        if not source.sees_definitions:
            others = (
                "others do not, if the account may read the views, triggers and routines that connect tables: GRANT "
                f"{', '.join(SHOWING_DEFINITIONS)} ON *.* TO {source.account}"
            )
        yield refused(
            context,
            Reason.BINLOG_FORMAT_NOT_ROW,
            f"{source.where} has binlog_format=MIXED, which logs most changes as statements: the first that may change "
            f"a selected table ends the run, {others}; {fix}",
        )
    elif value != "ROW":
        yield failed(
            Reason.BINLOG_FORMAT_NOT_ROW,
            f"{source.where} has binlog_format={value}, which does not log changed rows: {fix}",
        )


def _image(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    if (value := source.variable("binlog_row_image", "FULL")).upper() not in ROW_IMAGES:
        yield failed(
            Reason.BINLOG_ROW_IMAGE,
            f"{source.where} has binlog_row_image={value}, whose row images are not read: SET GLOBAL "
            f"binlog_row_image = FULL (or one of {', '.join(ROW_IMAGES)})",
        )


def _filters(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    # Variables on newer MariaDB; elsewhere columns of a statement that needs REPLICATION CLIENT.
    found = {name: source.variable(f"binlog_{name}_db") for name in ("do", "ignore")}
    if source.is_on("log_bin") and "binlog_do_db" not in source.variables:
        for row in context.source.query(context.source.version.binlog_status):
            found = dict(zip(("do", "ignore"), map(decoded, row[2:4]), strict=True))
    for name, value in found.items():
        if value:
            yield failed(
                Reason.BINLOG_FILTERED,
                f"{source.where} runs with binlog_{name}_db={value}: changes can be missing from its binlog; "
                f"start it without binlog_{name}_db",
            )


def _gtid(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    if source.mariadb:
        if not source.is_on("gtid_strict_mode"):
            yield warning(
                Reason.GTID_STRICT_MODE_OFF,
                f"{source.where} has gtid_strict_mode=OFF: its GTIDs may run out of order, and a resumed Ferry "
                "could then start at the wrong position; SET GLOBAL gtid_strict_mode = ON",
            )
    elif (value := source.variable("gtid_mode", "OFF")) != "ON":
        turn_on = (
            "SET GLOBAL enforce_gtid_consistency = ON, then gtid_mode = OFF_PERMISSIVE, ON_PERMISSIVE and ON, in this "
            "order"
        )
        if context.by_gtid:
            yield failed(
                Reason.GTID_MODE_OFF,
                f"{source.where} has gtid_mode={value}, and this Ferry began with GTIDs and needs ON: {turn_on}",
            )
        else:
            yield warning(
                Reason.GTID_MODE_OFF,
                f"{source.where} has gtid_mode={value}: its binlog is followed by file and offset, and every read "
                "that copies rows locks them (LOCK IN SHARE MODE), so that transactions of applications wait for reads "
                "and may end in a deadlock. To avoid this, before the copy begins: " + turn_on,
            )


def _retention(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    seconds = source.number("binlog_expire_logs_seconds") or int(
        float(source.variable("expire_logs_days") or 0) * 86400
    )
    needed = max(SHORT_RETENTION, 2 * copy_seconds(context))
    if seconds == 0 or source.variable("binlog_expire_logs_auto_purge", "ON") == "OFF":
        yield passed("binlogs are kept until somebody purges them")
    elif seconds < needed:
        name, longer = context.source.version.retention_variable, max(needed, 7 * 86400)
        value = longer if name.endswith("seconds") else math.ceil(longer / 86400)
        yield warning(
            Reason.BINLOG_RETENTION_SHORT,
            f"{source.where} purges binlogs after {seconds} s ({seconds / 3600:.1f} h): a copy or a pause that takes "
            f"longer must start over; SET GLOBAL {name} = {value}",
        )
    else:
        yield passed(f"binlogs are kept for {seconds / 3600:.0f} h")


def _replica(context: PreflightContext) -> Iterator[Finding]:
    if context.spec.source.primary is not None:
        return  # meant to be one: ``preflight.primary``
    source = context.source_facts
    running = []
    rows = _replication(context)
    for row in rows:
        running += [name for name in ("io", "sql") if row[name] != "No"]
    if rows and not (source.is_on("log_replica_updates") or source.is_on("log_slave_updates")):
        yield failed(
            Reason.REPLICA_CHANGES_NOT_LOGGED,
            f"{source.where} is a replica that does not log what it applies: start it with log_replica_updates=ON "
            "(MariaDB: log_slave_updates), or use its primary as the source",
        )
    message = f"{source.where} is a replica: its primary writes to it in spite of any lock"
    if running and (context.makes_source_read_only or context.locks_source_tables):
        yield failed(
            Reason.SOURCE_IS_REPLICA,
            f"{message}, and sourceLock {context.spec.cutover.source_lock.value} cannot stop that; name "
            "its primary in spec.source.primary (with cutover.sourceLock: ReadOnly), use the primary itself as the "
            "source, run STOP REPLICA (MariaDB: STOP SLAVE) there, or stop the writes yourself and set "
            "cutover.sourceLock: None",
        )
    elif running:
        yield refused(context, Reason.SOURCE_IS_REPLICA, message)
    elif rows:
        yield warning(Reason.SOURCE_IS_REPLICA, f"{message}, if somebody starts its stopped replication threads again")


def _replication(context: PreflightContext) -> list[dict[str, str]]:
    """One dict with keys io and sql for each replication channel."""
    if context.source_facts.mariadb:
        # SHOW ALL SLAVES STATUS has two more columns in front than SHOW SLAVE STATUS: the connection's name and a
        # state.
        rows = context.source.query(context.source.version.replica_status)
        return [{"io": decoded(row[12]), "sql": decoded(row[13])} for row in rows]
    rows = context.source.query(context.source.version.replica_status)
    return [{"io": decoded(row[10]), "sql": decoded(row[11])} for row in rows]


CHECKS = (
    # Without a binlog the checks below are pointless.
    Check("binlog on", "source", _enabled),
    Check("server id", "source", _server_id),
    Check("binlog format", "source", _format),
    Check("binlog row image", "source", _image),
    Check("binlog filters", "source", _filters),
    Check("GTIDs", "source", _gtid),
    Check("binlog retention", "source", _retention),
    Check("replication", "source", _replica),
)
