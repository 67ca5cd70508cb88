"""A thread's sessions on both servers, opened on first use. ``workers`` writes with them, ``verify`` only reads.

The session on the source may be borrowed (``Lender``): then it is the thread's for one step only.
"""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ferry_core.errors import LockConflict
from ferry_core.mysql.session import Session
from ferry_core.tables.table import Table

Result = TypeVar("Result")


@dataclass(eq=False)
class Need:
    """What a step needs of a session on the source."""

    text: bool
    """For tables with a row filter."""
    quiet: bool
    """Without notes: one per row would fill the server's list of warnings and hide an important one."""
    bulk: bool
    """The step reads many rows. So many sessions are lent to such steps that others always get one soon."""
    given_up: Callable[[], bool]
    """Whether to stop waiting for a session."""
    waited: float = 0.0
    """Set by the lender: for how many seconds all sessions were lent to others."""


class Lender(ABC):
    """Lends sessions on the source. A session belongs to whoever has borrowed it, until it is given back."""

    @abstractmethod
    def borrow(self, need: Need) -> Session:
        """Wait for a session. Raises if the wait is given up."""

    @abstractmethod
    def give_back(self, session: Session) -> None:
        """One with the settings that it was lent with and nothing left open, or one that is closed."""

    @abstractmethod
    def warm(self, count: int) -> None:
        """Open some if fewer than ``count`` are free, so that soon nobody has to wait until one is open."""


class _Own(Lender):
    """Sessions of a pair that shares none."""

    def __init__(self, connect: Callable[[bool], Session]) -> None:
        self._connect = connect
        self._sessions: dict[bool, Session] = {}

    def borrow(self, need: Need) -> Session:
        if need.text not in self._sessions or self._sessions[need.text].closed:
            self._sessions[need.text] = self._connect(need.text)
        return self._sessions[need.text]

    def give_back(self, session: Session) -> None:
        """It is kept."""

    def warm(self, count: int) -> None:
        """Nobody else waits for one."""

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()


class SessionPair:
    """Other threads may only call ``abort``."""

    quiet = False

    def __init__(self, sources: Lender | Callable[[bool], Session], open_target: Callable[[], Session]) -> None:
        """``sources`` lends sessions, or opens those of this pair; it is told whether for tables with a row filter."""
        self._own = None if isinstance(sources, Lender) else _Own(sources)
        self._sources: Lender = sources if isinstance(sources, Lender) else self._own or _Own(sources)
        self._open_target = open_target
        self._lending = threading.Lock()
        """Held while the borrowed session is given back, and by other threads that break it or kill its statement."""
        self._borrowed: Session | None = None
        self._borrowed_text = False
        self._broken = False
        self._waited = 0.0
        self._target: Session | None = None
        self.bulk = False
        """Whether its steps read many rows, also of tables that are not copied whole."""

    def source(self, table: Table | None = None, *, bulk: bool = False) -> Session:
        """The session that renders this table's rows, borrowed until the step ends.

        Without a table: one that needs no row filter. ``bulk``: the step may need it for long.
        """
        text = table is not None and table.row_filter is not None
        session = self._borrowed
        if session is not None and not session.closed and text == self._borrowed_text:
            return session
        self.give_back()
        bulk = bulk or self.bulk or (table is not None and table.whole)
        need = Need(text, self.quiet, bulk, self._given_up)
        try:
            session = self._sources.borrow(need)
        finally:
            self._waited += need.waited
        with self._lending:
            self._borrowed, self._borrowed_text, self._broken = session, text, False
        return session

    def _given_up(self) -> bool:
        return False

    def clock(self) -> float:
        """Seconds, without those in which others had all sessions: no server is slow then."""
        return time.monotonic() - self._waited

    @property
    def target(self) -> Session:
        if self._target is None:
            self._target = self._open_target()
        return self._target

    def connect(self) -> None:
        """Open those of tables without a row filter. A borrowed one is not waited for."""
        if self._own is not None:
            self.source()
        _ = self.target

    def step(self, body: Callable[[], Result]) -> Result:
        """Run one step. At its end nobody uses the source's session any more, and it has no open transaction.

        After a failure that may have left one it is closed.
        """
        try:
            result = body()
        except LockConflict:  # only the statement has failed
            self.give_back()
            raise
        except BaseException:
            self.give_back(closed=True)
            raise
        self.give_back()
        return result

    def give_back(self, *, closed: bool = False) -> None:
        """Give back the session on the source, if one is borrowed. It is never the next one that the thread borrows."""
        with self._lending:
            session, self._borrowed = self._borrowed, None
            if session is not None:
                if closed or self._broken:  # its next statement might fail
                    session.close()
                self._sources.give_back(session)

    def abort(self) -> None:
        """Break these connections: their thread gets ConnectionLost."""
        with self._lending:
            if self._borrowed is not None:
                self._broken = True
                self._borrowed.abort()
        target = self._target
        if target is not None:
            target.abort()

    def close(self) -> None:
        self.give_back(closed=True)
        if self._own is not None:
            self._own.close()
        if self._target is not None:
            self._target.close()
        self._target = None
