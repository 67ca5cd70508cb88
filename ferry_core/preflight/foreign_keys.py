"""Checks whether foreign keys change rows of selected tables without a binlog event, and whether they can be created.

They are read from SHOW CREATE TABLE, for which SELECT is enough: to an account with only SELECT, MariaDB's
information_schema shows no constraints at all. Children that are not selected are ignored.
"""

from collections.abc import Collection, Iterator

from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.result import Check, Finding, failed
from ferry_core.reasons import Reason
from ferry_core.schema.cascades import Cascade, cascades_among
from ferry_core.schema.definition import ForeignKey, computed_from, unique_columns
from ferry_core.schema.significant import is_versioned
from ferry_core.schema.tokens import tokens_of
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
    followed = {(one.child, one.name): one for one in cascades_among(context.tables)}
    for table in context.tables:
        named: dict[str, list[str]] = {}
        for key in context.foreign_keys[table]:
            cascade = followed.get((table, key.name))
            why = _unfollowed(source, key, cascade) if key.cascades else ""
            if why:
                actions = f"ON DELETE {key.on_delete} ON UPDATE {key.on_update}"
                named.setdefault(why, []).append(f"{key.name} to {key.references} ({actions})")
        if named:
            keys = "; ".join(f"{', '.join(names)}: {why}" for why, names in named.items())
            yield failed(
                Reason.FOREIGN_KEY_CASCADES,
                f"{source.where}: {table.source} has the foreign keys {keys}. Otherwise leave {table.source} out with "
                f"tables.exclude{and_dependants(context, {table})}, or make the constraints RESTRICT",
                [table, *dependants(context, {table})],
            )


def _unfollowed(source: ServerFacts, key: ForeignKey, cascade: Cascade | None) -> str:
    """Why the rows that a cascade changes cannot be followed; empty if they can."""
    if cascade is None:
        return f"only events of {key.references} show when it changes rows: include that"
    # Since 9.6 MySQL executes cascades above InnoDB and logs their rows. An event logged without them lacks a flag, and
    # ends the run.
    logged = source.variable("innodb_native_foreign_keys").upper() == "OFF"
    return "" if logged else next(_limits(source, key, cascade), "")


def _limits(source: ServerFacts, key: ForeignKey, cascade: Cascade) -> Iterator[str]:
    """What keeps a run from finding the rows that the source changes without logging them."""
    parent, child = cascade.parent, cascade.child
    server = "rows changed by it are not in this server's binlog, and "
    sets_null = "SET NULL" in (key.on_delete, key.on_update)
    ours = {column.name.lower() for column in cascade.referencing}
    if not cascade.in_key and source.variable("binlog_row_image", "FULL").upper() != "FULL":
        yield f"{server}it references columns outside of the key of {parent.source}: set binlog_row_image=FULL"
    if sets_null and child.row_filter and _names_one(child.row_filter, child, ours):
        yield f"{server}the row filter of {child.source} names a column that it sets to NULL: use another filter"
    nulled = computed_from(child.definition, child.source, ours) if sets_null else set()
    if any(nulled & columns for columns in unique_columns(child.definition, child.source)):
        yield f"{server}it sets a column of a UNIQUE index to NULL, which is not supported yet"
    if is_versioned(parent.definition, parent.source):
        yield f"{server}{parent.source} is system-versioned, so that its deletions look like updates"
    if cascade.parent_follows:
        chain = f"{server}it continues another cascade through {parent.source}, "
        if parent.row_filter:
            yield f"{chain}which has a row filter: remove that"
        if not cascade.in_key:
            yield f"{chain}of which it references columns outside of the key, which is not supported yet"
        if parent.secondary_unique:
            yield f"{chain}which has a UNIQUE index besides its key, which is not supported yet"


def _names_one(row_filter: str, table: Table, columns: Collection[str]) -> bool:
    """Whether the filter names one of the columns, or a generated column, which may be computed from them."""
    computed = {column.name.lower() for column in table.columns if column.generated}
    return any(token.text.lower() in computed.union(columns) for token in tokens_of(row_filter))


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
