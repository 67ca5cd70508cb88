"""Checks that the selected tables can be copied exactly while they change."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from ferry_core.api.selection import TableRule
from ferry_core.errors import ConfigError, DataError, FerryError
from ferry_core.mysql.faults import table_is_gone
from ferry_core.mysql.listings import listed, rows_of
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import decoded
from ferry_core.preflight.foreign_keys import with_dependants
from ferry_core.preflight.result import Check, Finding, failed, passed, refused, warning
from ferry_core.reasons import Reason
from ferry_core.schema.tokens import readings
from ferry_core.tables.nullable import may_become_null
from ferry_core.tables.patterns import matches
from ferry_core.tables.table import SUPPORTED_ENGINES, WITHOUT_TRANSACTIONS, Table, TableName, unquoted
from ferry_core.tables.whole import add_key, counter, estimated_seconds, no_longer_whole, size
from ferry_core.text import counted, shortlist

_WHY = {
    "MEMORY": "loses its rows when the server restarts",
    "MRG_MYISAM": "has no rows but those of other tables, and what is written through it is logged under its name: "
    "drop it, move those tables, and create it on the target after the cutover",
    "ARCHIVE": "cannot change or delete a row",
    "CSV": "has no keys",
    "BLACKHOLE": "has no rows",
}

_MERGE_TABLES = "SELECT table_schema, table_name FROM information_schema.tables WHERE engine = 'MRG_MYISAM'"
_NAMES = re.compile(r"(?:(`(?:[^`]|``)+`)\.)?(`(?:[^`]|``)+`)")


def other_engines(context: PreflightContext) -> Sequence[Table]:
    """Selected tables whose engine is not supported."""
    return [table for table in context.tables if table.engine not in SUPPORTED_ENGINES]


def _engines(context: PreflightContext) -> Iterator[Finding]:
    for engine, tables in _by(other_engines(context), lambda table: table.engine):
        why = _WHY.get(engine.upper(), "is not supported")
        yield failed(
            Reason.UNSUPPORTED_TABLE,
            f"{context.source_facts.where}: {_names(tables)} use the engine {engine}, which {why}; ALTER TABLE ... "
            "ENGINE=InnoDB on the source, or leave them out with tables.exclude",
            with_dependants(context, tables),
        )


def merged(context: PreflightContext) -> Iterator[Finding]:
    """What is written through a MERGE table is logged as rows of that table only (seen on both families)."""
    myisam = {(each.source.schema.lower(), each.source.name.lower()): each for each in _of_myisam(context)}
    if not myisam:
        return
    source = context.source
    for row in listed(source, _MERGE_TABLES):
        merge = TableName(decoded(row[0]), decoded(row[1]))
        try:
            definition = decoded(source.row(f"SHOW CREATE TABLE {merge.sql}", 2)[1])
        except FerryError as error:
            if table_is_gone(error):
                continue
            if not isinstance(error, DataError | ConfigError):
                raise
            yield failed(
                Reason.UNSUPPORTED_TABLE,
                f"{context.source_facts.where}: it is unknown whether the MERGE table {merge} writes to selected "
                f"tables of MyISAM, whose changes would be missed: {error.message}; drop {merge} on the source (it "
                "has no rows of its own), or let this account read its definition",
            )
            continue
        _, _, options = definition.partition("\n) ENGINE=")
        names = [(unquoted(schema) or merge.schema, unquoted(name)) for schema, name in _NAMES.findall(options)]
        tables = [myisam[key] for key in dict.fromkeys((a.lower(), b.lower()) for a, b in names) if key in myisam]
        if tables:
            yield failed(
                Reason.UNSUPPORTED_TABLE,
                f"{context.source_facts.where}: the MERGE table {merge} writes to {_names(tables)}, and the binlog "
                f"names only {merge} then, so such changes would be missed; drop {merge} on the source (it has no "
                "rows of its own) and create it again after the cutover, or leave these tables out with "
                "tables.exclude",
                with_dependants(context, tables),
            )


def _of_myisam(context: PreflightContext) -> Iterator[Table]:
    return (each for each in context.tables if each.engine == "MyISAM")


def _without_key(context: PreflightContext) -> Iterator[Finding]:
    """They are copied whole, and again after they were changed: the last time while writes are stopped."""
    whole = [table for table in context.tables if not table.key.columns]
    deadline = float(context.spec.cutover.deadline)
    slow = [table for table in whole if estimated_seconds(table) > deadline]
    keys = tuple((table.source, counter(table)) for table in whole if _may_have_rule(context, table))
    if slow:
        needs = [
            f"{table.id} ({size(table)}) needs about {estimated_seconds(table):.0f} s under the lock ({add_key(table)})"
            for table in slow
        ]
        told = warning(
            Reason.NO_USABLE_KEY,
            f"{context.source_facts.where}: tables without a usable key are copied whole, also under the cutover's "
            f"lock if they were written to within the minute before: {shortlist(needs, 5, '; ')}. cutover.deadline is "
            f"{deadline:g} s: raise it, stop the writers of these tables a minute before the cutover, or add a key "
            "with the statement shown",
        )
        yield replace(told, keys=keys)
    elif whole:
        names = shortlist([table.id for table in whole], 10)
        yield replace(passed(f"{counted(len(whole), 'table')} without a usable key, copied whole: {names}"), keys=keys)


def _may_have_rule(context: PreflightContext, table: Table) -> bool:
    """Whether its counter may be its key. A table with a rule gets no other: only the first one counts."""
    return bool(counter(table)) and not may_become_null(table.definition) and _rule(context, table) is None


def _rule(context: PreflightContext, table: Table) -> TableRule | None:
    return next((rule for rule in context.spec.tables.rules if matches(table.source, rule.match)), None)


def _promised(context: PreflightContext) -> Iterator[Finding]:
    """A rule names the key of a table that has no other, and it is not one."""
    for table in context.tables:
        rule = _rule(context, table)
        if rule is None or not rule.key or table.id in (context.started or ()):
            continue
        if table.key.promised or (table.key.columns and not table.key.nullable):
            continue
        yield failed(
            Reason.RULE_KEY_INVALID,
            f"{context.source_facts.where}: [{', '.join(rule.key)}] of rule {rule.match!r} is no key of {table.id}: a "
            "column is missing or generated, no index begins with these columns, rows have NULL or equal values in "
            "them, or a foreign key of the table cascades; correct the rule, or remove key: then the table is copied "
            "whole",
            with_dependants(context, [table]),
        )


def _blocks_writers(context: PreflightContext) -> Iterator[Finding]:
    """A read of a table without transactions holds its lock until the last row has arrived. Without GTIDs a scan of
    InnoDB's tables locks all rows before that.
    """
    whole = [one for one in context.tables if one.whole and estimated_seconds(one) >= 1]
    slow = [one for one in whole if context.reads_lock or not one.transactional]
    if slow:
        needs = [f"{one.id} for about {estimated_seconds(one):.0f} s ({no_longer_whole(one)})" for one in slow]
        yield warning(
            Reason.NO_USABLE_KEY,
            f"{context.source_facts.where}: writes to these tables{_engines_of(slow)} wait each time they are "
            f"copied, because they are copied whole: {shortlist(needs, 5, '; ')}. That is at the start, and after "
            f"changes a tenth of the time at most. If that is too long, do what is shown, or {_way_out(context)}",
        )


def _engines_of(tables: Sequence[Table]) -> str:
    return "" if any(table.transactional for table in tables) else " of MyISAM or Aria"


def _way_out(context: PreflightContext) -> str:
    return "set gtid_mode = ON before the copy begins" if context.reads_lock else "ALTER TABLE ... ENGINE=InnoDB"


def _lockable(context: PreflightContext) -> Iterator[Finding]:
    """The run reads such a table in ways that wait behind a write that waits for the lock (measured)."""
    tables = [one for one in context.tables if one.engine in SUPPORTED_ENGINES and not one.transactional]
    if context.locks_source_tables and tables:
        yield failed(
            Reason.UNSUPPORTED_TABLE,
            f"{context.source_facts.where}: {_names(tables)} have no transactions (MyISAM, Aria), so reads of the run "
            "would wait behind writes that wait for the lock of cutover.sourceLock: LockTables; use ReadOnly, Webhook "
            "or None, ALTER TABLE ... ENGINE=InnoDB on the source, or leave them out with tables.exclude",
            with_dependants(context, tables),
        )


def _locks_other_rows(context: PreflightContext) -> Iterator[Finding]:
    """Who writes rows that stay would wait for the lock, and be taken for a writer whose rows are missing."""
    tables = [one for one in context.tables if one.row_filter]
    if context.locks_source_tables and tables:
        yield failed(
            Reason.UNSUPPORTED_TABLE,
            f"{context.source_facts.where}: only some rows of {_names(tables)} move (where, tenant), but the lock of "
            "cutover.sourceLock: LockTables stops writes to all of their rows, also to those that stay, until "
            "cutover.watchFor is over; use ReadOnly, Webhook or None, or leave them out with tables.exclude",
            with_dependants(context, tables),
        )


def _target_engines(context: PreflightContext) -> Iterator[Finding]:
    """Engines that tables would be created with on the target, which may lack them."""
    if not context.creates_tables:
        return
    missing = [table for table in context.tables if table.target not in context.existing_targets]
    wanted = [table for table in missing if table.target_engine in WITHOUT_TRANSACTIONS]
    if not wanted:
        return
    there = {
        decoded(row[0]).lower() for row in context.target.query("SHOW ENGINES") if decoded(row[1]) in ("YES", "DEFAULT")
    }
    for engine, tables in _by(wanted, lambda table: table.target_engine):
        if engine.lower() not in there:
            yield failed(
                Reason.UNSUPPORTED_TABLE,
                f"{context.target_facts.where} has no engine {engine}, which {_names(tables)} use; set "
                "schema.engine: InnoDB, or leave them out with tables.exclude",
                with_dependants(context, tables),
            )


def _by(tables: Sequence[Table], of: Callable[[Table], str]) -> Iterator[tuple[str, list[Table]]]:
    ordered = sorted(tables, key=lambda table: (of(table), table.source))
    for engine, alike in groupby(ordered, key=of):
        yield engine, list(alike)


def _names(tables: Sequence[Table]) -> str:
    return ", ".join(table.id for table in tables)


def _versioned(context: PreflightContext) -> Iterator[Finding]:
    if not context.source_facts.mariadb:
        return
    selected = {table.source: table for table in context.tables}
    rows = rows_of(context.source, selected, "TABLES", "TABLE_TYPE", condition="TABLE_TYPE = 'SYSTEM VERSIONED'")
    tables = [selected[name] for name in (TableName(*map(decoded, row[:2])) for row in rows) if name in selected]
    if tables:
        yield refused(
            context,
            Reason.SYSTEM_VERSIONED_HISTORY,
            f"{context.source_facts.where}: {_names(tables)} are system-versioned, and only their current rows are "
            "copied, not their history",
            with_dependants(context, tables),
        )


def _periods(context: PreflightContext) -> Iterator[Finding]:
    """A UNIQUE index WITHOUT OVERLAPS compares periods: rows conflict without equal keys, so REPLACE deletes one of
    them.
    """
    if not context.source_facts.mariadb:
        return
    # A definition that could not be read is reported by the privileges check.
    described = [table for table in context.tables if "without overlaps" in table.definition.lower()]
    words = ((table, [token.word for token in next(readings(table.definition))]) for table in described)
    tables = [table for table, its in words if ("WITHOUT", "OVERLAPS") in pairwise(its)]
    if tables:
        yield failed(
            Reason.UNSUPPORTED_TABLE,
            f"{context.source_facts.where}: {_names(tables)} have an index WITHOUT OVERLAPS, which is not copied "
            "exactly; leave them out with tables.exclude",
            with_dependants(context, tables),
        )


CHECKS = (
    Check("engines", "source", _engines),
    Check("MERGE tables", "source", merged),
    Check("tables without a key", "source", _without_key),
    Check("writes that wait", "source", _blocks_writers),
    Check("keys by rule", "source", _promised),
    Check("tables that can be locked", "source", _lockable),
    Check("rows that stay", "source", _locks_other_rows),
    Check("engines there", "target", _target_engines),
    Check("system versioning", "source", _versioned),
    Check("periods", "source", _periods),
)
