"""One Ferry at a time stops the writes of a source: its read_only is one switch for all who move data away from there.

Without it a second Ferry takes the first one's lock for its own, hands over under it, and loses every write that comes
when the first one's attempt fails and restores read_only. A named lock of the source is the turn: it is kept for the
attempt and, after a hand-over, for as long as the run watches. It ends with its session, which the source ends once it
has been silent for longer than any attempt; a successor of the same Ferry finds it by a name of its own, and kills it.
What a dead copier left read-only is for its successor to undo, and refused by everybody else's attempt. Made by
``source_lock``.
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
LOOK_SECONDS = 0.2
IDLE_SECONDS = 900
"""After so long a silence the source ends the session. An attempt may take 10 min."""


class TurnLost(RetriableError):
    """The session that held the turn is gone, and with it the right to act on the source without asking the lease."""

    def __init__(self, message: str) -> None:
        super().__init__(Reason.SOURCE_TURN_LOST, message)


class Turn:
    """Taken by one thread, used by several, one at a time; ``connect`` opens the session whose it is."""

    def __init__(self, connect: Callable[[], Session], own: AdvisoryLock) -> None:
        """``own``: by it this Ferry's session is found, whoever's the turn is."""
        self._connect = connect
        self._own = own
        self._session: Session | None = None
        self._using = threading.RLock()

    @property
    def connection_id(self) -> int | None:
        """Of the session that holds it."""
        return None if self._session is None else self._session.connection_id

    def holder(self, session: Session) -> int:
        """The connection by which this Ferry, or one that it succeeds, has its turn or waits for it; 0: none."""
        return self._own.holder(session)

    def keep(self, seconds: float) -> None:
        """For so much longer, without a word."""
        with self._using:
            if self._session is not None:
                self._session.execute(f"SET SESSION wait_timeout = {IDLE_SECONDS + round(seconds)}")

    def use(self, work: Callable[[Session], object]) -> None:
        """Do ``work`` on the session that holds it: where that has ended, nothing of the work is done."""
        with self._using:
            if self._session is None:
                raise TurnLost("the source is no longer reserved for this cutover")
            try:
                work(self._session)
            except ConnectionLost as error:
                self.give_back()  # the server may not know yet: whoever takes the next turn must find it and end it
                raise TurnLost(error.message) from error

    def take(self, seconds: float, check_cancelled: Callable[[], object] = bool) -> bool:
        """Wait for it; False if another still has it then. ``check_cancelled`` is called meanwhile; may raise."""
        if self.held():
            return True
        self.give_back()
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
        self._session = session
        return True

    def held(self) -> bool:
        """Whether it is ours; a lost session has lost it."""
        with self._using:
            try:
                if self._session is not None and SOURCE_LOCK.is_held_by(self._session):
                    return True
            except FerryError as error:
                log.debug("the turn is lost: %s", error)
            self.give_back()
            return False

    def give_back(self) -> None:
        with self._using:
            if self._session is not None:
                self._session.close()  # and the server gives it back
                self._session = None

    @contextlib.contextmanager
    def taken(self, seconds: float) -> Iterator[bool]:
        """Whether it is ours inside; kept afterwards only if it was ours before."""
        before = self.held()
        try:
            yield self.take(seconds)
        finally:
            if not before:
                self.give_back()
