"""The sessions on the source that read rows, shared by all threads that copy, write changed keys, or compare.

A thread borrows one for a step: the read of a chunk and its write, a batch of changed keys, a wait for visibility (R1),
a comparison. So the source has ``copy.workers`` + 1 of them at most, however many threads there are. They are opened
when they are needed and closed when they are idle.

Who has waited longest is first. Steps that read many rows (bulk) get ``copy.workers`` sessions at most, and one less
than there are: a table that is copied whole may take hours, and changed keys must not wait for that. If there are fewer
sessions than bulk steps that run already, because ``copy.workers`` was lowered or an attempt to cut over begins, one
other step gets a session all the same. No step waits for a session while it holds one.

What orders what: everything here changes under one lock, ``_changed``, and nothing is asked of a server meanwhile. A
step first gets a turn (``_lent``). With it the thread takes a free session or opens one, which nobody else can take
then; asks and prepares it; has it (``_needs``); gives it back, and after that the turn. So there are never more
sessions than turns and free ones. The lock of a pair (``rows.session_pair``), by which a session is given back once and
only by whoever has it, is taken before this one, and the gate of a table after it.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from ferry_core.consistency.visibility import Visibility
from ferry_core.errors import ConnectionLost, ServerRole, Terminated
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.rows.session_pair import Lender, Need

LOCK_SECONDS = 1
"""How long a read that locks rows waits for one. All rows that it has read before stay locked meanwhile."""
IDLE_SECONDS = 40.0
"""Until an idle session is closed."""
LOOK_SECONDS = 0.1
"""How often a wait looks whether it is given up."""
ANSWER_SECONDS = 5.0
"""How long one that may be lost has to answer, before a step gets it."""

log = logging.getLogger(__name__)


class _Free(NamedTuple):
    """A session that nobody has, and since when."""

    since: float
    session: Session


class SourceSessions(Lender):
    """``connect`` opens a session for tables without a row filter; ``workers`` is the current ``copy.workers``."""

    def __init__(self, connect: Callable[[], Session], workers: Callable[[], int]) -> None:
        self._connect = connect
        self._workers = workers
        self._changed = threading.Condition()
        self._waiting: deque[Need] = deque()
        self._lent: list[Need] = []
        self._free: list[_Free] = []
        self._needs: dict[Session, Need] = {}
        """Of the sessions that are lent."""
        self._settings: dict[Session, tuple[bool, bool]] = {}
        """Text and quiet, of all that are open."""
        self._last: dict[int, Session] = {}
        """By thread: it gets the same one again if it is free, because it has prepared statements for it."""
        self._lost = 0.0
        """When a session was last given back closed: those that were free then may be lost, too."""
        self._left = 0
        self._room: object = None
        self._closed = False

    @property
    def _most(self) -> int:
        return max(1, self._workers() + 1 - self._left)

    @contextmanager
    def room(self, count: int) -> Iterator[Callable[[int], None]]:
        """While entered, this many fewer are open: a cutover attempt has as many of its own.

        Those that are lent stay open until they are given back. The attempt changes the number by the function that it
        gets. Once this is left, that does nothing: an attempt that was given up may still go on for a while, and takes
        no session from the next.
        """
        mine = object()

        def leave(number: int) -> None:
            with self._changed:
                if self._room is mine:
                    self._leave(number)

        with self._changed:
            self._room = mine
            self._leave(count)
        try:
            yield leave
        finally:
            with self._changed:
                leave(0)
                self._room = None

    def _leave(self, count: int) -> None:
        self._left = count
        while self._free and len(self._lent) + len(self._free) > self._most:
            self._forget(self._free.pop(0).session)
        self._changed.notify_all()

    def borrow(self, need: Need) -> Session:
        self._wait_for_turn(need)
        try:
            session = self._take(need) or self._opened()
            self._prepare(session, need)
        except BaseException:
            self._return_turn(need)
            raise
        with self._changed:
            self._needs[session] = need
            self._last[threading.get_ident()] = session
        return session

    def _wait_for_turn(self, need: Need) -> None:
        began = time.monotonic()
        with self._changed:
            self._waiting.append(need)
            try:
                while not self._is_next(need):
                    self._refuse_ended(need)
                    self._changed.wait(LOOK_SECONDS)
                self._refuse_ended(need)
                self._lent.append(need)
            finally:
                need.waited = time.monotonic() - began
                self._waiting.remove(need)
                self._changed.notify_all()

    def _refuse_ended(self, need: Need) -> None:
        if self._closed:
            raise Terminated(Reason.STOPPING, "the run is stopping")
        if need.given_up():
            raise ConnectionLost(Reason.CONNECTION_LOST, "waiting for a connection ended", server=ServerRole.SOURCE)

    def _is_next(self, need: Need) -> bool:
        return next((one for one in self._waiting if self._admitted(one)), None) is need

    def _admitted(self, need: Need) -> bool:
        bulk = sum(one.bulk for one in self._lent)
        if need.bulk:
            return len(self._lent) < self._most and bulk < max(1, min(self._workers(), self._most - 1))
        return len(self._lent) < self._most or bulk == len(self._lent)

    def _return_turn(self, need: Need) -> None:
        with self._changed:
            self._lent.remove(need)
            self._changed.notify_all()

    def _take(self, need: Need) -> Session | None:
        """A free one. If another was lost while it was free, it has to answer first."""
        while (found := self._chosen(need)) is not None:
            if found.since > self._lost or found.session.answers(ANSWER_SECONDS):
                return found.session
            self._forget(found.session)
        return None

    def _chosen(self, need: Need) -> _Free | None:
        with self._changed:
            if not self._free:
                return None
            last = self._last.get(threading.get_ident())
            alike = [one for one in self._free if self._settings[one.session] == (need.text, need.quiet)]
            chosen = next((one for one in self._free if one.session is last), (alike or self._free)[-1])
            self._free.remove(chosen)
            return chosen

    def _opened(self) -> Session:
        session = self._connect()
        with self._changed:
            self._settings[session] = False, False
        return session

    def _prepare(self, session: Session, need: Need) -> None:
        """The character set of literals: binary, or that of row filters, as ``mysql.session`` has it."""
        if self._settings[session] == (need.text, need.quiet):
            return
        characters, notes = "utf8mb4" if need.text else "binary", int(not need.quiet)
        try:
            session.execute(f"SET SESSION character_set_connection = {characters}, SESSION sql_notes = {notes}")
        except BaseException:
            self._lose(session)
            raise
        session.purpose = Purpose.SOURCE_TEXT if need.text else Purpose.SOURCE
        self._settings[session] = need.text, need.quiet

    def _forget(self, session: Session) -> None:
        session.close()
        with self._changed:
            self._settings.pop(session, None)

    def _lose(self, session: Session) -> None:
        with self._changed:
            self._lost = time.monotonic()
            self._forget(session)

    def give_back(self, session: Session) -> None:
        with self._changed:
            need = self._needs.pop(session)
            left_open = "" if session.closed else session.left_open
            if left_open:  # a fault of ours, which must not become one of the next step
                log.warning("a session on the source was left with %s: it is closed", left_open)
            if session.closed:
                self._lose(session)
            elif left_open or len(self._lent) + len(self._free) > self._most:
                self._forget(session)
            else:
                self._keep(session)
            self._return_turn(need)

    def warm(self, count: int) -> None:
        need = Need(text=False, quiet=False, bulk=False, given_up=bool)
        while True:
            with self._changed:
                if len(self._free) >= count or len(self._lent) + len(self._free) >= self._most or self._closed:
                    return
                self._lent.append(need)
            try:
                session = self._opened()
                self._keep(session)
            finally:
                self._return_turn(need)

    def _keep(self, session: Session) -> None:
        with self._changed:
            if self._closed:
                self._forget(session)
            else:
                self._free.append(_Free(time.monotonic(), session))

    def close_idle(self) -> None:
        """Called all the time."""
        with self._changed:
            until = time.monotonic() - IDLE_SECONDS
            idle = [one for one in self._free if one.since < until]
            self._free = [one for one in self._free if one not in idle]
            for one in idle:
                self._forget(one.session)
            self._last = {thread: session for thread, session in self._last.items() if session in self._settings}

    def close(self) -> None:
        """The run ends: nobody gets a session any more, and those that are lent are closed when given back."""
        with self._changed:
            self._closed = True
            for one in self._free:
                one.session.close()
            self._free.clear()
            self._changed.notify_all()


def reading(connect: Callable[[], Session], visibility: Visibility) -> Session:
    """A session whose reads are made visible like this. ``connect`` opens one that renders rows."""
    session = connect()
    if visibility.lock_clause:
        session.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_SECONDS}")
    return session
