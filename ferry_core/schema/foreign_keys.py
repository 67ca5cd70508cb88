"""Adds foreign keys to the tables on the target, after their rows. Called by the coordinator; may be repeated.

Rows are in step with the source only at the cutover, hence no check of existing rows: the source's own constraint has
checked them, and ``foreign_key_checks=0`` also lets the server add the constraint in place.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.schema.create import Fence, definition, taken_names, utf8_text
from ferry_core.tables.table import Table, TableName

LOCK_SECONDS = 2
"""An ALTER that waits for its lock lets nobody else in, and is deaf to a stop."""


@dataclass(frozen=True)
class _Reference:
    """What a foreign key says, whatever it is called: names may have to differ where schemas are merged."""

    to: TableName
    columns: tuple[tuple[str, str], ...]  # ours, and the referenced one

    def of(self, targets: Mapping[TableName, TableName]) -> "_Reference":
        """The same on the target."""
        return _Reference(targets[self.to], self.columns)


def add_foreign_keys(source: Session, target: Session, tables: Sequence[Table], fence: Fence) -> list[str]:
    """Add the source's constraints that the target lacks, one ALTER a table; referenced tables under their new names.

    Raises LockConflict when others keep a table in use: to be tried again.
    Returns a notice for each constraint left out because the table that it references is not selected.
    """
    target.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    targets = {table.source: table.target for table in tables}
    wanted = _references(source, [table.source for table in tables])
    present = _references(target, [table.target for table in tables])
    notices = []
    for table in tables:
        additions = []
        there = set(present[table.target].values())
        taken = taken_names(target, table.target, "FOREIGN KEY")
        for key in definition(source, table.source).foreign_keys:
            if key.references not in targets:
                notices.append(f"{key.name} of {table.source} references {key.references}, which is not selected")
            elif wanted[table.source][key.name].of(targets) not in there:
                additions.append(f"ADD {key.referencing(targets[key.references], taken)}")
        if additions:
            _alter(target, fence, f"ALTER TABLE {table.target.sql} {', '.join(additions)}")
    return notices


def _alter(target: Session, fence: Fence, statement: str) -> None:
    before = target.text("SELECT @@SESSION.foreign_key_checks")
    with fence.hold(target), utf8_text(target):
        target.execute("SET SESSION foreign_key_checks = 0")
        try:
            target.execute(statement)
        finally:
            target.execute(f"SET SESSION foreign_key_checks = {before}")


def _references(session: Session, tables: Sequence[TableName]) -> dict[TableName, dict[str, _Reference]]:
    """Each table's foreign keys by name."""
    schemas = ", ".join(sorted({string(table.schema) for table in tables})) or "NULL"
    rows = session.query(
        "SELECT table_schema, table_name, constraint_name, referenced_table_schema, referenced_table_name,"
        " column_name, referenced_column_name FROM information_schema.key_column_usage"
        f" WHERE table_schema IN ({schemas}) AND referenced_table_name IS NOT NULL"
        " ORDER BY table_schema, table_name, constraint_name, ordinal_position"
    )
    found: dict[TableName, dict[str, _Reference]] = defaultdict(dict)
    for row in rows:
        schema, table, name, to_schema, to_table, column, to_column = ((value or b"").decode() for value in row)
        keys, to = found[TableName(schema, table)], TableName(to_schema, to_table)
        before = keys.get(name, _Reference(to, ()))
        keys[name] = _Reference(to, (*before.columns, (column.lower(), to_column.lower())))
    return found
