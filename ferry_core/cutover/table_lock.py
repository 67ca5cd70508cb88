"""``sourceLock: LockTables``: a READ lock on the selected tables of the source; other tables are written on.

The lock belongs to one session and ends with it. So nothing outlives a copier that dies: the session is pinged every
second, and the server ends one that is silent for the deadline and a little longer. A statement that waits without its
copier ends later: its lock_wait_timeout, as long, counts for each table anew. The same makes it fragile: whoever
kills the session, or restarts the source, allows writes. That is noticed by ``held``, right before the cutover is
recorded.

Writers do not get an error, they wait. They would write to the source when the lock ends, also after the cutover: so
the lock stays while the run watches the source, and whoever still waits at its end is named (``stop_keeping``). Only a
transaction that has written to one table, for which LOCK TABLES waits, and then wants one that is locked already gets
an error: it ends as the victim of a deadlock (1213).

Measured on both families: LOCK TABLES waits for open transactions that have changed one of the tables, until they are
visible and in the binlog; for prepared XA transactions; and for DDL. Writers do not queue behind it: with 16 of them
whose transactions are open for 50 ms it took 2 to 8 s, or had no lock after 10 s. It takes the tables' locks one after
another, so writers of the first ones queue while it waits for the last. Writes through views and triggers wait too. A
session keeps its advisory locks. Tables of MyISAM and Aria cannot be locked like this, and preflight refuses them: a
writer that waits keeps out new readers on MariaDB, and on both families LOCK TABLES ... READ, by which the run reads
such tables.

As with ``source_lock``, the session takes a named lock first, by which a successor ends it.
"""

import logging
import math
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from ferry_core.cutover.background import Background
from ferry_core.cutover.killing import ANSWER_SECONDS, LOOK_SECONDS, Killer, end_connections
from ferry_core.cutover.lock_sessions import MARK, LockSessions
from ferry_core.cutover.source_lock import LOCK_KIND, Check, Released
from ferry_core.cutover.write_block import WriteBlock
from ferry_core.errors import FerryError, RetriableError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.processes import Process, processes
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import TableName

log = logging.getLogger(__name__)

LOCK_TABLES = "LockTables"
SILENT_SECONDS = 5
"""How much longer than the deadline the server waits for a ping."""
PING_SECONDS = 1.0
END_SECONDS = 5.0
"""How long to wait until the lock has ended."""
WRITE_SECONDS = 5.0
"""How long statements that waited for the lock may take until they have ended, so that their rows are named."""
STILL_SECONDS = 1.0
"""A wait that goes on for so long after the lock has ended was not for it."""
_BUSY = (
    ". LOCK TABLES gets its lock only in a moment in which no transaction that has written to these tables is open: if "
    "writers leave none, have fewer of them, choose a quieter time, raise cutover.deadline, or use ReadOnly"
)
_WAITING = ("Waiting for table metadata lock", "Waiting for table level lock")


class TableLock:
    """A ``SourceLock``. ``tables`` are asked for at each attempt; ``owner`` is the Ferry's uid."""

    outlives_run = False

    def __init__(self, login: Callable[[], Endpoint], tables: Callable[[], Collection[TableName]], owner: str) -> None:
        self.block = WriteBlock()
        self.caution = ""
        self._sessions = LockSessions(login, owner)
        self._tables = tables
        self._session: Session | None = None
        self._using = threading.Lock()
        self._over = threading.Event()
        self._lost = threading.Event()

    @property
    def lost(self) -> bool:
        return self._lost.is_set()

    def begin(self, seconds: float, check_cancelled: Check = bool) -> None:  # noqa: ARG002 - the protocol's
        """Several Ferries may lock tables of one source at the same time."""
        with self._sessions.open() as session:
            self._kill_leftovers(session)

    def keep(self, seconds: float) -> None:
        """The pings keep it."""

    def intent(self, seconds: float) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        return {LOCK_KIND: LOCK_TABLES}

    def acquire(self, deadline_seconds: float, confirm: Check = bool, check_cancelled: Check = bool) -> None:
        silent = math.ceil(deadline_seconds) + SILENT_SECONDS
        timeouts = {"lock_wait_timeout": str(math.ceil(deadline_seconds) + 1), "wait_timeout": str(silent)}
        with self._sessions.open() as control:
            self._kill_leftovers(control)
            session = self._session = self._sessions.open(deadline_seconds, timeouts)  # whoever unlocks ends it
            try:
                self._sessions.enrol(session)
                confirm()
            except BaseException:
                self.end()
                raise
            self.block.begins()
            try:
                with Killer(control, session.connection_id, deadline_seconds, check_cancelled) as killer:
                    session.execute(self._statement())
            except FerryError as error:
                self._undo(error)
                raise killer.failure(error, self._where, _BUSY) from error
        session.answers_within(ANSWER_SECONDS)
        self._over.clear()
        self._lost.clear()
        threading.Thread(target=self._ping, args=(session,), name="table-lock", daemon=True).start()

    def _statement(self) -> str:
        names = sorted({name.sql for name in self._tables()})
        return f"LOCK TABLES {self._sessions.marker} {', '.join(f'{name} READ' for name in names)}"

    def held(self) -> bool:
        session = self._session
        return session is not None and self._answers(session)

    def open_xa_writers(self, session: Session) -> list[str]:  # noqa: ARG002 - the protocol's
        """The lock has waited for those that have changed a selected table, and the others cannot any more."""
        return []

    def unlock(self) -> None:
        self._over.set()
        if (session := self._session) is not None:
            self._kill(session)
            session.close()
            self._session = None
            log.warning("%s: the tables are unlocked", self._where)
        self.block.ends()

    def _kill(self, session: Session) -> None:
        session.abort()  # an idle session ends at once, also if waiting writers use up all connections
        with self._sessions.open() as fresh:  # one that hangs, or whose server does not hear of that, does not
            end_connections(fresh, lambda process: self._is_own(fresh, process.ident, session.connection_id))

    def _is_own(self, fresh: Session, ident: int, ours: int) -> bool:
        """After a restart of the server the same id may be an application's."""
        return ident == ours and self._sessions.own.holder(fresh) == ours

    def release(self, stored: Mapping[str, str]) -> Released:  # noqa: ARG002 - the protocol's
        with self._sessions.open() as session:
            self._kill_leftovers(session)
        self.block.ends()
        return Released.ALLOWED

    def stop_keeping(self) -> list[str]:
        """Raises if no answer tells who waits, or the lock was lost before. It ends anyway."""
        if (session := self._session) is None:
            return []
        lost = False
        try:
            try:
                with self._using:  # this session is open, also if waiting writers use up all connections
                    waiting = _waiting(session)
            except FerryError as error:
                log.warning("%s: the session that locks the tables does not tell who waits: %s", self._where, error)
                lost = True
                with self._sessions.open() as fresh:
                    waiting = _waiting(fresh)
        finally:
            self.end()
        waited = self._let_write(waiting) if waiting else ()
        if lost and not waited:
            raise RetriableError(
                Reason.SOURCE_UNLOCKED,
                f"{self._where}: the session that locked the tables was lost before, so writes to them were possible",
            )
        return [_told(process) for process in waited]

    def _let_write(self, waiting: Sequence[Process]) -> Sequence[Process]:
        """Those that had waited for this lock, once their statements have ended: so the rows that they write are in the
        binlog and named, too.

        Who still waits was in the way of somebody else. DDL of a locked table may be in the way of both.
        """
        names = {name.name for name in self._tables()}
        began = time.monotonic()
        try:
            with self._sessions.open() as session:
                while time.monotonic() < began + WRITE_SECONDS:
                    now = {(process.ident, process.statement): process for process in processes(session)}
                    if time.monotonic() > began + STILL_SECONDS:
                        ours = [one for one in waiting if _names_one(one, names) or not _waits_on(one, now)]
                        for one in (one for one in waiting if one not in ours):
                            log.warning("not counted, because it still waits for somebody else: %s", _told(one))
                        waiting = ours
                    if not any((process.ident, process.statement) in now for process in waiting):
                        break
                    threading.Event().wait(LOOK_SECONDS)
        except FerryError as error:
            log.warning("%s: it is not known whether what waited for the lock has ended: %s", self._where, error)
        return waiting

    def end(self) -> None:
        """The server unlocks the tables of a session that ends. A network that swallows the KILL is not waited for."""
        self._over.set()
        self._lost.clear()
        session, self._session = self._session, None
        if session is not None and not Background("table-lock-end", partial(self._end, session)).ended(END_SECONDS):
            log.warning("%s: the session that locks the tables may still end later: no answer", self._where)

    def _end(self, session: Session) -> None:
        try:
            self._kill(session)
        except FerryError as error:
            log.warning("%s: the session that locks the tables may still end later: %s", self._where, error)
        finally:
            session.close()

    def by_hand(self, stored: Mapping[str, str]) -> str:  # noqa: ARG002 - the protocol's
        session = self._session
        which = "the connection that runs LOCK TABLES there" if session is None else f"{session.connection_id} there"
        return (
            f"{self._where}: KILL {which}; without that, the server ends the lock by itself once it has not heard of "
            f"this copier for cutover.deadline plus {SILENT_SECONDS} s"
        )

    def _ping(self, session: Session) -> None:
        """In a thread of its own, for as long as the lock is to be held."""
        while not self._over.wait(PING_SECONDS):
            if not self._answers(session):
                return

    def _answers(self, session: Session) -> bool:
        with self._using:
            try:
                return session.number("SELECT 1") == 1
            except FerryError as error:
                if not self._over.is_set():
                    self._lost.set()
                    log.warning("%s: the session that locks the tables is lost: %s", self._where, error)
                return False

    def _undo(self, error: FerryError) -> None:
        try:
            self.unlock()
        except FerryError as trouble:
            raise RetriableError(
                Reason.SOURCE_MAY_BE_LOCKED,
                f"{self._where}: the attempt to lock the tables failed ({error}) and could not be undone ({trouble}); "
                f"the server undoes it after {SILENT_SECONDS} s more than cutover.deadline",
            ) from error

    def _kill_leftovers(self, session: Session) -> None:
        """End sessions of this owner that another run has left behind, and wait until they are gone."""
        ours = None if self._session is None else self._session.connection_id
        self._sessions.end_left(session, (ours, session.connection_id), (self._sessions.own.holder(session),))

    @property
    def _where(self) -> str:
        return self._sessions.where


def _waiting(session: Session) -> list[Process]:
    """Locks of other Ferries write nothing."""
    found = [one for one in processes(session) if one.state.startswith(_WAITING)]
    return [one for one in found if one.statement.strip() and MARK not in one.statement]


def _waits_on(process: Process, now: Mapping[tuple[int, str], Process]) -> bool:
    later = now.get((process.ident, process.statement))
    return later is not None and later.state.startswith(_WAITING)


def _names_one(process: Process, names: Collection[str]) -> bool:
    return any(re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", process.statement, re.IGNORECASE) for name in names)


def _told(process: Process) -> str:
    statement = process.statement.split()[0][:20]
    return f"connection {process.ident} ({process.user}@{process.host}, {statement} for {process.seconds} s)"
