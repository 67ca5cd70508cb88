"""Answers of information_schema about many tables, none of them left out. Called by whoever asks for more than one.

MariaDB finds the tables of a schema in the files of a folder. While an ALTER puts a table in the place of another, no
file has its name for a moment, and then it is left out without a warning (4 of 100 answers, beside a session that did
nothing but rebuild one table). A table that is asked for by its own name is never left out: the server waits for its
lock. MySQL keeps its catalogue in tables of its own, whose answers are those of one moment.
"""

import time
from collections.abc import Collection

from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Row, Session

READINGS = 3
"""Of names that nobody knows beforehand. What is missed by all of them is seen when the next look is taken."""
PAUSE_SECONDS = 0.02
AT_ONCE = 20
"""Tables that one statement asks for by their names."""


def exists(session: Session, table: tuple[str, str]) -> bool:
    """Whether there is a table or view of that schema and name."""
    schema, name = map(string, table)
    return (
        session.number(
            f"SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = {schema} AND table_name = {name}"
        )
        > 0
    )


def listed(session: Session, statement: str) -> list[Row]:
    """The rows of a statement over whole schemas; one that was dropped meanwhile may be among them."""
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
    """``columns`` of a view of information_schema about these tables, with schema and name in front, table by table.

    Other tables of the same schemas may be in the answer too. ``order`` are places of columns, the first of ``columns``
    is the third; ``of`` are the view's columns that hold a table's schema and name.
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
        asked = " UNION ALL ".join(
            f"{selected} {schema_column} = {string(schema)} AND {name_column} = {string(name)}"
            for schema, name in absent[first : first + AT_ONCE]
        )
        # A server that ignores the case of names answers with its own spelling, of which it has told already.
        rows += [row for row in session.query(f"{asked} {ordered}") if (row[0], row[1]) not in found]
    return rows
