"""Stops writes on the source and allows them again.

Used by the coordinator's cutover, by ``ferry abort`` and by the next start of a run that died in between. The callers
decide who may unlock (by lease and phase).

Measured behaviour of SET GLOBAL super_read_only (MySQL 9.7) and read_only (MariaDB 10.11):

- An open transaction does not block it; the COMMIT is refused afterwards. So is a commit that waited behind a FLUSH
  TABLES WITH READ LOCK. XA COMMIT succeeds on MySQL; on MariaDB so do all writes by accounts with READ ONLY ADMIN.
- A running write statement, LOCK TABLES WRITE or a stalled commit blocks it, and every other write queues behind the
  attempt meanwhile: this time counts as write-block time.
- On MySQL an XA transaction that has already changed rows can still commit (``open_xa``).
- While it waits, MySQL shows @@super_read_only = 1 and @@read_only = 0: only both together mean locked.
- All Ferries that move data away from the source use the same switch: only one at a time may (``mutex``).
- KILL ends the wait and leaves the old values. A *client* that disappears does not end it on MySQL: the statement
  continues, and would lock a source that a successor has just unlocked. So the statement contains its owner's name,
  and whoever releases the lock first kills such leftovers.
- The same holds for a statement that is not sent yet: its session first takes a named lock, by which a successor finds
  and kills it, and only then checks that it may still go on (its epoch).
"""

import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import Protocol

from ferry_core.cutover.evidence import caution, evidence, is_ours
from ferry_core.cutover.killing import Killer, end_connections
from ferry_core.cutover.lock_sessions import LockSessions
from ferry_core.cutover.mutex import STATEMENT, CutoverMutex, refuse_statement
from ferry_core.cutover.open_xa import open_xa
from ferry_core.cutover.stand_in import unlock
from ferry_core.cutover.write_block import WriteBlock
from ferry_core.errors import DataError, FerryError, RetriableError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

Check = Callable[[], object]

LOCK_KIND = "lock"
"""Key in an ``intent``: the sourceLock that made it, which only can undo it. Absent: ReadOnly."""
MUTEX_SECONDS = 15.0
"""Longer than an attempt takes to find the source read-only and release the mutex."""


class Released(Enum):
    """What became of writes that an earlier attempt stopped."""

    NOTHING = "nothing"  # none were stopped
    ALLOWED = "allowed"
    OTHERS = "others"  # another Ferry has stopped them since
    UNCLEAR = "unclear"  # the source is read-only, and perhaps by somebody else


class SourceLock(Protocol):
    """How writes on the source are stopped. All methods may be called again after any failure."""

    caution: str
    """What ``release`` could not verify when it allowed writes; for people."""
    outlives_run: bool
    """Whether writes stay stopped when this process ends."""

    @property
    def lost(self) -> bool:
        """Whether a lock that cannot outlive this run has ended by itself. Not after ``stop_keeping``."""

    @property
    def block(self) -> WriteBlock:
        """The clock for writes that this lock stopped."""

    def begin(self, seconds: float, check_cancelled: Check = bool) -> None:
        """Become the only Ferry that may stop this source's writes, until ``end``. Raises after waiting that long."""

    def keep(self, seconds: float) -> None:
        """Writes stay stopped permanently, so nobody else may use the lock for that long. Call it after the cutover."""

    def stop_keeping(self) -> list[str]:
        """Call it at the end of the watch. A lock that cannot outlive this run ends: what then writes, a line each.

        Raises if that is not known.
        """

    def end(self) -> None:
        """Let other Ferries use it. Calling it again has no effect."""

    def intent(self, seconds: float) -> dict[str, str]:
        """To be stored durably between ``begin`` and ``acquire``: the values to restore, and whose lock it is."""

    def acquire(self, deadline_seconds: float, confirm: Check = bool, check_cancelled: Check = bool) -> None:
        """Stop writes, or raise with everything as it was before.

        ``confirm`` is called once, right before; ``check_cancelled`` repeatedly while it waits. Both raise to give up.
        """

    def held(self) -> bool:
        """Whether writes are stopped now. A restarted source allows them again."""

    def open_xa_writers(self, session: Session) -> list[str]:
        """Sessions that can still commit earlier changes although writes are stopped, one line each."""

    def unlock(self) -> None:
        """Allow writes again if this attempt stopped them, without the target: this run still holds the mutex.

        Raises CutoverMutexLost if it no longer does: then the lease decides who may.
        """

    def release(self, stored: Mapping[str, str]) -> Released:
        """Restore exactly the values of an ``intent``, unless the lock is now somebody else's."""

    def by_hand(self, stored: Mapping[str, str]) -> str:
        """Where writes are stopped, and the statement by which a person allows them."""


class NoLock:
    """``sourceLock: None``: the user has stopped the writes."""

    caution = ""
    outlives_run = True
    lost = False

    def __init__(self) -> None:
        self.block = WriteBlock()

    def begin(self, seconds: float, check_cancelled: Check = bool) -> None:
        """Nothing to do: there is no lock to keep others from."""

    def keep(self, seconds: float) -> None:
        """Nothing was begun."""

    def stop_keeping(self) -> list[str]:
        return []

    def end(self) -> None:
        """Nothing was begun."""

    def intent(self, seconds: float) -> dict[str, str]:  # noqa: ARG002 - the protocol's
        return {}

    def acquire(self, deadline_seconds: float, confirm: Check = bool, check_cancelled: Check = bool) -> None:
        """Nothing to do."""

    def held(self) -> bool:
        return True

    def open_xa_writers(self, session: Session) -> list[str]:  # noqa: ARG002 - the protocol's
        return []

    def unlock(self) -> None:
        """Nothing to undo: no writes were stopped."""

    def release(self, stored: Mapping[str, str]) -> Released:  # noqa: ARG002 - the protocol's
        return Released.NOTHING

    def by_hand(self, stored: Mapping[str, str]) -> str:  # noqa: ARG002 - the protocol's
        return "no writes were stopped"


class _Sent(Enum):
    """The progress of this attempt's statement."""

    NOT = "not"
    MAYBE = "maybe"  # sent, and perhaps still running
    DONE = "done"


class ReadOnlyLock:
    """``sourceLock: ReadOnly``. ``owner`` (the Ferry's uid) distinguishes our own leftover statements from another
    Ferry's.
    """

    outlives_run = True
    lost = False

    def __init__(self, login: Callable[[], Endpoint], flavor: Flavor, owner: str = "") -> None:
        self.block = WriteBlock()
        self.caution = ""
        self._sessions = LockSessions(login, owner)
        self._variables = ("read_only", "super_read_only") if flavor is Flavor.MYSQL else ("read_only",)
        self._mutex = CutoverMutex(self._sessions.open, self._sessions.turn)
        self._sent = _Sent.NOT
        self._before: dict[str, str] = {}

    def begin(self, seconds: float, check_cancelled: Check = bool) -> None:
        """Also refuses a source that is already read-only: a lock set by others must not be taken for ours.

        The mutex is then released at once, because the run that has to undo that lock waits only ``MUTEX_SECONDS`` for
        it.
        """
        with self._sessions.open() as session:
            self._kill_leftovers(session)
        if not self._mutex.acquire(seconds, check_cancelled):
            raise RetriableError(
                Reason.SOURCE_LOCK_BUSY, f"{self._where}: another Ferry is cutting over from this source"
            )
        try:
            with self._sessions.open() as session:
                refuse_statement(session, self._where)  # first: it may change the values
                self._refuse_read_only(self._read(session))
        except BaseException:
            self._mutex.release()
            raise

    def keep(self, seconds: float) -> None:
        self._mutex.keep(seconds)

    def stop_keeping(self) -> list[str]:
        return []

    def end(self) -> None:
        self._mutex.release()

    def stored(self) -> dict[str, str]:
        """The server's current values."""
        with self._sessions.open() as session:
            return self._read(session)

    def intent(self, seconds: float) -> dict[str, str]:
        with self._sessions.open() as session:
            return self._read(session) | evidence(session, seconds)

    def is_read_only(self) -> bool:
        """Whether applications' writes are refused now, by whoever set it."""
        return self._is_on(self.stored()[self._variables[0]])

    def held(self) -> bool:
        return self._mutex.held() and self._all_on(self.stored())

    def open_xa_writers(self, session: Session) -> list[str]:
        return open_xa(session) if session.flavor is Flavor.MYSQL else []

    def acquire(self, deadline_seconds: float, confirm: Check = bool, check_cancelled: Check = bool) -> None:
        """Set the server read-only within the deadline. On any failure restore the old values and raise."""
        with self._sessions.open() as control:
            self._kill_leftovers(control)
            self._before = self._read(control)
            self._refuse_read_only(self._before)
            # If this copier dies while it waits, the server's own timeout ends the statement a little later.
            timeout = {"lock_wait_timeout": str(math.ceil(deadline_seconds) + 1)}
            with self._sessions.open(deadline_seconds, timeout) as session:
                self._enrol(session)
                self._sent = _Sent.MAYBE  # before the last checks: whoever unlocks meanwhile ends this session
                self._ask_last(confirm)
                self.block.begins()
                try:
                    with Killer(control, session.connection_id, deadline_seconds, check_cancelled) as killer:
                        session.execute(f"SET {self._sessions.marker} GLOBAL {self._variables[-1]} = ON")
                except FerryError as error:
                    self._undo(session, error)
                    raise killer.failure(error, self._where) from error
            self._sent = _Sent.DONE
            if not self._all_on(self._read(control)):
                self.unlock()
                raise RetriableError(Reason.SOURCE_UNLOCKED, f"{self._where}: somebody allowed writes again at once")

    def _ask_last(self, confirm: Check) -> None:
        """In this order with ``_enrol``: a successor ends both sessions, so it finds this one or that of the mutex."""
        try:
            confirm()
            self._mutex.ping()
        except BaseException:
            self._sent = _Sent.NOT
            raise

    def unlock(self) -> None:
        if self._sent is _Sent.MAYBE:
            with self._sessions.open() as session:
                self._kill_leftovers(session)
        if self._sent is not _Sent.NOT:
            # On the session that holds the mutex: a successor ends that session before it stops writes for itself.
            unlock(self._mutex, lambda session: self._restore(session, self._before), self._enrolled)
            self._sent = _Sent.NOT
            log.warning("%s: writes are allowed again: %s", self._where, self._before)
        self.block.ends()

    def release(self, stored: Mapping[str, str]) -> Released:
        """Restore ``stored``, after ending whatever a dead copier still has running.

        Nothing is restored if another Ferry keeps the mutex: an attempt begins only on a writable source, so the other
        Ferry has stopped the writes, perhaps permanently.
        """
        for name in self._variables:
            if not re.fullmatch("[0-9A-Z_]+", stored.get(name, "")):
                raise DataError(
                    Reason.SOURCE_LOCK_FAILED, f"{self._where}: {stored.get(name)!r} is not a value of {name}"
                )
        with self._sessions.open() as session:
            self._kill_leftovers(session)
            with self._mutex.acquired(MUTEX_SECONDS) as ours:
                released = self._release(session, stored) if ours else Released.OTHERS
        if released is Released.ALLOWED:
            log.warning("%s: writes are allowed again: %s%s", self._where, dict(stored), self.caution)
        else:
            log.warning("%s: read_only is left unchanged: %s", self._where, released.value)
        self.block.ends()
        self._sent = _Sent.NOT
        return released

    def _release(self, session: Session, stored: Mapping[str, str]) -> Released:
        self.caution = ""
        if self._is_on(self._read(session)[self._variables[-1]]):
            if not is_ours(session, stored):
                return Released.UNCLEAR
            self._restore(session, stored)
            self.caution = caution(session, stored)
        return Released.ALLOWED

    def by_hand(self, stored: Mapping[str, str]) -> str:
        name = self._variables[0 if not self._is_on(stored.get(self._variables[0], "0")) else -1]
        return f"{self._where}: SET GLOBAL {name} = OFF"

    def _restore(self, session: Session, stored: Mapping[str, str]) -> None:
        now = self._read(session)
        # In this order: read_only = OFF also turns super_read_only off, super_read_only = ON also turns read_only on.
        for name in self._variables:
            value = stored[name]
            if now[name] != value:
                session.execute(f"SET {self._sessions.marker} GLOBAL {name} = {value}")
                now = self._read(session)
        if now != {name: stored[name] for name in self._variables}:
            raise DataError(Reason.SOURCE_UNLOCK_FAILED, f"{self._where}: is {now} after restoring {dict(stored)}")

    @property
    def _where(self) -> str:
        return self._sessions.where

    def _read(self, session: Session) -> dict[str, str]:
        columns = ", ".join(f"@@global.{name}" for name in self._variables)
        row = session.row(f"SELECT {columns}", len(self._variables))
        return {name: (value or b"").decode() for name, value in zip(self._variables, row, strict=True)}

    def _refuse_read_only(self, values: Mapping[str, str]) -> None:
        if self._is_on(values[self._variables[-1]]):
            raise RetriableError(
                Reason.SOURCE_READ_ONLY,
                f"{self._where}: it is already read-only, and not because of this attempt: another Ferry cut over "
                f"from it or died in an attempt, or somebody set it; if it is to stay read-only, use "
                f"cutover.sourceLock: None",
            )

    @staticmethod
    def _is_on(value: str) -> bool:
        return value not in ("0", "OFF")

    def _all_on(self, values: Mapping[str, str]) -> bool:
        return all(map(self._is_on, values.values()))

    @contextmanager
    def _enrolled(self) -> Iterator[Session]:
        with self._sessions.open() as session:
            try:
                self._enrol(session)
            except RetriableError:  # kept out perhaps by a session of ours that the network has swallowed
                self._mutex.refuse_ended(session)
                self._kill_leftovers(session)
                self._enrol(session)
            yield session

    def _enrol(self, session: Session) -> None:
        self._sessions.enrol(session, STATEMENT)

    def _kill_leftovers(self, session: Session) -> None:
        """End lock statements of this owner that run without their copier or are about to be sent; wait until they are
        gone.
        """
        kept = (session.connection_id, self._mutex.connection_id)
        self._sessions.end_left(session, kept, (self._sessions.own.holder(session), self._mutex.holder(session)))

    def _undo(self, session: Session, error: FerryError) -> None:
        """With new sessions: the one that failed may hang, and the killer's may be broken for the same reason."""
        ident = session.connection_id
        session.close()
        try:
            with self._sessions.open() as fresh:
                end_connections(fresh, lambda process: process.ident == ident)
            self.unlock()
        except FerryError as trouble:
            raise RetriableError(
                Reason.SOURCE_MAY_BE_LOCKED,
                f"{self._where}: the attempt to stop writes failed ({error}) and could not be undone ({trouble}); "
                "the stored values are restored by the next start or by ferry abort",
            ) from error
