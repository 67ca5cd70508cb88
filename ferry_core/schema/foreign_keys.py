"""Adds foreign keys to the target's tables, after their rows. Called by the coordinator; may be repeated.

Rows equal the source's only at the cutover, so existing rows are not checked: the source's own constraint has checked
them. ``foreign_key_checks=0`` also lets the server add the constraint in place.
"""

from collections.abc import Sequence

from ferry_core.mysql.session import Session
from ferry_core.schema.building import as_written
from ferry_core.schema.create import Fence, definition, taken_names
from ferry_core.tables.table import Table

LOCK_SECONDS = 2
"""An ALTER that waits for its lock blocks everyone else and cannot be stopped."""


def add_foreign_keys(source: Session, target: Session, tables: Sequence[Table], fence: Fence) -> list[str]:
    """Add the source's constraints that are missing on the target, one ALTER per table, with the new names of tables.

    Raises LockConflict while others keep a table in use: try again. Returns a notice for each constraint that is left
    out because the table that it references is not selected.
    """
    target.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    targets = {table.source: table.target for table in tables}
    notices = []
    for table in tables:
        additions = []
        there = {(key.references, key.columns) for key in definition(target, table.target).foreign_keys}
        taken = taken_names(target, table.target, "FOREIGN KEY")
        for key in definition(source, table.source).foreign_keys:
            if key.references not in targets:
                notices.append(f"{key.name} of {table.source} references {key.references}, which is not selected")
            # Compared by content: names may have to differ where schemas are merged.
            elif (targets[key.references], key.columns) not in there:
                additions.append(f"ADD {key.referencing(targets[key.references], taken)}")
        if additions:
            with fence.hold(target), as_written(target) as build:
                build(f"ALTER TABLE {table.target.sql} {', '.join(additions)}")
    return notices
