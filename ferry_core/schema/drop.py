"""Drops a table only if it is empty, whatever others write to it meanwhile. Called by ``create`` and ``start_over``.

Between a look and a DROP somebody may insert rows, and the rows of an open transaction are invisible: DROP TABLE waits
for its commit, and drops them. So the table first gets a constraint that no row satisfies. The server adds it only if
there is no row, and from then on takes none. This needs no privilege that the creation of the table did not need.
"""

from ferry_core.errors import DataError
from ferry_core.mysql.faults import violates_check
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.listings import exists, holds_rows
from ferry_core.mysql.session import Session
from ferry_core.schema.building import as_written
from ferry_core.tables.table import TableName

_NO_ROW = "1 = 0"
_TAKES_NO_ROW = f"ADD CONSTRAINT CHECK ({_NO_ROW})"


def takes_no_row(check: str) -> bool:
    """Whether a CHECK's clause, as a server prints it, is that of a table that was about to be dropped."""
    return check.strip("()") == _NO_ROW


def drop_if_empty(session: Session, table: TableName) -> bool:
    """Whether the table is gone now. Raises LockConflict if a transaction that uses the table stays open."""
    if not exists(session, table):
        return True
    if holds_rows(session, table):
        return False
    checks = session.flavor is Flavor.MARIADB  # there, a session that copies rows has switched checks off
    if checks:
        session.execute("SET SESSION check_constraint_checks = 1")
    try:
        with as_written(session) as build:  # what a table needs to be created, it needs to be altered
            build(f"ALTER TABLE {table.sql} {_TAKES_NO_ROW}")
    except DataError as error:
        if not violates_check(error):
            raise
        return False
    finally:
        if checks:
            session.execute("SET SESSION check_constraint_checks = 0")
    session.execute(f"DROP TABLE IF EXISTS {table.sql}")
    return True
