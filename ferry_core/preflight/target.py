"""Checks that the target's tables are empty or hold this Ferry's own rows. Rows of others are never touched."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ferry_core.api.choices import OnNewTable
from ferry_core.api.report import Phase
from ferry_core.consistency.fence import COMPLETED
from ferry_core.consistency.holder import read_holder
from ferry_core.consistency.own_tables import removed_by_hand
from ferry_core.errors import ConfigError
from ferry_core.mysql.listings import holds_rows, rows_of
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.preflight.context import CannotAskError, PreflightContext
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.preflight.foreign_keys import with_dependants
from ferry_core.preflight.lease import Lease
from ferry_core.preflight.result import Check, Finding, failed, refused, warning
from ferry_core.preflight.structure import differences, of_other_family, plainly, structures
from ferry_core.reasons import Reason
from ferry_core.rows.target_keys import known_key_index
from ferry_core.schema.cascades import cascades_among
from ferry_core.schema.create import take_literally
from ferry_core.tables.families import NoCounterpartError
from ferry_core.tables.table import Table, TableName
from ferry_core.text import counted, shortlist

ABANDONED = (Phase.ABORTED.value,)
"""Phases in which a Ferry has released its tables; nobody owns their rows then."""


def _claimed(lease: Lease, tables: Iterable[Table], ferry_uid: str, facts: ServerFacts) -> list[Table]:
    """Our tables that a lease claims. For the lease of another Ferry this includes ambiguous names."""
    perhaps = frozenset[TableName]() if lease.ferry_uid == ferry_uid else lease.perhaps
    names = set(map(facts.folded, lease.tables | perhaps))
    return [table for table in tables if facts.folded(table.target) in names]


def claims_in_the_way(
    leases: Iterable[Lease], tables: Sequence[Table], ferry_uid: str, facts: ServerFacts
) -> Iterator[Finding]:
    """Leases because of which this Ferry must not write to its tables. ``run.claim`` asks once more."""
    for lease in leases:
        named = shortlist([table.target for table in _claimed(lease, tables, ferry_uid, facts)], 5)
        ours = lease.ferry_uid == ferry_uid
        if lease.phase == COMPLETED and (ours or named):
            yield failed(Reason.ALREADY_CUT_OVER, _already_cut_over(lease, named, facts))
        elif ours and lease.phase in ABANDONED:
            yield failed(
                Reason.ABORTED,
                f"{facts.where} records that this Ferry was aborted: it cannot continue. To move again, give it "
                f"another name, or run ferry cleanup for it and empty its target tables",
            )
        elif named and not ours and lease.phase not in ABANDONED:
            yield failed(
                Reason.TARGET_OWNED_BY_ANOTHER_FERRY,
                f"{facts.where}: the Ferry {lease.name} ({lease.ferry_uid}, {lease.phase}) uses {named}; if that "
                "Ferry exists in a cluster, delete it there; if not, run ferry cleanup with its manifest and "
                f"metadata.uid: {lease.ferry_uid}; or choose other target tables",
            )


def _already_cut_over(lease: Lease, named: str, facts: ServerFacts) -> str:
    """The record protects all tables of its Ferry, so a person learns which before giving it up."""
    live = shortlist(sorted(lease.tables), 5)
    return (
        f"{facts.where} was already cut over by the Ferry {lease.name}: its tables are live there"
        f"{f', {named} of this Ferry too' if named else ''}. Choose other target tables (renameSchemas, a rule's "
        f"target). Only if none of {live} is live any more: empty or drop those to be copied again, and "
        f"{removed_by_hand(lease.ferry_uid)}"
    )


def _leases(context: PreflightContext) -> Iterator[Finding]:
    yield from claims_in_the_way(context.leases, context.tables, context.ferry_uid, context.target_facts)


def _own(context: PreflightContext) -> set[Table]:
    if context.own_lease is None:
        return set()
    return set(_claimed(context.own_lease, context.tables, context.ferry_uid, context.target_facts))


def _written(context: PreflightContext, started: Collection[str]) -> set[Table]:
    """Our tables that may contain rows of this Ferry."""
    lease, folded = context.own_lease, context.target_facts.folded
    if lease is None:
        return set()
    unwritten = set(map(folded, lease.unwritten))
    recorded = started if not lease.by_table else ()
    return {table for table in _own(context) if table.id in recorded or folded(table.target) not in unwritten}


def _rows(context: PreflightContext) -> Iterator[Finding]:
    if (started := context.started) is None:
        raise CannotAskError("the state, which records this Ferry's rows, could not be read")
    perhaps_ours = _written(context, started)
    holding = [
        table
        for table in context.tables
        if (table not in perhaps_ours or table.id not in started)
        and not (table.id in context.dropped_again and table in perhaps_ours)
        and table.target in context.existing_targets
        and holds_rows(context.target, table.target)
    ]
    phase = context.own_lease.phase if context.own_lease else None
    forgotten = [table for table in holding if table in perhaps_ours and table.id not in context.copied_again]
    full = [table for table in holding if table not in perhaps_ours]
    ended = phase in (COMPLETED, *ABANDONED)  # reported by the check of leases
    if forgotten and context.stateless and not context.restart and not ended:
        yield failed(Reason.STATE_MISSING, _state_missing(context, forgotten))
    elif forgotten:
        names = ", ".join(str(table.target) for table in forgotten)
        yield warning(
            Reason.FORGOTTEN_ROWS,
            f"{context.target_facts.where}: rows of an earlier run of this Ferry are in {names}, and "
            f"{context.state_at} has no record of them: a run deletes these rows and copies the tables again; to "
            f"resume instead, restore the state",
        )
    if full:
        said = not_empty(context.target, [table.target for table in full])
        yield failed(Reason.TARGET_NOT_EMPTY, said, with_dependants(context, full))


def not_empty(target: Session, tables: Iterable[TableName]) -> str:
    """The message of TargetNotEmpty."""
    return (
        f"{target.endpoint.where}: rows that this Ferry did not write are in {', '.join(map(str, tables))}; empty or "
        "drop these tables, or choose other target tables (renameSchemas, a rule's target)"
    )


def _state_missing(context: PreflightContext, tables: list[Table]) -> str:
    names = " OR ".join(
        f"(TABLE_SCHEMA = {string(table.target.schema)} AND TABLE_NAME = {string(table.target.name)})"
        for table in tables
    )
    rows = context.target.number(f"SELECT SUM(TABLE_ROWS) FROM information_schema.TABLES WHERE {names}")
    earlier = read_holder(context.target, context.ferry_uid)
    known = f" It began at {earlier.began}; its last run, {earlier}, kept {earlier.state}." if earlier else ""
    listed = shortlist([table.target for table in tables], 5)
    return (
        f"{context.target_facts.where}: this Ferry has copied about {counted(rows, 'row')} to "
        f"{listed}, but there is no {context.state_at}, which would say how far the copy is.{known} Give "
        f"that state with --state, or restore it; or start with --restart, which deletes these rows and copies them "
        "again. In a cluster: empty these tables, and the Ferry starts over"
    )


def _missing(context: PreflightContext) -> Iterator[Finding]:
    missing = [table for table in context.tables if table.target not in context.existing_targets]
    if missing and not context.creates_tables:
        names = ", ".join(str(table.target) for table in missing)
        yield failed(
            Reason.TARGET_TABLE_MISSING,
            f"{context.target_facts.where} does not have {names}, and schema.create is Never: create them, or set "
            "schema.create: IfMissing",
            with_dependants(context, missing),
        )
        return
    for table in missing:
        try:
            take_literally(context.target, table)
        except ConfigError as error:
            yield failed(Reason.TARGET_CHANGES_DEFINITIONS, error.message)


def unlike_tables(context: PreflightContext) -> Iterator[tuple[Table, list[str]]]:
    """Existing tables that cannot hold the source's rows exactly, each with the difference."""
    existing = [table for table in context.tables if table.target in context.existing_targets]
    if not existing:
        return
    folded = context.target_facts.folded
    on_source = structures(context.source, {table.source for table in existing})
    on_target = {
        folded(name): found for name, found in structures(context.target, {table.target for table in existing}).items()
    }
    own, cascading = _own(context), _cascading(context)
    for table in existing:
        here, there = on_source.get(table.source), on_target.get(folded(table.target))
        if here is None or there is None:
            continue  # dropped since: the run reads definitions again before its first row
        if context.crosses:
            try:
                here = of_other_family(table, here, there, context.target.version, cascading.get(table, ()))
                there = plainly(there)
            except NoCounterpartError as problem:
                yield table, [str(problem)]
                continue
        found = list(differences(table, here, there, ours=table in own, cascading=cascading.get(table, ())))
        if table.key.promised and not known_key_index(context.target, table):
            key = ", ".join(column.name for column in table.key.columns)
            found.append(f"it has no index that begins with the key ({key}) that its rule names")
        if found:
            yield table, found


def _cascading(context: PreflightContext) -> Mapping[Table, set[str]]:
    """Columns on both ends of the cascades that a run follows by their values, in lower case."""
    found: dict[Table, set[str]] = {}
    if context.source_facts.variable("innodb_native_foreign_keys").upper() == "OFF":
        return found  # the source logs the rows that cascades change
    for cascade in cascades_among(context.tables):
        if not cascade.child.whole:
            for table, columns in (cascade.parent, cascade.referenced), (cascade.child, cascade.referencing):
                found.setdefault(table, set()).update(column.name.lower() for column in columns)
    return found


def is_recreated(context: PreflightContext, table: Table) -> bool:
    """Whether the run drops a table that differs from the source's and creates it again, because an earlier start
    created it.

    Not if it holds rows: somebody may have loaded them since. Or because it is copied again.
    """
    if table.id in context.dropped_again and table in _own(context):
        return True
    ours = context.creates_tables and table.id in context.recreatable and table in _own(context)
    return ours and not holds_rows(context.target, table.target)


def unlike(context: PreflightContext) -> Iterator[Finding]:
    """The differing tables that are not created again. ``run`` checks again before the copy."""
    for table, found in unlike_tables(context):
        if not is_recreated(context, table):
            yield failed(
                Reason.TARGET_TABLE_DIFFERS,
                f"{context.target_facts.where}: {table.target} differs from {table.source} on the source: "
                f"{'; '.join(found)}. Alter it, or drop it and let schema.create: IfMissing make it",
                with_dependants(context, [table]),
            )


def triggers(context: PreflightContext) -> Iterator[Finding]:
    folded = context.target_facts.folded
    ours = {folded(table.target) for table in context.tables}
    of = "EVENT_OBJECT_SCHEMA", "EVENT_OBJECT_TABLE"
    rows = rows_of(context.target, ours, "TRIGGERS", "TRIGGER_NAME", order="3", of=of)
    found = [
        f"{decoded(trigger)} on {TableName(schema, name)}"
        for schema, name, trigger in ((decoded(a), decoded(b), c) for a, b, c in rows)
        if folded(TableName(schema, name)) in ours
    ]
    if found:
        yield refused(
            context,
            Reason.TARGET_TRIGGERS,
            f"{context.target_facts.where} has triggers that would fire for every copied row: {', '.join(found)}; drop "
            "them and create them again after the cutover",
        )


def _new_tables(context: PreflightContext) -> Iterator[Finding]:
    if not context.creates_tables and context.spec.schema_.on_new_table is OnNewTable.COPY:
        yield warning(
            Reason.NEW_TABLES_NOT_CREATED,
            "schema.create is Never, so the tables that schema.onNewTable: Copy adds are not created either: one that "
            "the target does not have by then ends the run with TargetTableMissing; create it on the target before the "
            "source, or set schema.create: IfMissing or schema.onNewTable: Ignore",
        )


CHECKS = (
    # First whose the tables are: only then their content matters.
    Check("leases", "target", _leases),
    Check("tables there", "target", _missing),
    Check("new tables", "target", _new_tables),
    Check("tables alike", "target", unlike),
    Check("tables empty or ours", "target", _rows),
    Check("triggers", "target", triggers),
)
