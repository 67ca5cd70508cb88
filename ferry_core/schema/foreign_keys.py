"""Adds foreign keys to the tables on the target, after their rows. Called by the coordinator; may be repeated.

Rows are in step with the source only at the cutover, hence no check of existing rows: the source's own constraint has
checked them, and ``foreign_key_checks=0`` also lets the server add the constraint in place.
"""

from collections import defaultdict
from collections.abc import Sequence

from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.schema.create import Fence, definition, utf8_text
from ferry_core.tables.table import Table, TableName


def add_foreign_keys(source: Session, target: Session, tables: Sequence[Table], fence: Fence) -> list[str]:
    """Add the source's constraints that the target lacks, one ALTER a table; referenced tables under their new names.

    Returns a notice for each constraint left out because the table that it references is not selected.
    """
    targets = {table.source: table.target for table in tables}
    present = _present(target, [table.target for table in tables])
    notices = []
    for table in tables:
        additions = []
        for key in definition(source, table.source).foreign_keys:
            if key.references not in targets:
                notices.append(f"{key.name} of {table.source} references {key.references}, which is not selected")
            elif key.name not in present[table.target]:
                additions.append(f"ADD {key.referencing(targets[key.references])}")
        if additions:
            _alter(target, fence, f"ALTER TABLE {table.target.sql} {', '.join(additions)}")
    return notices


def _alter(target: Session, fence: Fence, statement: str) -> None:
    before = target.text("SELECT @@SESSION.foreign_key_checks")
    with fence.hold(), utf8_text(target):
        target.execute("SET SESSION foreign_key_checks = 0")
        try:
            target.execute(statement)
        finally:
            target.execute(f"SET SESSION foreign_key_checks = {before}")


def _present(target: Session, tables: Sequence[TableName]) -> dict[TableName, set[str]]:
    schemas = ", ".join(sorted({string(table.schema) for table in tables})) or "NULL"
    rows = target.query(
        "SELECT table_schema, table_name, constraint_name FROM information_schema.table_constraints"
        f" WHERE constraint_type = 'FOREIGN KEY' AND table_schema IN ({schemas})"
    )
    present: dict[TableName, set[str]] = defaultdict(set)
    for schema, table, name in rows:
        present[TableName((schema or b"").decode(), (table or b"").decode())].add((name or b"").decode())
    return present
