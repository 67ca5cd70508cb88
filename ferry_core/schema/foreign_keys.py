"""Adds foreign keys that the target's tables lack, after their rows. Called by the coordinator; may be repeated.

``create`` makes tables with their foreign keys. They are missing where somebody else, or an earlier version, made the
table. Rows equal the source's only at the cutover, so existing rows are not checked: the source's own constraint has
checked them. ``foreign_key_checks=0`` also lets the server add the constraint in place.
"""

from collections.abc import Callable, Iterator, Sequence

from ferry_core.mysql.session import Session
from ferry_core.schema.building import as_written
from ferry_core.schema.constraint_names import ConstraintNames
from ferry_core.schema.create import Fence, definition, known_definition
from ferry_core.schema.definition import ForeignKey
from ferry_core.tables.table import Table, TableName

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
    names = ConstraintNames(target, "FOREIGN KEY")
    fold = folding(target)
    for table, keys in _with_keys(source, tables):
        there = {(fold(key.references), key.columns) for key in definition(target, table.target).foreign_keys}
        outside = [key for key in keys if key.references not in targets]
        notices += [
            f"{key.name} of {table.source} references {key.references}, which is not selected" for key in outside
        ]
        # Compared by content: names may have to differ where schemas are merged.
        inside = [key for key in keys if key not in outside]
        lacking = [key for key in inside if (fold(targets[key.references]), key.columns) not in there]
        if lacking:
            missing.append((table, lacking))
    for first in range(0, len(missing), AT_ONCE):
        with fence.hold(target), as_written(target) as build:
            for table, keys in missing[first : first + AT_ONCE]:
                taken = names.taken(table.target)
                added = ", ".join(f"ADD {key.referencing(targets[key.references], taken)}" for key in keys)
                build(f"ALTER TABLE {table.target.sql} {added}")
                names.take(table.target, [key.name for key in keys])
    return notices


def _with_keys(source: Session, tables: Sequence[Table]) -> Iterator[tuple[Table, Sequence[ForeignKey]]]:
    for table in tables:
        if "FOREIGN KEY" in table.definition or not table.definition:
            yield table, known_definition(source, table).foreign_keys


def with_other_keys(source: Session, target: Session, tables: Sequence[Table], made: Sequence[Table]) -> list[Table]:
    """Those of ``made``, tables that exist on the target, with a foreign key that the source's table does not have."""
    fold, targets = folding(target), {table.source: table.target for table in tables}
    found = []
    for table in made:
        keys = definition(source, table.source).foreign_keys
        wanted = {(fold(targets.get(key.references, key.references)), *content(key)) for key in keys}
        if any(
            (fold(key.references), *content(key)) not in wanted for key in definition(target, table.target).foreign_keys
        ):
            found.append(table)
    return found


def content(key: ForeignKey) -> tuple[object, ...]:
    """What it does, beside the table that it references."""
    return key.columns, _action(key.on_delete), _action(key.on_update)


def _action(action: str) -> str:
    """RESTRICT and NO ACTION are the same, and the families print one or the other of them."""
    return "NO ACTION" if action == "RESTRICT" else action


def folding(session: Session) -> Callable[[TableName], TableName]:
    """How names are compared on a server that may ignore their case."""
    if session.number("SELECT @@lower_case_table_names") == 0:
        return lambda name: name
    return lambda name: TableName(name.schema.lower(), name.name.lower())
