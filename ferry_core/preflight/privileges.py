"""Checks that the accounts have the privileges that a run needs. Every failure contains the GRANT that fixes it."""

from collections.abc import Iterator

from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.grants import schema_pattern
from ferry_core.preflight.lease import OWN_SCHEMA
from ferry_core.preflight.result import Check, Finding, Status
from ferry_core.reasons import Reason
from ferry_core.text import shortlist

WRITING = ("SELECT", "INSERT", "DELETE", "DROP")
CREATING = (*WRITING, "CREATE", "ALTER", "INDEX", "REFERENCES")
_TABLES_LOCKED = "cutover.sourceLock: LockTables"
OWNING = ("SELECT", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ALTER", "INDEX", "CREATE TEMPORARY TABLES")


def lacks(server: ServerFacts, privileges: str, scope: str, why: str) -> Finding:
    statement = f"GRANT {privileges} ON {scope} TO {server.account}"
    return Finding(
        Status.FAILED,
        Reason.MISSING_PRIVILEGE,
        f"{server.where}: the account {server.account} lacks {privileges} {why}; run there: {statement}",
        statement=statement,
    )


def _missing_everywhere(server: ServerFacts, wanted: dict[str, str]) -> Iterator[Finding]:
    """``wanted``: each privilege, and what it is for."""
    missing = [privilege for privilege in wanted if not server.grants.everywhere(privilege)]
    if missing:
        reasons = ", ".join(dict.fromkeys(wanted[privilege] for privilege in missing))
        yield lacks(server, ", ".join(missing), "*.*", f"({reasons})")


def _read_tables(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    unreadable: dict[str, list[str]] = {}
    for table in context.tables:
        if not source.grants.on_table("SELECT", *table.source):
            unreadable.setdefault(table.source.schema, []).append(table.source.name)
    for schema, names in unreadable.items():
        scope = scope_of(source, schema)
        yield lacks(source, "SELECT", scope, f"on {schema}: {shortlist(names, 5)}")


def _lock_tables(context: PreflightContext) -> Iterator[Finding]:
    """For ``consistency.table_locks``, and for reads with locks."""
    source = context.source_facts
    locking = context.reads_lock and not context.source.version.select_may_lock
    schemas = sorted({table.source.schema for table in context.tables if locking or not table.transactional})
    for schema in schemas:
        if not context.locks_source_tables and not source.grants.on_schema("LOCK TABLES", schema):
            why = f"on {schema}: with MyISAM and Aria, reads wait for writes by LOCK TABLES"
            if locking:
                why = f"on {schema}: without GTIDs reads lock rows, which needs it on MySQL before 8.0.22"
            yield lacks(source, "LOCK TABLES", scope_of(source, schema), why)


def scope_of(server: ServerFacts, schema: str) -> str:
    return schema_pattern(schema, wildcards=not server.is_on("partial_revokes")) + ".*"


def follow_source(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    if source.mariadb:
        wanted = {
            "REPLICATION SLAVE": "to read the binlog",
            "BINLOG MONITOR": "to ask for its state",
            "REPLICA MONITOR": "to see whether the source is a replica",
        }
    else:
        wanted = {
            "REPLICATION SLAVE": "to read the binlog",
            "REPLICATION CLIENT": "to ask for its state",
        }
        if context.source.version.dynamic_privileges:
            wanted["XA_RECOVER_ADMIN"] = "to see prepared XA transactions"
    if lists_late(source):
        wanted["PROCESS"] = "to see XA transactions that are being prepared"
    yield from _missing_everywhere(source, wanted)


def lists_late(source: ServerFacts) -> bool:
    """Whether an XA PREPARE is in the binlog before XA RECOVER lists it: ``mysql.xa.being_prepared``."""
    return source.mariadb or source.version < (8, 0, 30)


def _lock_source(context: PreflightContext) -> Iterator[Finding]:
    """Privileges for cutover.sourceLock: ReadOnly and LockTables."""
    source = context.written_facts
    if context.locks_source_tables:
        for schema in sorted({table.source.schema for table in context.tables}):
            if not source.grants.on_schema("LOCK TABLES", schema):
                yield lacks(source, "LOCK TABLES", scope_of(source, schema), f"on {schema}: for {_TABLES_LOCKED}")
        if context.spec.source.primary is not None or not lists_late(source):
            yield from _missing_everywhere(source, {"PROCESS": f"for {_TABLES_LOCKED}, to name who is in the way"})
    if not context.makes_source_read_only:
        return
    wanted = {}
    if context.spec.source.primary is not None or not lists_late(source):
        wanted["PROCESS"] = "to name transactions that stand in the way of the cutover"
    why = "for cutover.sourceLock: ReadOnly"
    # In MariaDB 10.11 SUPER no longer includes READ_ONLY ADMIN.
    if not source.mariadb and not source.grants.everywhere("SUPER"):
        parts = (
            ("SYSTEM_VARIABLES_ADMIN", "CONNECTION_ADMIN") if context.written.version.dynamic_privileges else ("SUPER",)
        )
        wanted |= dict.fromkeys(parts, why)
    elif source.mariadb and (source.version >= (10, 11) or not source.grants.everywhere("SUPER")):
        wanted |= {"READ_ONLY ADMIN": why}
    yield from _missing_everywhere(source, wanted)


def _ask_primary(context: PreflightContext) -> Iterator[Finding]:
    """What an attempt asks of the primary of a source that is a replica."""
    if context.spec.source.primary is None:
        return
    primary = context.written_facts
    if primary.mariadb:
        wanted = {
            "REPLICA MONITOR": "to see whether it is a replica",
            "BINLOG MONITOR": "to ask for its binlog's state",
        }
    else:
        wanted = {"REPLICATION CLIENT": "to see whether it is a replica"}
        if context.written.version.dynamic_privileges:
            wanted["XA_RECOVER_ADMIN"] = "to see prepared XA transactions"
    yield from _missing_everywhere(primary, wanted)


def _write_target(context: PreflightContext) -> Iterator[Finding]:
    target = context.target_facts
    wanted = CREATING if context.creates_tables else WRITING
    if not target.mariadb:
        # MySQL shows triggers only to accounts that have it, and each trigger would fire for copied rows
        wanted = (*wanted, "TRIGGER")
    by_schema: dict[str, set[str]] = {}
    for table in context.tables:
        needed = {privilege for privilege in wanted if not target.grants.on_table(privilege, *table.target)}
        by_schema.setdefault(table.target.schema, set()).update(needed)
    by_schema[OWN_SCHEMA] = {name for name in OWNING if not target.grants.on_schema(name, OWN_SCHEMA)}
    for schema, missing in by_schema.items():
        if missing and schema == OWN_SCHEMA:
            scope = scope_of(target, schema)
            if not target.is_on("partial_revokes"):  # which disables wildcards in schema names
                scope = scope.replace("`.*", "%`.*")  # includes the schemas in which definitions are tried
            yield lacks(target, "ALL", scope, "for the Ferry's own tables")
        elif missing:
            listed = ", ".join(name for name in wanted if name in missing)
            yield lacks(target, listed, scope_of(target, schema), f"on {schema}")


CHECKS = (
    # Reading rows, then following changes, then the cutover: the order in which a run would need them.
    Check("privileges: read tables", "source", _read_tables),
    Check("privileges: wait for writes", "source", _lock_tables),
    Check("privileges: read the binlog", "source", follow_source),
    Check("privileges: lock the source", "source", _lock_source),
    Check("privileges: ask the primary", "source", _ask_primary),
    Check("privileges: write", "target", _write_target),
)
