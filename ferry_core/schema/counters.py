"""Raises the target's AUTO_INCREMENT to the source's, so that no id is assigned twice.

Rows carry their ids, so the target's counter is behind only where the newest rows were deleted before they were copied
(or left out by a row filter). Called under the cutover's lock, when the source's counters do not change, and just
before it, so that few are left: each takes an ALTER.
"""

import logging
from collections.abc import Callable, Sequence

from ferry_core.errors import ConfigError, DataError, LockConflict, RetriableError
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.schema.building import as_written
from ferry_core.schema.create import Fence
from ferry_core.tables.table import Table, TableName

log = logging.getLogger(__name__)

LOCK_SECONDS = 2
"""The source's writers wait meanwhile. The attempt fails rather than let them wait for readers of the target."""


def raise_counters(
    source: Session, target: Session, tables: Sequence[Table], fence: Fence, check_cancelled: Callable[[], None]
) -> list[Table]:
    """Raise each counter of the target that is behind the source's; returns those tables.

    ``check_cancelled`` is called before each.
    """
    wanted = _counters(source, [table.source for table in tables])
    found = _counters(target, [table.target for table in tables])
    behind = [table for table in tables if found.get(table.target, 0) < wanted.get(table.source, 0)]
    if behind:
        target.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
        with fence.hold(target):
            for table in behind:
                check_cancelled()
                _raise(target, table.target, wanted[table.source])
    return behind


def _raise(target: Session, table: TableName, counter: int) -> None:
    statement = f"ALTER TABLE {table.sql} AUTO_INCREMENT = {counter}"
    try:
        try:
            target.execute(statement)
        except DataError:  # sql_require_primary_key, and a table without one
            with as_written(target) as build:
                build(statement)
    except LockConflict as error:
        raise RetriableError(
            Reason.TARGET_TABLE_BUSY,
            f"transactions on the target keep {table} in use: {statement} waited {LOCK_SECONDS} s for them",
        ) from error
    except (ConfigError, DataError) as error:  # or no ALTER privilege, which schema.create: Never does not require
        log.warning("the target may reuse ids of deleted rows; run %s: %s", statement, error)


def _counters(session: Session, tables: Sequence[TableName]) -> dict[TableName, int]:
    """The next id of each table with AUTO_INCREMENT."""
    rows = rows_of(session, tables, "tables", "auto_increment")
    return {TableName((a or b"").decode(), (b or b"").decode()): int(c) for a, b, c in rows if c is not None}
