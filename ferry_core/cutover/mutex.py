"""The cutover mutex: only one Ferry at a time may stop the writes of a source, because it has only one read_only.

Without it, a second Ferry would take the first one's read_only for its own lock, cut over under it, and lose each write
that arrives when the first one's attempt fails and restores read_only.

The mutex is a named lock on the source. A run holds it during an attempt and, after the cutover, for as long as it
watches the source. It is released with its session, which the source closes after a silence longer than any attempt. A
successor of the same Ferry finds the session by a second named lock of the Ferry's own, and kills it. If a dead copier
left the source read-only, its successor restores it; attempts of other Ferries refuse such a source. A statement that
stops writes may outlive the mutex: it may wait for a table while its copier is dead, or still be on its way. So its
session holds ``STATEMENT``, and no other attempt begins before that is free. Made by ``source_lock``.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from ferry_core.errors import ConnectionLost, FerryError, RetriableError
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

SOURCE_LOCK = AdvisoryLock("mysql-ferry-source-lock")
STATEMENT = AdvisoryLock("mysql-ferry-stops-writes")
"""Held by the session that stops writes, from before its last look at the mutex until the statement has ended."""
LOOK_SECONDS = 0.2
IDLE_SECONDS = 900
"""The source closes the session after this silence. An attempt may take 10 min."""
PATIENT_SECONDS = 600.0
"""How long an answer of the session may take, since a second one can unlock (``stand_in``).

Without the session, an unlock depends on the target.
"""
HURRIED_SECONDS = 5.0
"""The same after the cutover, when nothing is left to unlock."""


def refuse_statement(session: Session, where: str) -> None:
    """Ask with the mutex: then no statement of another Ferry can come that is not seen here.

    It would lock the source for that Ferry, whose next run would allow writes again in spite of our cutover.
    """
    if STATEMENT.holder(session):
        raise RetriableError(
            Reason.SOURCE_LOCK_BUSY, f"{where}: a statement with which another Ferry stops writes has not ended yet"
        )


class CutoverMutexLost(RetriableError):
    """The session that held the mutex has ended. This run may unlock the source only after reading the lease."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.SOURCE_TURN_LOST, message)


class CutoverMutex:
    """Acquired by one thread, used by several, one at a time. ``connect`` opens the session that holds it."""

    def __init__(self, connect: Callable[[], Session], own: AdvisoryLock) -> None:
        """``own``: the named lock by which this Ferry's session is found, also while it waits for the mutex."""
        self._connect = connect
        self._own = own
        self._session: Session | None = None
        self._using = threading.RLock()

    @property
    def connection_id(self) -> int | None:
        """Connection id of the session that holds the mutex."""
        return None if self._session is None else self._session.connection_id

    def holder(self, session: Session) -> int:
        """Connection id of any run of this Ferry that holds the mutex or waits for it; 0: none."""
        return self._own.holder(session)

    def keep(self, seconds: float) -> None:
        """Extend the silence after which the source closes the session."""
        with self._using:
            if self._session is not None:
                self._session.answers_within(HURRIED_SECONDS)
                self._session.execute(f"SET SESSION wait_timeout = {IDLE_SECONDS + round(seconds)}")

    def use(self, work: Callable[[Session], object]) -> None:
        """Do ``work`` on the session that holds the mutex. If that session has ended, nothing is done."""
        with self._using:
            if self._session is None:
                raise CutoverMutexLost("the source is no longer reserved for this cutover")
            try:
                work(self._session)
            except ConnectionLost as error:
                self.release()  # the server may not have noticed yet: the next holder must find the session and end it
                raise CutoverMutexLost(error.message) from error

    def ping(self) -> None:
        """Raise CutoverMutexLost if the session has ended."""
        self.use(lambda session: session.query("SELECT 1"))

    def acquire(self, seconds: float, check_cancelled: Callable[[], object] = bool) -> bool:
        """Returns False if another run still holds it after ``seconds``.

        Calls ``check_cancelled`` meanwhile, which may raise.
        """
        if self.held():
            return True
        self.release()
        pause, end = threading.Event(), time.monotonic() + seconds
        session = self._connect()
        try:
            session.execute(f"SET SESSION wait_timeout = {IDLE_SECONDS}")
            self._own.take(session, 1)
            while not SOURCE_LOCK.take(session):
                check_cancelled()
                if time.monotonic() > end:
                    session.close()
                    return False
                pause.wait(LOOK_SECONDS)
        except BaseException:
            session.close()
            raise
        session.answers_within(PATIENT_SECONDS)
        self._session = session
        return True

    def refuse_ended(self, session: Session) -> None:
        """Raise CutoverMutexLost unless the source still has the session that holds the mutex, asked over another."""
        holding = self._session
        same = holding is not None and session.identity == holding.identity  # a restarted one gives ids again
        if holding is None or not same or SOURCE_LOCK.holder(session) != holding.connection_id:
            raise CutoverMutexLost("the source has ended the session that was reserved for this cutover")

    def held(self) -> bool:
        """Whether this run holds it. It is lost with its session."""
        with self._using:
            try:
                if self._session is not None and SOURCE_LOCK.is_held_by(self._session):
                    return True
            except FerryError as error:
                log.debug("the cutover mutex is lost: %s", error)
            self.release()
            return False

    def release(self) -> None:
        """Never waits: a thread that uses the session, and waits for a server that hangs, gets an error at once."""
        session = self._session
        if session is None:
            return
        session.abort()
        if self._using.acquire(blocking=False):  # else whoever uses it releases it upon that error
            session.close()  # and the server releases the named lock
            self._session = None
            self._using.release()

    @contextlib.contextmanager
    def acquired(self, seconds: float) -> Iterator[bool]:
        """Yields whether this run holds it; releases it at the end unless it was held before."""
        before = self.held()
        try:
            yield self.acquire(seconds)
        finally:
            if not before:
                self.release()
