"""Makes sure that answers of information_schema are complete. Called by ``Session.query`` for every such answer.

A server leaves a table out of information_schema, with only a warning, while it cannot open the table. MariaDB does
this while DDL holds the table: at once (1684) if the asking session has locks of its own, otherwise after
``lock_wait_timeout`` (1205). MySQL then keeps the table's row, with NULL for values that only the open table knows,
such as AUTO_INCREMENT. A copier that believed such an answer would move one table less, see no UNIQUE index, or add a
foreign key twice.
"""

import time
from typing import TYPE_CHECKING

from ferry_core.errors import DataError, LockConflict
from ferry_core.reasons import Reason

if TYPE_CHECKING:
    from ferry_core.mysql.session import Row, Session
    from ferry_core.mysql.warned import Warned

PATIENCE_SECONDS = 2.0
"""Kept short, because the caller may hold a lock that others wait for. The step as a whole is retried anyway."""
PAUSE_SECONDS = 0.05
PASSING = frozenset({1205, 1213, 1317, 1684, 1969, 3024})
"""Lock waits, deadlocks, interruptions, DDL under way."""
OF_VIEWS = frozenset({1142, 1143, 1356, 1370, 1449})
"""A view that refers to something missing, or that its definer may not read. No table is missing from the answer."""

OF_SQL_MODES = frozenset({1563, 1901})
"""A definition that needs another sql_mode than ours. It is in the answer anyway, and preflight names it."""
EXPLAINING = 1105
"""MariaDB explains 1901 in a second warning with this number, which is otherwise unspecific."""


def is_asked(statement: str | bytes) -> bool:
    text = statement.encode() if isinstance(statement, str) else statement
    return b"information_schema." in text.lower()


def whole(session: "Session", statement: str | bytes, rows: "list[Row]") -> "list[Row]":
    """Return ``rows``, the answer to ``statement``, or a repeated answer that came without a warning.

    Raises LockConflict while a table stays left out, DataError if the server names a permanent cause.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while causes := _causes(session):
        lasting = [warned for warned in causes if warned.code not in PASSING]
        where = session.endpoint.where
        if lasting:
            raise DataError(
                Reason.CATALOGUE_INCOMPLETE,
                f"{where} cannot describe all of its tables: {lasting[0].message} (warning {lasting[0].code}); repair "
                "or drop what it names",
                server=session.endpoint.role,
                code=lasting[0].code,
                statement=str(statement),
            )
        if time.monotonic() > deadline:
            raise LockConflict(
                Reason.CATALOGUE_BUSY,
                f"{where} leaves a table out of its answer: {causes[0].message} (warning {causes[0].code}); this is "
                f"retried, and succeeds once the DDL on that table has ended",
                server=session.endpoint.role,
            )
        time.sleep(PAUSE_SECONDS)
        session.execute(statement)
        rows = session.fetched()
    return rows


def _causes(session: "Session") -> "list[Warned]":
    warnings = [one for one in session.warnings() if one.level != "Note" and one.code not in OF_VIEWS]
    if any(one.code in OF_SQL_MODES for one in warnings):
        warnings = [one for one in warnings if one.code not in OF_SQL_MODES | {EXPLAINING}]
    return warnings
