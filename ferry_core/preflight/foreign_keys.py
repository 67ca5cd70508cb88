"""Do foreign keys change rows of a selected table behind the binlog's back, and can its constraints be made?

They are read from SHOW CREATE TABLE, for which SELECT is enough: MariaDB's information_schema shows an account that has
no more than that no constraint at all. A child that is not selected is nobody's business here.
"""

from collections.abc import Iterator

from ferry_core.api.reasons import Reason
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.result import Check, Finding, failed
from ferry_core.tables.table import Table


def dependants(context: PreflightContext, tables: set[Table]) -> list[Table]:
    """Selected tables whose constraints lead to one of ``tables``, by way of each other too: to be left out with it."""
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
    """For the advice to exclude ``tables``; empty if nothing selected references them."""
    more = dependants(context, tables)
    return f" together with {', '.join(table.id for table in more)}, which reference them" if more else ""


def _cascades(context: PreflightContext) -> Iterator[Finding]:
    for table in context.tables:
        for key in context.foreign_keys[table]:
            if key.cascades:
                yield failed(
                    Reason.FOREIGN_KEY_CASCADES,
                    f"{context.source_facts.where}: {table.source} has the foreign key {key.name} to {key.references} "
                    f"with ON DELETE {key.on_delete} ON UPDATE {key.on_update}; rows changed by it are not in the "
                    f"binlog, and following them is not built yet: leave {table.source} out with tables.exclude"
                    f"{and_dependants(context, {table})}, or make the constraint RESTRICT",
                )


def _parents(context: PreflightContext) -> Iterator[Finding]:
    folded = context.source_facts.folded
    selected = {folded(table.source) for table in context.tables}
    for table in context.tables:
        will_be_created = context.creates_tables and table.target not in context.existing_targets
        for key in context.foreign_keys[table]:
            if folded(key.references) not in selected and will_be_created:
                yield failed(
                    Reason.FOREIGN_KEY_OUTSIDE_SELECTION,
                    f"{table.source} has the foreign key {key.name} to {key.references}, which is not selected, so the "
                    f"constraint cannot be made on {context.target_facts.where}: include {key.references}, or create "
                    f"{table.target} on the target yourself the way you want it",
                )


CHECKS = (
    Check("foreign keys: actions", "source", _cascades),
    Check("foreign keys: parents", "both", _parents),
)
