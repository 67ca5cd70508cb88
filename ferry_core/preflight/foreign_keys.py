"""Checks whether foreign keys change rows without a binlog event, and whether they can be created.

They are read from SHOW CREATE TABLE, for which SELECT is enough: to an account with only SELECT, MariaDB's
information_schema shows no constraints at all. Children that are not selected are ignored.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from ferry_core.api.choices import ForeignKeys
from ferry_core.mysql.listings import exists
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.result import Check, Finding, failed, passed, warning
from ferry_core.reasons import Reason
from ferry_core.schema.cascades import cascades_among
from ferry_core.schema.definition import ForeignKey
from ferry_core.schema.unfollowed import unfollowed
from ferry_core.tables.table import Table, TableName
from ferry_core.tables.whole import estimated_seconds
from ferry_core.text import counted, shortlist


def dependants(context: PreflightContext, tables: set[Table]) -> list[Table]:
    """Selected tables that reference one of ``tables``, directly or through others: they must be excluded together."""
    folded = context.source_facts.folded
    found: set[Table] = set()
    names = {folded(table.source) for table in tables}
    while more := {
        table
        for table in context.tables
        if table not in found | tables and any(folded(key.references) in names for key in context.foreign_keys[table])
    }:
        found |= more
        names |= {folded(table.source) for table in more}
    return sorted(found, key=lambda table: table.source)


def with_dependants(context: PreflightContext, tables: Collection[Table]) -> list[Table]:
    """``tables`` and those that must be excluded together with them."""
    return [*tables, *dependants(context, set(tables))]


def and_dependants(context: PreflightContext, tables: set[Table]) -> str:
    """Text for the advice to exclude ``tables``; empty if no selected table references them."""
    more = dependants(context, tables)
    return f" together with {', '.join(table.id for table in more)}, which reference them" if more else ""


def _cascades(context: PreflightContext) -> Iterator[Finding]:
    """Rows change with rows of tables that are not selected, and the server does not log that."""
    source = context.source_facts
    if source.variable("innodb_native_foreign_keys").upper() == "OFF":
        return
    followed = {(one.child, one.name) for one in cascades_among(context.tables)}
    for table in context.tables:
        keys = [key for key in context.foreign_keys[table] if key.cascades and (table, key.name) not in followed]
        if keys:
            named = ", ".join(f"{key.name} to {key.references} ({_actions(key)})" for key in keys)
            parents = ", ".join(dict.fromkeys(str(key.references) for key in keys))
            yield failed(
                Reason.FOREIGN_KEY_CASCADES,
                f"{source.where}: {table.source} has the foreign keys {named}: only events of {parents} show when they "
                f"change rows: include {parents}. Otherwise leave {table.source} out with "
                f"tables.exclude{and_dependants(context, {table})}, or make the constraints RESTRICT",
                with_dependants(context, [table]),
            )


def _actions(key: ForeignKey) -> str:
    return f"ON DELETE {key.on_delete} ON UPDATE {key.on_update}"


def _copied_whole(context: PreflightContext) -> Iterator[Finding]:
    """Tables whose rows cascades change so that no lookup finds all of them."""
    whole = [table for table in context.tables if table.copied_whole]
    if not whole:
        return
    source, deadline = context.source_facts, float(context.spec.cutover.deadline)
    full = source.variable("binlog_row_image", "FULL").upper() == "FULL"
    why = unfollowed(context.tables, full_images=full)
    slow = [table for table in whole if estimated_seconds(table) > deadline]
    if slow:
        needs = [
            f"{table.id} needs about {estimated_seconds(table):.0f} s under the lock ({_reasons(why, table)})"
            for table in slow
        ]
        yield warning(
            Reason.FOREIGN_KEY_CASCADES,
            f"{source.where}: tables that a cascade changes without events, and so that no lookup finds the rows, are "
            "copied whole, also under the cutover's lock if they or the tables that they reference were written to "
            f"within the minute before: {shortlist(needs, 5, '; ')}. cutover.deadline is {deadline:g} s: raise it, "
            "stop these writers a minute before the cutover, or make the constraints RESTRICT",
        )
    else:
        named = shortlist([f"{table.id} ({_reasons(why, table)})" for table in whole], 10, "; ")
        yield passed(
            f"copied whole because cascades cannot be followed row by row: {counted(len(whole), 'table')}, {named}"
        )


def _reasons(why: Mapping[Table, Mapping[str, str]], table: Table) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in why.get(table, {}).items()) or "by an earlier run"


def _parents(context: PreflightContext) -> Iterator[Finding]:
    folded = context.source_facts.folded
    selected = {folded(table.source) for table in context.tables}
    for table in context.tables:
        will_be_created = context.creates_tables and table.target not in context.existing_targets
        keys = [key for key in context.foreign_keys[table] if folded(key.references) not in selected]
        if not keys or not will_be_created:
            continue
        referenced = list(dict.fromkeys(key.references for key in keys))
        parents, names = ", ".join(map(str, referenced)), ", ".join(key.name for key in keys)
        if context.spec.schema_.foreign_keys is ForeignKeys.SELECTED:
            yield passed(f"{table.target} is created without the foreign keys {names} to {parents}: not selected")
        else:
            yield failed(
                Reason.FOREIGN_KEY_OUTSIDE_SELECTION,
                f"{table.source} has the foreign keys {names} to tables that are not selected, so they cannot be made "
                f"on {context.target_facts.where}: {_way_to(context, referenced)}, have {table.target} created "
                "without these foreign keys with schema.foreignKeys: Selected, or create it on the target yourself",
                with_dependants(context, [table]),
            )


def _way_to(context: PreflightContext, parents: Sequence[TableName]) -> str:
    """A constraint may also reference a table that nobody has created."""
    missing = [parent for parent in parents if not exists(context.source, parent)]
    there = [parent for parent in parents if parent not in missing]
    ways = [f"include {', '.join(map(str, there))}"] if there else []
    ways += [f"drop those to {', '.join(map(str, missing))}, which the source does not have"] if missing else []
    return ", ".join(ways)


CHECKS = (
    Check("foreign keys: actions", "source", _cascades),
    Check("foreign keys: tables copied whole", "source", _copied_whole),
    Check("foreign keys: parents", "both", _parents),
)
