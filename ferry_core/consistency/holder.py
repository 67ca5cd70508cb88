"""Records which process runs a Ferry: a row on the target for people, and a named lock that one live run can hold.

The fence lets the newer of two runs win. The lock keeps a second run from becoming the newer one by mistake. The
session that holds the lock sends a statement every two seconds, and the target ends the session, and with it the lock,
after 20 s of silence. So a lock whose session has just sent a statement belongs to a live run. The lock of a dead
process is released with its connection, that of a machine that is off or suspended within these 20 s. Called by
``run.single_run``.
"""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ferry_core.consistency.own_tables import HOLDER
from ferry_core.errors import FerryError, LockConflict
from ferry_core.mysql.advisory_lock import AdvisoryLock
from ferry_core.mysql.listings import exists
from ferry_core.mysql.literals import string
from ferry_core.mysql.processes import kill, processes
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
SILENT_SECONDS = 20
PATIENCE_SECONDS = SILENT_SECONDS + 20.0
"""How long to wait for a silent holder. A busy server checks its timeouts late."""


@dataclass(frozen=True)
class Holder:
    """The newest run, according to its row on the target. Times are the target's, UTC."""

    process: str
    state: str
    began: str  # the Ferry's first run
    since: str  # this run

    def __str__(self) -> str:
        return f"{self.process} since {self.since}"


def record_holder(session: Session, uid: str, epoch: int, state_at: str) -> None:
    """Record this process as the newest run, in the transaction of a claim.

    ``state_at`` is where it keeps its state.
    """
    process = f"process {os.getpid()} on {socket.gethostname()}"
    session.execute(
        f"INSERT INTO {HOLDER} (ferry_uid, epoch, process, state, began_at, since)"
        f" VALUES ({string(uid)}, {epoch}, {string(process[:320])}, {string(state_at)}, NOW(6), NOW(6))"
        " ON DUPLICATE KEY UPDATE epoch = VALUES(epoch), process = VALUES(process), state = VALUES(state),"
        " since = VALUES(since)"
    )


def read_holder(session: Session, uid: str) -> Holder | None:
    """The recorded run; None if no run of this version has claimed tables."""
    rows = exists(session, HOLDER) and session.query(
        f"SELECT process, state, DATE_FORMAT(began_at, '%Y-%m-%d %H:%i:%s UTC'),"
        f" DATE_FORMAT(since, '%Y-%m-%d %H:%i:%s UTC') FROM {HOLDER} WHERE ferry_uid = {string(uid)}"
    )
    return Holder(*((value or b"").decode() for value in rows[0])) if rows else None


class Presence:
    """The named lock, held from ``enter`` to ``leave`` by its own session and thread."""

    def __init__(self, connect: Callable[[], Session], uid: str) -> None:
        """``connect`` opens a session on the target for short statements."""
        self._connect = connect
        self._uid = uid
        self._lock = AdvisoryLock(f"ferry:{uid}:run")
        self._session: Session | None = None
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="presence", daemon=True)

    def enter(self, *, take_over: bool, wait: Callable[[float], None]) -> str | None:
        """Take the lock. Returns None when it is ours, otherwise its holder. ``take_over`` ends the other session
        instead.

        ``wait`` sleeps for some seconds, and raises when there is no more reason to wait.
        """
        session = self._open()
        try:
            other = self._acquire(session, take_over, wait)
        except BaseException:
            session.close()
            raise
        if other is not None:
            session.close()
            return other
        self._session = session
        self._thread.start()
        return None

    def leave(self) -> None:
        self._left.set()
        session = self._session
        if session is not None:
            session.abort()
        if self._thread.is_alive():
            self._thread.join(BEAT_SECONDS)

    def _open(self) -> Session:
        session = self._connect()
        session.execute(f"SET SESSION wait_timeout = {SILENT_SECONDS}")
        return session

    def _acquire(self, session: Session, take_over: bool, wait: Callable[[float], None]) -> str | None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        before: tuple[int, int] | None = None
        while not self._lock.take(session):
            holder = self._lock.holder(session)
            late = time.monotonic() > deadline
            if take_over:
                if late:
                    raise LockConflict(
                        Reason.LOCK_WAIT, f"connection {holder} on {session.endpoint.address} does not end"
                    )
                if holder:
                    kill(session, holder)
            elif holder:
                seen, idle = self._look(session, holder)
                if late or (before is not None and (holder != before[0] or idle < before[1])):
                    return self._described(session, seen)
                if before is None:
                    log.warning("another run%s is alive or has just ended: waiting until that is known", seen)
                before = holder, idle
            wait(0.2)
        return None

    def _look(self, session: Session, holder: int) -> tuple[str, int]:
        """The address that a connection comes from, and for how long it has been silent."""
        found = next((process for process in processes(session) if process.ident == holder), None)
        return (f" (connected from {found.host})", found.seconds) if found else ("", 0)

    def _described(self, session: Session, seen: str) -> str:
        known = read_holder(session, self._uid)
        return f"{known or 'one that has just started'}{seen}, on target {session.endpoint.address}"

    def _keep(self) -> None:
        """Send a statement at intervals. After a lost connection take the lock again, unless a newer run holds it."""
        while not self._left.wait(BEAT_SECONDS):
            try:
                if self._session is not None:
                    self._session.execute("DO 0")
                    continue
                self._session = self._open()
                if not self._lock.take(self._session):
                    self._drop()
            except FerryError as error:
                log.debug("the record on the target that this run is alive could not be renewed: %s", error)
                self._drop()
        self._drop()

    def _drop(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
