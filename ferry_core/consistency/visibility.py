"""R1: an event can be read from the binlog before InnoDB shows its rows; a read that relies on the stream must wait.

Group commit sends events at the sync stage and makes rows visible later; under semi-sync the gap is a network round
trip. A naive re-read in the gap sees the old row and the update is lost.

MySQL with GTIDs: once the streamed set is contained in ``@@gtid_executed`` its rows are visible, and a plain SELECT is
enough: no lock on the source. MariaDB: each read takes LOCK IN SHARE MODE for that one autocommitted SELECT, which
waits for the row locks that a transaction keeps until its rows are visible. Called by the flusher and the table start.
"""

import time
from collections.abc import Callable
from typing import Protocol

from ferry_core.changes.sink import StreamMark
from ferry_core.errors import DataError, RetriableError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session

DEADLINE_SECONDS = 600.0
POLL_SECONDS = 1


class Visibility(Protocol):
    """How reads of this source are made to see everything streamed."""

    lock_clause: str
    """Appended to every SELECT of rows."""

    def wait(self, session: Session, mark: StreamMark, cancelled: Callable[[], bool]) -> bool:
        """Until everything up to ``mark`` is visible to a new SELECT with ``lock_clause``; False when cancelled."""


class GtidVisibility:
    """MySQL with gtid_mode=ON."""

    lock_clause = ""

    def __init__(self, server_uuid: str) -> None:
        """``server_uuid`` of the server that the stream comes from: another one's gtid_executed proves nothing."""
        self._server_uuid = server_uuid

    def wait(self, session: Session, mark: StreamMark, cancelled: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + DEADLINE_SECONDS
        statement = f"SELECT @@server_uuid, WAIT_FOR_EXECUTED_GTID_SET('{mark.position}', {POLL_SECONDS})"
        while not cancelled():
            server_uuid, timed_out = session.query(statement)[0]
            if (server_uuid or b"").decode() != self._server_uuid:
                raise DataError(
                    "SourceReplaced",
                    f"{session.endpoint.address} is now server {(server_uuid or b'?').decode()}, the stream came from "
                    f"{self._server_uuid}; point the Ferry at the server it started from",
                )
            if timed_out == b"0":
                return True
            if time.monotonic() > deadline:
                raise RetriableError(
                    "VisibilityStalled",
                    f"transactions streamed from {session.endpoint.address} were not visible to reads after "
                    f"{DEADLINE_SECONDS:.0f} s (a stalled commit or semi-sync replica?): {mark.position}",
                )
        return False


class LockingVisibility:
    """MariaDB: the read itself waits, row by row."""

    lock_clause = " LOCK IN SHARE MODE"

    def wait(self, session: Session, mark: StreamMark, cancelled: Callable[[], bool]) -> bool:  # noqa: ARG002 - the lock waits
        return not cancelled()


def visibility_of(session: Session) -> Visibility:
    """The strategy for the server behind ``session``."""
    if session.flavor is Flavor.MYSQL:
        return GtidVisibility(session.text("SELECT @@server_uuid"))
    return LockingVisibility()
