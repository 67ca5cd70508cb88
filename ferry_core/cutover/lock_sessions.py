"""Sessions on the source for stopping writes, and how a successor of the same Ferry finds and ends them.

The session that stops writes takes a named lock before its last checks, and its statement contains the owner's name: so
it is found while it is about to send the statement, while the statement waits, and after its copier has died. Used by
the locks.
"""

import re
from collections.abc import Callable, Collection, Mapping

from ferry_core.cutover.killing import ANSWER_SECONDS, end_connections
from ferry_core.errors import RetriableError
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason

MARK = "/* mysql-ferry source lock "
"""Begins the comment in statements by which Ferries stop writes."""


class LockSessions:
    """``login`` is called at each connect, because an unlock is retried for minutes and the password may change
    meanwhile. ``owner``: the Ferry's uid.
    """

    def __init__(self, login: Callable[[], Endpoint], owner: str) -> None:
        self._login = login
        plain = re.sub("[^0-9A-Za-z._-]", "_", owner)
        self.marker = f"{MARK}{plain} */"
        """In each statement that stops writes or allows them."""
        self.own = AdvisoryLock(f"ferry-source-lock:{plain}"[:64])
        """Held by the session that sends it."""
        self.turn = AdvisoryLock(f"ferry-source-turn:{plain}"[:64])
        """Held by the session that holds the cutover mutex, or waits for it."""

    @property
    def endpoint(self) -> Endpoint:
        return self._login()

    @property
    def where(self) -> str:
        return self._login().where

    def open(self, extra_seconds: float = 0, settings: Mapping[str, str] | None = None) -> Session:
        """``extra_seconds``: how much longer an answer may take than that of an administrative statement."""
        return Session(
            self._login(),
            Purpose.CONTROL,
            connect_timeout=ANSWER_SECONDS,
            read_timeout=ANSWER_SECONDS + extra_seconds,
            extra=settings,
        )

    def enrol(self, session: Session, *others: AdvisoryLock) -> None:
        """Make a session findable before it sends a statement that stops or allows writes; takes ``others`` too."""
        if not all(lock.take(session, 1) for lock in (self.own, *others)):
            raise RetriableError(Reason.SOURCE_LOCK_FAILED, f"{self.where}: another run is stopping its writes")

    def end_left(self, session: Session, kept: Collection[int | None], found: Collection[int]) -> None:
        """End sessions of this owner that run without their copier, or are about to send: the ``found`` ones, and those
        with the owner's name in their statement. Waits until they are gone; leaves the ``kept`` ones alone.
        """
        end_connections(session, lambda p: p.ident not in kept and (p.ident in found or self.marker in p.statement))
