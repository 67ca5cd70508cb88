"""Checks whether foreign keys change rows of selected tables without a binlog event, and whether they can be created.

They are read from SHOW CREATE TABLE, for which SELECT is enough: to an account with only SELECT, MariaDB's
information_schema shows no constraints at all. Children that are not selected are ignored.
"""

from collections.abc import Iterator

from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, Finding, failed
from ferry_core.reasons import Reason
from ferry_core.schema.definition import ForeignKey
from ferry_core.tables.table import Table


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


def and_dependants(context: PreflightContext, tables: set[Table]) -> str:
    """Text for the advice to exclude ``tables``; empty if no selected table references them."""
    more = dependants(context, tables)
    return f" together with {', '.join(table.id for table in more)}, which reference them" if more else ""


def _cascades(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    selected = {source.folded(table.source) for table in context.tables}
    for table in context.tables:
        named: dict[str, list[str]] = {}
        for key in context.foreign_keys[table]:
            why = _unfollowed(source, key, source.folded(key.references) in selected)
            if key.cascades and why:
                actions = f"ON DELETE {key.on_delete} ON UPDATE {key.on_update}"
                named.setdefault(why, []).append(f"{key.name} to {key.references} ({actions})")
        if named:
            keys = "; ".join(f"{', '.join(names)}: {why}" for why, names in named.items())
            yield failed(
                Reason.FOREIGN_KEY_CASCADES,
                f"{source.where}: {table.source} has the foreign keys {keys}, leave {table.source} out with "
                f"tables.exclude{and_dependants(context, {table})}, or make the constraints RESTRICT",
                [table, *dependants(context, {table})],
            )


def _unfollowed(source: ServerFacts, key: ForeignKey, parent_selected: bool) -> str:
    """Why the rows that a cascade changes cannot be followed; empty if they can.

    Since 9.6 MySQL executes cascades above InnoDB and logs their rows. An event logged without them lacks a flag, and
    ends the run; only the parent's events show that.
    """
    setting = source.variable("innodb_native_foreign_keys").upper()
    if setting == "OFF" and parent_selected:
        return ""
    if setting == "OFF":
        return f"only events of {key.references} show whether all of its rows are in the binlog: include that"
    remedy = "start the source with innodb_native_foreign_keys=OFF" if setting else "they are not supported yet"
    return f"rows changed by it are not in this server's binlog: {remedy}"


def _parents(context: PreflightContext) -> Iterator[Finding]:
    folded = context.source_facts.folded
    selected = {folded(table.source) for table in context.tables}
    for table in context.tables:
        will_be_created = context.creates_tables and table.target not in context.existing_targets
        keys = [key for key in context.foreign_keys[table] if folded(key.references) not in selected]
        if keys and will_be_created:
            parents = ", ".join(dict.fromkeys(str(key.references) for key in keys))
            yield failed(
                Reason.FOREIGN_KEY_OUTSIDE_SELECTION,
                f"{table.source} has the foreign keys {', '.join(key.name for key in keys)} to tables that are not "
                f"selected, so they cannot be made on {context.target_facts.where}: include {parents}, or create "
                f"{table.target} on the target yourself",
                [table, *dependants(context, {table})],
            )


CHECKS = (
    Check("foreign keys: actions", "source", _cascades),
    Check("foreign keys: parents", "both", _parents),
)
