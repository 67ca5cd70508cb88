"""Makes the record of a cutover durable on the target's disk before the cutover is reported. Called by ``attempt``.

A target with ``innodb_flush_log_at_trx_commit`` other than 1, or a binlog with ``sync_binlog`` other than 1, loses its
last second in a power cut. Without the record the next start would treat the attempt as interrupted, allow writes on
the source again and overwrite what applications have written to the target. InnoDB flushes its redo log at the end of
each statement that creates or drops a table, whatever these settings are (measured on both families), and with it all
earlier commits. So a table is created and dropped here. If the run is killed in between, the next start or ``ferry
cleanup`` drops it.
"""

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress

from ferry_core.consistency.fence import COMPLETED, Fence, read_lease
from ferry_core.consistency.own_tables import SCHEMA
from ferry_core.errors import AmbiguousError, FerryError, RetriableError, ServerRestarted
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

DURABLE_SECONDS = 5.0
"""How long the end of the write block may wait for it."""
_LOOSE = (
    "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit NOT IN (1, 3) OR (@@GLOBAL.log_bin AND @@GLOBAL.sync_binlog <> 1)"
)


def make_durable(connect: Callable[[], Session], fence: Fence) -> None:
    """Flush the record to disk if the target's settings do not do that. A failure is logged.

    Raises AmbiguousError if the target has lost the record already: with it the newest epoch, or the whole lease row,
    may be gone. Nobody has been told of the cutover by then.
    """
    try:
        with connect() as session:
            if session.number(_LOOSE):
                _write_log(session, fence.uid)
            lease = read_lease(session, fence.uid)  # whichever run holds it: one that found no record has unlocked
    except ServerRestarted as error:
        raise _lost(error.message) from error
    except FerryError as error:
        not_durable(error.message)
        return
    if lease is None:
        raise _lost("its lease row is gone")  # a cleanup keeps the row of a cutover
    if lease.phase != COMPLETED:
        raise _lost(f"its phase is {lease.phase}")


def keep_found(connect: Callable[[], Session], uid: str, epoch: int) -> None:
    """For a run that finds the record: its writer may have died before the record was on disk, and people are told now.

    Raises RetriableError if the target has lost it meanwhile: the next start finds an attempt that was interrupted.
    """
    with suppress(FerryError), connect() as session:
        drop_left_behind(session, uid)
    try:
        make_durable(connect, Fence(connect, uid, epoch))
    except AmbiguousError as error:
        raise RetriableError(
            Reason.TARGET_LOST, f"the target lost the record of the cutover while it was read: {error.message}"
        ) from error


def _lost(why: str) -> AmbiguousError:
    return AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, why)


def not_durable(why: str) -> None:
    log.warning(
        "the record of the cutover may not be on the target's disk yet (%s): if the target loses power now, make sure "
        "that this Ferry's row in mysql_ferry.lease has phase Completed before you start the Ferry again", why
    )  # fmt: skip


def drop_left_behind(session: Session, uid: str) -> None:
    """Drop the table that a run killed during ``make_durable`` left behind.

    Writes nothing to the target if there is none.
    """
    left = session.number(
        "SELECT COUNT(*) FROM information_schema.tables"
        f" WHERE table_schema = {string(SCHEMA)} AND table_name = {string(table_of(uid))}"
    )
    if left:
        session.execute(f"DROP TABLE IF EXISTS `{SCHEMA}`.`{table_of(uid)}`")


def table_of(uid: str) -> str:
    """One table name per Ferry, so that a later run knows whose table it is."""
    return f"to_disk_{hashlib.sha256(uid.encode()).hexdigest()[:12]}"


def _write_log(session: Session, uid: str) -> None:
    table = f"`{SCHEMA}`.`{table_of(uid)}`"
    session.execute("SET SESSION lock_wait_timeout = 2")
    session.execute(f"DROP TABLE IF EXISTS {table}")  # left by a run that was killed in between
    session.execute(f"CREATE TABLE {table} (id INT PRIMARY KEY) ENGINE=InnoDB")
    session.execute(f"DROP TABLE IF EXISTS {table}")  # the next run may have done so
