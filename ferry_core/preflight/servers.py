"""Checks that the two servers fit together, and that the target accepts a run's writes."""

import secrets
from collections.abc import Iterator, Sequence

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.session import Session
from ferry_core.mysql.version import (
    OLDEST_SOURCE,
    OLDEST_SOURCE_ACROSS,
    OLDEST_TARGET,
    OLDEST_TARGET_ACROSS,
)
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.preflight.foreign_keys import with_dependants
from ferry_core.preflight.result import Check, Finding, failed, passed, warning
from ferry_core.reasons import Reason
from ferry_core.tables.alike import plain_collation
from ferry_core.tables.table import Table, TableName
from ferry_core.text import shortlist

SMALL_PACKET = 16 << 20


def _versions(context: PreflightContext) -> Iterator[Finding]:
    source, target = context.source_facts, context.target_facts
    for server, session, oldest in (
        (source, context.source, OLDEST_SOURCE if not context.crosses else OLDEST_SOURCE_ACROSS),
        (target, context.target, OLDEST_TARGET if not context.crosses else OLDEST_TARGET_ACROSS),
    ):
        if session.version.number < oldest[session.flavor]:
            names = " or ".join(f"{one.value} {'.'.join(map(str, number))}" for one, number in oldest.items())
            yield failed(
                Reason.UNSUPPORTED_VERSION,
                f"{server.where} is {server.version_text}: {names} is the oldest that works "
                f"{'between MySQL and MariaDB' if context.crosses else 'there'}; upgrade it",
            )
    yield passed(f"{source.version_text} to {target.version_text}")


def _one_server(one: Session, other: Session) -> bool:
    """Whether both sessions are connected to one server, whatever its address: one sees the other's named lock."""
    lock = AdvisoryLock(f"mysql-ferry-{secrets.token_hex(16)}")
    lock.take(one)
    try:
        return lock.holder(other) == one.connection_id
    finally:
        lock.release(one)


def _same_server(context: PreflightContext) -> Iterator[Finding]:
    target = context.target_facts
    if context.spec.source.primary is not None and _one_server(context.written, context.target):
        yield failed(
            Reason.SOURCE_IS_TARGET,
            f"{context.written_facts.where} and target {target.address} are the same server: what is written there "
            "comes back through the source, its replica; correct the target's host",
        )
    if not _one_server(context.source, context.target):
        return
    sources = {target.folded(table.source) for table in context.tables}
    both = sorted(str(table.target) for table in context.tables if target.folded(table.target) in sources)
    where = f"source {context.source_facts.address} and target {target.address} are the same server"
    if both:
        yield failed(
            Reason.SOURCE_IS_TARGET,
            f"{where}, and {shortlist(both, 5)} would be copied onto a source table; correct the target's host, "
            "or rename with tables.renameSchemas or a rule's target",
        )
    elif context.makes_source_read_only:
        yield failed(
            Reason.SOURCE_IS_TARGET,
            f"{where}, and sourceLock ReadOnly would lock the target too; correct the target's host, "
            "or stop the writes yourself with cutover.sourceLock: None",
        )


def _name_case(context: PreflightContext) -> Iterator[Finding]:
    source, target = context.source_facts, context.target_facts
    values = [server.number("lower_case_table_names") for server in (source, target)]
    if values[0] != values[1]:
        yield failed(
            Reason.NAME_CASE_DIFFERS,
            f"lower_case_table_names is {values[0]} on {source.where} and {values[1]} on {target.where}: names that "
            "differ only in case could become one; use a target with the source's value (it is fixed when a server is "
            "initialised)",
        )


def _writable(context: PreflightContext) -> Iterator[Finding]:
    target = context.target_facts
    on = [name for name in ("super_read_only", "read_only", "innodb_read_only") if target.is_on(name)]
    if on:
        yield failed(
            Reason.TARGET_READ_ONLY,
            f"{target.where} has {' and '.join(name + '=ON' for name in on)}: SET GLOBAL "
            f"{', GLOBAL '.join(name + ' = OFF' for name in reversed(on))}, or point the Ferry at its primary",
        )


def _cluster(context: PreflightContext) -> Iterator[Finding]:
    target = context.target_facts
    kind = "Galera" if target.is_on("wsrep_on") else ""
    if not target.mariadb and target.variable("group_replication_group_name"):
        try:
            members = context.target.number(
                "SELECT COUNT(*) FROM performance_schema.replication_group_members WHERE MEMBER_STATE <> 'OFFLINE'"
            )
        except ConfigError:
            members = 1  # not allowed to ask: use the group's name alone
        kind = "Group Replication" if members else kind
    if kind:
        yield failed(
            Reason.CLUSTER_TARGET,
            f"{target.where} is a member of a {kind} cluster, whose row locks hold on one node only: two runs could "
            f"write at once; use a target outside of the cluster",
        )


def _local_infile(context: PreflightContext) -> Iterator[Finding]:
    target = context.target_facts
    if not target.is_on("local_infile"):
        yield warning(
            Reason.LOCAL_INFILE_DISABLED,
            f"{target.where} has local_infile=OFF: rows are sent as REPLACE ... VALUES, which is slower than LOAD DATA "
            "LOCAL, and a row must fit the target's max_allowed_packet; SET GLOBAL local_infile = ON before the start",
        )


def _packets(context: PreflightContext) -> Iterator[Finding]:
    source, target = context.source_facts, context.target_facts
    sizes = [server.number("max_allowed_packet") for server in (source, target)]
    if sizes[1] < sizes[0]:
        yield warning(
            Reason.SMALL_PACKET,
            f"max_allowed_packet is {sizes[0]} on {source.where} and only {sizes[1]} on {target.where}: a row that "
            f"fits only the first stops the run; SET GLOBAL max_allowed_packet = {sizes[0]} on the target",
        )
    elif min(sizes) < SMALL_PACKET:
        yield warning(
            Reason.SMALL_PACKET,
            f"max_allowed_packet is {min(sizes)}: chunks become small and the copy slow; "
            f"SET GLOBAL max_allowed_packet = {64 << 20} on both servers",
        )


def _primary_keys(context: PreflightContext) -> Iterator[Finding]:
    target = context.target_facts
    on = [name for name in ("sql_require_primary_key", "innodb_force_primary_key") if target.is_on(name)]
    without = [
        table
        for table in context.tables
        if table.key.index_name != "PRIMARY" and table.target not in context.existing_targets
    ]
    if on and without and not _turned_off(context, on[0]):
        yield failed(
            Reason.PRIMARY_KEY_REQUIRED,
            f"{target.where} has {on[0]}=ON, and {', '.join(table.id for table in without)} have none: "
            f"SET GLOBAL {on[0]} = OFF, or create these tables there yourself",
            with_dependants(context, without),
        )


def _turned_off(context: PreflightContext, name: str) -> bool:
    """Whether the account may change the session settings of ``schema.building``; MariaDB has none of them."""
    try:
        context.target.execute(f"SET SESSION {name} = OFF")
    except (ConfigError, DataError):
        return False
    return True


def _collations(context: PreflightContext) -> Iterator[Finding]:
    source, target = context.source_facts, context.target_facts
    known = _known_collations(context, target)
    created = [table for table in context.tables if table.target not in context.existing_targets]
    by_id = {table.id: table for table in created}
    if context.crosses:
        return  # the check of the families translates them
    used = {(column.collation, table.id) for table in created for column in table.columns if column.collation}
    if context.creates_tables:
        used |= _table_collations(context, created)
    missing: dict[str, list[str]] = {}
    for collation, table_id in sorted(used):
        if plain_collation(collation) not in known:
            missing.setdefault(collation, []).append(table_id)
    for collation, tables in missing.items():
        yield failed(
            Reason.UNKNOWN_COLLATION,
            f"{target.where} does not know the collation {collation} of {shortlist(tables, 5)} on {source.where}: "
            "change it on the source, create the table there yourself, or use a target of the source's version",
            with_dependants(context, [by_id[table_id] for table_id in tables]),
        )


def _known_collations(context: PreflightContext, target: ServerFacts) -> set[str]:
    # Only here MariaDB lists its UCA 14.0.0 collations by their full names.
    column, view = (
        ("FULL_COLLATION_NAME", "COLLATION_CHARACTER_SET_APPLICABILITY")
        if target.mariadb and target.version >= (10, 10)
        else ("COLLATION_NAME", "COLLATIONS")
    )
    rows = context.target.query(f"SELECT {column} FROM information_schema.{view}")
    return {plain_collation(decoded(row[0])) for row in rows}


def _table_collations(context: PreflightContext, tables: Sequence[Table]) -> set[tuple[str, str]]:
    wanted = {table.source: table.id for table in tables}
    rows = rows_of(context.source, wanted, "TABLES", "TABLE_COLLATION")
    named = [(decoded(row[2]), TableName(decoded(row[0]), decoded(row[1]))) for row in rows]
    return {(collation, wanted[name]) for collation, name in named if collation and name in wanted}


CHECKS = (
    # First of all find out which family answers: everything else depends on it.
    Check("versions", "both", _versions),
    Check("different servers", "both", _same_server),
    Check("case of names", "both", _name_case),
    Check("writable", "target", _writable),
    Check("no cluster", "target", _cluster),
    Check("LOAD DATA LOCAL", "target", _local_infile),
    Check("packets", "both", _packets),
    Check("primary keys required", "target", _primary_keys),
    Check("collations known", "target", _collations),
)
