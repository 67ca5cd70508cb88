"""Opens sessions for one run, re-reading the credentials each time, so that a rotated password needs no restart.

Thread-safe: anybody may ask for a session; a session then belongs to the thread that asked.
"""

import threading
import weakref
from collections.abc import Callable
from dataclasses import replace

from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Purpose, Session


class _Login:
    """One server's endpoint as the Secrets say now, and whether it was ever let in."""

    def __init__(self, ask: Callable[[], Endpoint]) -> None:
        self._ask = ask
        self.accepted = False

    def __call__(self) -> Endpoint:
        return replace(self._ask(), accepted=self.accepted)


class Connections:
    """``source`` and ``target`` give the endpoint as the Secrets say now."""

    def __init__(self, source: Callable[[], Endpoint], target: Callable[[], Endpoint]) -> None:
        self._source = _Login(source)
        self._target = _Login(target)
        self._open: weakref.WeakSet[Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    def _opening(self, session: Session) -> None:
        with self._lock:
            self._open.add(session)

    def abort_all(self) -> None:
        """Break every connection, also those being made: who waits for a server that hangs gets ConnectionLost."""
        with self._lock:
            sessions = list(self._open)
        for session in sessions:
            session.abort()

    def _session(self, login: _Login, purpose: Purpose, patience: float = 300) -> Session:
        session = Session(login(), purpose, read_timeout=patience, opening=self._opening)
        login.accepted = True
        return session

    def source(self, *, text: bool = False) -> Session:
        """A session that renders rows; ``text`` for tables with a row filter."""
        return self._session(self._source, Purpose.SOURCE_TEXT if text else Purpose.SOURCE)

    def source_control(self, patience: float = 300) -> Session:
        """``patience`` is for how many seconds an answer is waited for."""
        return self._session(self._source, Purpose.CONTROL, patience)

    def source_position(self) -> Position:
        """Of the newest commit in the source's binlog."""
        with self.source_control() as session:
            return source_position(session)

    def source_endpoint(self) -> Endpoint:
        """For who opens connections of its own: to be asked before each."""
        return self._source()

    def target(self) -> Session:
        """A session that may write rows; enrol it with the fence first."""
        return self._session(self._target, Purpose.TARGET)

    def target_control(self) -> Session:
        return self._session(self._target, Purpose.CONTROL)
