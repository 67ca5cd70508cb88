"""R1: the binlog can contain an event before InnoDB shows its rows. A read that relies on the stream must wait for
that.

Group commit sends events at the sync stage and makes rows visible later; under semi-sync the gap is a network round
trip. A read in the gap sees the old row, and the update is lost.

MySQL with GTIDs: once ``@@gtid_executed`` contains the streamed set, its rows are visible and a plain SELECT is enough.

MariaDB: a new snapshot reports the place in the binlog up to which InnoDB has committed. Once that place is behind the
streamed one, and the XA transactions among the keys have left XA RECOVER, a plain SELECT is enough too.

Neither locks rows of the source. MySQL without GTIDs has nothing of that kind: there every read locks. LOCK IN SHARE
MODE waits for visibility by itself, but on MariaDB it made the application's transactions deadlock victims and cut
their rate to a tenth (docs/correctness.md has the figures). Called by the flusher and the table start.
"""

import logging
import time
from collections.abc import Callable, Collection
from typing import Protocol

from ferry_core.binlog.ending import committed_place, place_of_end
from ferry_core.binlog.history import begun
from ferry_core.binlog.last_read import LastRead
from ferry_core.binlog.sink import Place, StreamMark
from ferry_core.errors import DataError, RetriableError
from ferry_core.mysql.file_position import DUMPABLE, FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import MariaDbGtids, parse_position, source_position
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.mysql.xa import prepared_xids
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

DEADLINE_SECONDS = 600.0
POLL_SECONDS = 1
SNAPSHOT_POLL_SECONDS = 0.01


def _no_xids() -> Collection[str]:
    return ()


class Visibility(Protocol):
    """How reads of this source are made to see everything streamed so far."""

    lock_clause: str
    """Appended to every SELECT of rows."""

    def start(self, session: Session) -> StreamMark:
        """Where a new run's stream begins. ``wait`` must be able to wait for this mark."""

    def wait(
        self,
        session: Session,
        mark: StreamMark,
        cancelled: Callable[[], bool],
        xids: Callable[[], Collection[str]] = _no_xids,
    ) -> bool:
        """Wait until everything up to ``mark`` is visible to a new SELECT with ``lock_clause``. False when cancelled.

        ``xids``: the XA transactions decided before ``mark`` whose rows will be read.
        """


class GtidVisibility:
    """MySQL with gtid_mode=ON."""

    lock_clause = ""

    def __init__(self, server_uuid: str) -> None:
        """``server_uuid`` of the server that the stream comes from. Another server's gtid_executed proves nothing."""
        self._server_uuid = server_uuid

    def start(self, session: Session) -> StreamMark:
        return StreamMark(0, source_position(session))

    def wait(
        self,
        session: Session,
        mark: StreamMark,
        cancelled: Callable[[], bool],
        xids: Callable[[], Collection[str]] = _no_xids,  # noqa: ARG002 - an XA COMMIT has its own GTID
    ) -> bool:
        deadline = time.monotonic() + DEADLINE_SECONDS
        statement = f"SELECT @@server_uuid, WAIT_FOR_EXECUTED_GTID_SET('{mark.position}', {POLL_SECONDS})"
        while not cancelled():
            server_uuid, timed_out = session.row(statement, 2)
            if (server_uuid or b"").decode() != self._server_uuid:
                raise DataError(
                    Reason.SOURCE_REPLACED,
                    f"{session.endpoint.address} is now server {(server_uuid or b'?').decode()}, the stream came from "
                    f"{self._server_uuid}; point the Ferry at the server it started from",
                )
            if timed_out == b"0":
                return True
            if time.monotonic() > deadline:
                raise _stalled(session, mark)
        return False


class SnapshotVisibility:
    """MariaDB. The place that a snapshot reports is between two transactions, and InnoDB has committed all before it.

    A mark's place is inside its transaction. The mark that a run resumes from has none: there the place of the last
    transaction read is used, and before the first one GTIDs, which the server looks up in its binlog. XA COMMIT is not
    part of that order, but its XID stays in XA RECOVER until its rows are visible.
    """

    lock_clause = ""

    def start(self, session: Session) -> StreamMark:
        length, file, offset = place = _snapshot_place(session)
        found = _gtids_at(session, place)
        if found is None:
            raise _unknown_place(session)
        return StreamMark(0, found, (length, file, offset - 1))

    def wait(
        self,
        session: Session,
        mark: StreamMark,
        cancelled: Callable[[], bool],
        xids: Callable[[], Collection[str]] = _no_xids,
    ) -> bool:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not cancelled():
            if _is_behind(session, mark) and not (xids() and set(xids()).intersection(prepared_xids(session))):
                return True
            if time.monotonic() > deadline:
                raise _stalled(session, mark)
            time.sleep(SNAPSHOT_POLL_SECONDS)
        return False


class LockingVisibility:
    """Works on any InnoDB source at a price: the read itself waits for locks, row by row."""

    lock_clause = " LOCK IN SHARE MODE"

    def start(self, session: Session) -> StreamMark:
        return StreamMark(0, source_position(session))

    def wait(
        self,
        session: Session,  # noqa: ARG002 - the lock waits
        mark: StreamMark,  # noqa: ARG002
        cancelled: Callable[[], bool],
        xids: Callable[[], Collection[str]] = _no_xids,  # noqa: ARG002
    ) -> bool:
        return not cancelled()


class PlaceVisibility(LockingVisibility):
    """MySQL without gtid_mode=ON: no statement tells what is committed of the binlog, which contains stalled commits.

    DDL locks its table until it is visible, and SHOW CREATE TABLE waits for that.
    """

    def start(self, session: Session) -> StreamMark:
        return StreamMark(0, FilePosition(*place_of_end(session)))


def visibility_of(session: Session, position: str | None = None) -> Visibility:
    """The strategy for the server behind ``session``. A run keeps the kind of position that it began with."""
    if session.flavor is Flavor.MYSQL:
        if position is None:
            by_gtid = session.text("SELECT @@GLOBAL.gtid_mode") == "ON"
        else:
            by_gtid = not isinstance(parse_position(session.flavor, position), FilePosition)
        return GtidVisibility(session.text("SELECT @@server_uuid")) if by_gtid else PlaceVisibility()
    if not session.number("SELECT @@log_bin"):
        return LockingVisibility()  # asked before preflight refuses such a source
    # Otherwise commits of a group become visible one by one while a snapshot already reports the end of the group.
    ordered = session.number("SELECT @@binlog_optimize_thread_scheduling")
    clustered = session.query("SHOW VARIABLES LIKE 'wsrep_on'")
    if not ordered or (clustered and clustered[0][1] == b"ON"):
        return LockingVisibility()
    if _gtids_at(session, _snapshot_place(session)) is None:
        log.warning("%s; rows are read with locks instead", _unknown_place(session).message)
        return LockingVisibility()
    return SnapshotVisibility()


def furthest_place(session: Session, *, by_file: bool = False) -> LastRead:
    """The place that the source's binlog has reached at the start of a run. It must never be shorter later.

    ``by_file``: positions are places, which after a reset exist again, so the file's creation time matters at once.
    """
    mariadb = session.flavor is Flavor.MARIADB
    file, offset = committed_place(session) if mariadb else place_of_end(session)
    if offset >= DUMPABLE:
        raise RetriableError(
            Reason.BINLOG_UNREADABLE,
            f"{session.endpoint.where} is at {offset} of {file}, after one huge transaction: no dump can be requested "
            "from a place beyond 4 GiB. It begins the next file at once, or after FLUSH BINARY LOGS; then start again",
        )
    return LastRead(file, begun(session.endpoint, file) if by_file else 0, offset)


def _snapshot_place(session: Session) -> Place:
    """The place in the binlog up to which InnoDB has committed."""
    file, offset = committed_place(session)
    return len(file), file, offset


def _gtids_at(session: Session, place: Place) -> MariaDbGtids | None:
    """GTIDs at that place.

    The server reads a binlog file for it, so do not ask at every flush. None if an event exceeds max_allowed_packet.
    """
    _, file, offset = place
    found = session.value(f"SELECT BINLOG_GTID_POS({string(file)}, {offset})")
    return None if found is None else MariaDbGtids.parse(found.decode())


def _is_behind(session: Session, mark: StreamMark) -> bool:
    """Whether a new snapshot is after ``mark``."""
    place, last = _snapshot_place(session), mark.last_read
    if mark.place is not None:
        return place > mark.place
    if last is not None:  # at or after the mark: a run never resumes from a place that was not read
        read = len(last.file), last.file, last.offset
        if last.digest:
            return place > read
        if place >= read:
            return True
    found = _gtids_at(session, place)
    if found is None:
        raise _unknown_place(session)
    return found.contains(mark.position)


def _unknown_place(session: Session) -> RetriableError:
    """The next run detects this at its start and uses locking reads."""
    return RetriableError(
        Reason.BINLOG_UNREADABLE,
        f"{session.endpoint.address} cannot determine the GTIDs at a place in its binlog, because the binlog holds "
        f"rows longer than its max_allowed_packet",
    )


def _stalled(session: Session, mark: StreamMark) -> RetriableError:
    return RetriableError(
        Reason.VISIBILITY_STALLED,
        f"transactions streamed from {session.endpoint.address} were not visible to reads after "
        f"{DEADLINE_SECONDS:.0f} s (a stalled commit or semi-sync replica?): {mark.position}",
    )
