"""Complete answers of information_schema about many tables. Use it for any query about more than one table.

MariaDB finds the tables of a schema in the files of a directory. While an ALTER replaces a table, for a moment no file
has its name, and the table is left out without a warning (4 of 100 answers, beside a session that did nothing but
rebuild one table). A table requested by its own name is never left out, because the server waits for its lock. MySQL
keeps its catalogue in transactional tables, so its answers are consistent.
"""

import time
from collections.abc import Collection

from ferry_core.errors import DataError
from ferry_core.mysql.faults import table_is_gone
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import qualified, string
from ferry_core.mysql.session import Row, Session

READINGS = 3
"""How often to list names that are not known beforehand. A table that all of them miss is found by the next check."""
PAUSE_SECONDS = 0.02
AT_ONCE = 20
"""Number of tables that one statement requests by name."""


def exists(session: Session, table: tuple[str, str]) -> bool:
    """Whether there is a table or view with that schema and name."""
    schema, name = map(string, table)
    return (
        session.number(
            f"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {schema} AND table_name = {name}"
        )
        > 0
    )


def holds_rows(session: Session, table: tuple[str, str], lock: str = "") -> bool:
    """Whether anything is in a table that need not exist. ``lock`` is appended to the SELECT."""
    try:
        return bool(session.query(f"SELECT 1 FROM {qualified(*table)} LIMIT 1{lock}"))
    except DataError as error:
        if not table_is_gone(error):
            raise
        return False


def listed(session: Session, statement: str) -> list[Row]:
    """The rows of a statement over whole schemas. They may include a table that was dropped meanwhile."""
    found = dict.fromkeys(session.query(statement))
    if session.flavor is Flavor.MARIADB:
        for _ in range(READINGS - 1):
            time.sleep(PAUSE_SECONDS)
            found |= dict.fromkeys(session.query(statement))
    return list(found)


def rows_of(
    session: Session,
    names: Collection[tuple[str, str]],
    view: str,
    columns: str,
    *,
    condition: str = "TRUE",
    order: str = "2",
    of: tuple[str, str] = ("TABLE_SCHEMA", "TABLE_NAME"),
) -> list[Row]:
    """``columns`` of a view of information_schema about these tables, preceded by schema and name, table by table.

    The answer may include other tables of the same schemas. ``order`` contains column indexes; the first of ``columns``
    has index 2. ``of`` are the view's columns for a table's schema and name.
    """
    schema_column, name_column = of
    selected = f"SELECT {schema_column}, {name_column}, {columns} FROM information_schema.{view} WHERE {condition} AND"
    ordered = f"ORDER BY 1, 2, {order}"
    schemas = ", ".join(sorted({string(schema) for schema, _ in names})) or "NULL"
    rows = session.query(f"{selected} {schema_column} IN ({schemas}) {ordered}")
    if session.flavor is not Flavor.MARIADB:
        return rows
    found = {(row[0], row[1]) for row in rows}
    absent = sorted(table for table in names if tuple(part.encode() for part in table) not in found)
    for first in range(0, len(absent), AT_ONCE):
        query = " UNION ALL ".join(
            f"{selected} {schema_column} = {string(schema)} AND {name_column} = {string(name)}"
            for schema, name in absent[first : first + AT_ONCE]
        )
        # A server that ignores the case of names answers with its own spelling, which it has returned before.
        rows += [row for row in session.query(f"{query} {ordered}") if (row[0], row[1]) not in found]
    return rows
