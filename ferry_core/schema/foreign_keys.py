"""Adds foreign keys to the target's tables, after their rows. Called by the coordinator; may be repeated.

Rows equal the source's only at the cutover, so existing rows are not checked: the source's own constraint has checked
them. ``foreign_key_checks=0`` also lets the server add the constraint in place.
"""

from collections.abc import Iterator, Sequence

from ferry_core.mysql.session import Session
from ferry_core.schema.building import as_written
from ferry_core.schema.create import Fence, constraint_owners, definition
from ferry_core.schema.definition import ForeignKey
from ferry_core.tables.table import Table

LOCK_SECONDS = 2
"""An ALTER that waits for its lock blocks everyone else and cannot be stopped."""
AT_ONCE = 16
"""Tables between two looks at the lease. Each look costs a connection."""


def add_foreign_keys(source: Session, target: Session, tables: Sequence[Table], fence: Fence) -> list[str]:
    """Add the source's constraints that are missing on the target, one ALTER per table, with the new names of tables.

    Raises LockConflict while others keep a table in use: try again. Returns a notice for each constraint that is left
    out because the table that it references is not selected.
    """
    target.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    targets = {table.source: table.target for table in tables}
    notices = []
    missing: list[tuple[Table, list[ForeignKey]]] = []
    for table, keys in _with_keys(source, tables):
        there = {(key.references, key.columns) for key in definition(target, table.target).foreign_keys}
        outside = [key for key in keys if key.references not in targets]
        notices += [
            f"{key.name} of {table.source} references {key.references}, which is not selected" for key in outside
        ]
        # Compared by content: names may have to differ where schemas are merged.
        lacking = [key for key in keys if key not in outside and (targets[key.references], key.columns) not in there]
        if lacking:
            missing.append((table, lacking))
    owners = {
        schema: constraint_owners(target, schema, "FOREIGN KEY")
        for schema in {table.target.schema for table, _ in missing}
    }
    for first in range(0, len(missing), AT_ONCE):
        with fence.hold(target), as_written(target) as build:
            for table, keys in missing[first : first + AT_ONCE]:
                names = owners[table.target.schema]
                taken = {name for name, owner in names.items() if owner != table.target.name}
                added = ", ".join(f"ADD {key.referencing(targets[key.references], taken)}" for key in keys)
                build(f"ALTER TABLE {table.target.sql} {added}")
                for key in keys:
                    names.setdefault(key.name.lower(), table.target.name)
    return notices


def _with_keys(source: Session, tables: Sequence[Table]) -> Iterator[tuple[Table, Sequence[ForeignKey]]]:
    for table in tables:
        if "FOREIGN KEY" in table.definition or not table.definition:
            yield table, definition(source, table.source).foreign_keys
