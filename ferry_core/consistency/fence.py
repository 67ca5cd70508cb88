"""The fence: only the newest run of a Ferry writes to its target.

Each run takes the next epoch in its lease row on the target. Every target transaction first reads that row with LOCK IN
SHARE MODE. So a run that was thought dead cannot write after its successor has raised the epoch, nor after the cutover.
Raising the epoch waits for open transactions, whose connections the successor kills. A missing lease row means fenced.
Each target session holds a named lock ("ferry:UID:slot"), by whose holders a successor finds the connections to kill:
stored connection ids would name unrelated connections after a restart of the server. The lease row is also the
tombstone: phase Completed stays after the run, and preflight refuses such a target.
"""

import copy
import json
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tenacity import Retrying, retry_if_exception, stop_after_attempt

from ferry_core.api.report import Stage
from ferry_core.consistency.epochs import Epochs, newer_run
from ferry_core.consistency.own_tables import DDL, LEASE, parse_tables, tables_text
from ferry_core.errors import (
    ConnectionLost,
    DataError,
    Fenced,
    LockConflict,
    RetriableError,
    ServerRestarted,
)
from ferry_core.mysql.advisory_lock import AdvisoryLock, holders
from ferry_core.mysql.faults import table_is_gone
from ferry_core.mysql.literals import string
from ferry_core.mysql.processes import kill
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

COMPLETED = Stage.COMPLETED.value
"""The phase of a tombstone: the cutover is done, and no run of this Ferry may write to the target again."""
SLOTS = 128
"""Maximum number of target sessions per run. A successor looks up the holders of all of their locks."""
TAKE_SECONDS = 60
ENTRIES = 10
"""How often to create the helper tables again if cleanups of other Ferries drop them meanwhile."""
PERHAPS_LIVE = {"perhapsLive": "1"}
"""``Lease.cutover`` of an abort that could not rule out an earlier cutover whose record the target has lost."""


@dataclass
class Lease:
    """The lease row as last read. ``cutover`` holds the values that an unlock must restore."""

    epoch: int
    phase: str
    source_id: str
    tables: list[str]
    cutover: dict[str, str] = field(default_factory=dict)
    unwritten: frozenset[str] = frozenset()
    by_table: bool = True
    """For both see ``own_tables.Claims``."""
    updated_at: str = ""

    @property
    def perhaps_live(self) -> bool:
        """See ``PERHAPS_LIVE``."""
        return self.cutover == PERHAPS_LIVE


def read_lease(session: Session, uid: str, lock: str = "") -> Lease | None:
    """The lease row, with ``lock`` behind the SELECT; None if the row, its table or the schema does not exist.

    Raises ConfigError MissingPrivilege where the account may not see it: information_schema would show nothing.
    """
    try:
        rows = session.query(
            f"SELECT epoch, phase, source_id, tables, cutover, updated_at FROM {LEASE}"
            f" WHERE ferry_uid = {string(uid)}{lock}"
        )
    except DataError as error:
        if not table_is_gone(error):
            raise
        return None  # the cleanup of the last Ferry drops the table too
    if not rows:
        return None
    epoch, phase, source_id, tables, cutover, updated_at = ((value or b"").decode() for value in rows[0])
    known = parse_tables(tables, phase)
    restore = json.loads(cutover)
    return Lease(int(epoch), phase, source_id, known.tables, restore, known.unwritten, known.by_table, updated_at)


def _slot_lock(uid: str, slot: int) -> AdvisoryLock:
    return AdvisoryLock(f"ferry:{uid}:{slot}")


def _always() -> None:
    """Bookkeeping continues during a pause."""


class Fence:
    """A run's hold on its target. Thread-safe: callers bring their own sessions, and the only state here is the
    epoch.
    """

    def __init__(self, connect: Callable[[], Session], uid: str, epoch: int) -> None:
        """``connect`` opens a plain target session, also after a restart. ``Fence.take`` gets an epoch."""
        self._connect = connect
        self._uid = uid
        self.epoch = epoch
        self._slots = set(range(SLOTS))
        self._slots_lock = threading.Lock()
        self._completing: tuple[int, int] | None = None
        self.writes_allowed: Callable[[], None] = _always

    @property
    def uid(self) -> str:
        return self._uid

    # -- taking ---------------------------------------------------------------------------------------------------

    @classmethod
    def take(
        cls,
        connect: Callable[[], Session],
        uid: str,
        name: str,
        source_id: str,
        ours: Epochs | None = None,
        at_least: int = 0,
    ) -> tuple["Fence", Lease]:
        """Raise the epoch; afterwards no transaction of an older run commits. Returns the lease as it was before.

        ``ours`` are this process's epochs: if a newer run exists, it is left alone (Fenced). No epoch is used twice,
        even if a restored target has lost it: ``at_least`` is the highest known one.
        """
        with connect() as session:
            Retrying(retry=retry_if_exception(table_is_gone), stop=stop_after_attempt(ENTRIES), reraise=True)(
                cls._enter, session, uid, name, source_id
            )
            session.execute("SET SESSION innodb_lock_wait_timeout = 2")
            deadline = time.monotonic() + TAKE_SECONDS
            while True:
                cls._kill_holders(session, uid)
                try:
                    before, epoch = cls._bump(session, uid, ours or Epochs(), at_least)
                except LockConflict:
                    session.rollback()
                    if time.monotonic() > deadline:
                        raise
                    continue
                cls._kill_holders(session, uid)
                return cls(connect, uid, epoch), before

    @staticmethod
    def _enter(session: Session, uid: str, name: str, source_id: str) -> None:
        """Create the lease row. Until it exists, another Ferry's cleanup may drop the tables as unused."""
        for statement in DDL:
            session.execute(statement)
        session.execute(
            f"INSERT IGNORE INTO {LEASE} VALUES ({string(uid)}, {string(name)}, 0, 'New', {string(source_id)},"
            f" '[]', {SLOTS}, '{{}}', NOW(6))"
        )

    @staticmethod
    def _bump(session: Session, uid: str, ours: Epochs, at_least: int) -> tuple[Lease, int]:
        session.begin()
        lease = read_lease(session, uid, " FOR UPDATE")
        if lease is None:
            raise Fenced(Reason.LEASE_REMOVED, f"the lease row of {uid} vanished from {LEASE} while it was taken")
        if not ours.include(lease):
            raise newer_run(session, lease.epoch, ours.newest or 0)
        epoch = max(lease.epoch, ours.newest or 0, at_least) + 1
        session.execute(f"UPDATE {LEASE} SET epoch = {epoch}, updated_at = NOW(6) WHERE ferry_uid = {string(uid)}")
        ours.tries(read_lease(session, uid) or lease)
        session.commit()
        ours.took(epoch)
        return lease, epoch

    @staticmethod
    def _kill_holders(session: Session, uid: str) -> None:
        for holder in filter(None, holders(session, [_slot_lock(uid, slot) for slot in range(SLOTS)])):
            kill(session, holder)

    # -- sessions -------------------------------------------------------------------------------------------------

    def enrol(self, session: Session) -> int:
        """Make a session findable by a successor. Returns its slot, to be given back by ``leave``."""
        with self._slots_lock:
            candidates = sorted(self._slots)
        for slot in candidates:
            # The server side of a lost connection may hold its slot for a while: take the next one.
            if _slot_lock(self._uid, slot).take(session):
                with self._slots_lock:
                    self._slots.discard(slot)
                return slot
        raise AssertionError("more target sessions than slots")

    def leave(self, slot: int) -> None:
        with self._slots_lock:
            self._slots.add(slot)

    def prove_ended(self, connection_id: int, slot: int) -> None:
        """Kill a lost connection, and return only when nothing of it can commit any more: wait for the row's lock.

        An open transaction of it holds a share lock on the row, for which FOR UPDATE waits. The lost connection's
        window (chunk or batch) must stay open until this returns. A connection that does not hold the lock of its
        ``slot`` is not killed: after a restart of the server the id belongs to someone else, and the lost connection
        has ended with the old server.
        """
        with self._connect() as session:
            self._kill_holder(session, connection_id, slot)
            session.execute("SET SESSION innodb_lock_wait_timeout = 30")
            session.begin()
            self._check(session, " FOR UPDATE")
            session.rollback()

    def _kill_holder(self, session: Session, connection_id: int, slot: int) -> None:
        if _slot_lock(self._uid, slot).holder(session) == connection_id:
            kill(session, connection_id)

    def end_statements(self) -> None:
        """Kill this run's own sessions on the target, because a long ALTER would continue there without its client.

        It finds them by their named locks. Raises Fenced when a newer run holds those names.
        """
        with self._connect() as session:
            self._check(session, "")
            self._kill_holders(session, self._uid)

    # -- fenced work ----------------------------------------------------------------------------------------------

    @contextmanager
    def transaction(self, session: Session, *, pausable: bool = True) -> Iterator[None]:
        """Begin, check the epoch, run the body, commit; roll back on any error. Raises Fenced when a newer run exists.

        A pause refuses ``pausable`` transactions (they move rows) at their begin and before their commit: Interrupted.
        """
        allowed = self.writes_allowed if pausable else _always
        allowed()
        session.begin()
        try:
            _refuse_completed(session, self._check(session, " LOCK IN SHARE MODE"))
            yield
            allowed()
            # Inside the try: a COMMIT that was killed leaves its transaction open, and the next BEGIN would commit it.
            session.commit()
        except BaseException:
            _roll_back(session)
            raise

    @contextmanager
    def hold(self, working: Session) -> Iterator[None]:
        """Keep every successor's epoch waiting during statements that cannot be in a transaction (DDL).

        ``working``, which runs them, is enrolled: if this run dies they continue until its successor kills them.
        """
        slot = self.enrol(working)
        try:
            with self._connect() as session:
                session.begin()
                self._check(session, " LOCK IN SHARE MODE")
                yield
                self._check(session, "")
                session.rollback()
        finally:
            self.leave(slot)

    @contextmanager
    def exclusively(self) -> Iterator[tuple[Session, Lease]]:
        """Lock the lease row FOR UPDATE in a transaction that commits at the end, for phase changes and unlocks."""
        with self._connect() as session:
            session.begin()
            yield session, self._check(session, " FOR UPDATE")
            session.commit()

    def record(
        self,
        *,
        phase: str | None = None,
        tables: list[str] | None = None,
        source_id: str | None = None,
        cutover: dict[str, str] | None = None,
    ) -> None:
        """Change fields of the lease row in one fenced transaction."""
        with self.exclusively() as (session, _):
            self.update(session, phase=phase, tables=tables, source_id=source_id, cutover=cutover)

    def update(
        self,
        session: Session,
        *,
        phase: str | None = None,
        tables: Collection[str] | None = None,
        unwritten: Collection[str] = (),
        source_id: str | None = None,
        cutover: dict[str, str] | None = None,
    ) -> None:
        """Change fields of the lease row inside a transaction of ``exclusively``."""
        values = {
            "phase": phase,
            "source_id": source_id,
            "tables": None if tables is None else tables_text(tables, unwritten),
            "cutover": None if cutover is None else json.dumps(cutover),
        }
        sets = [f"{column} = {string(value)}" for column, value in values.items() if value is not None]
        session.execute(
            f"UPDATE {LEASE} SET {', '.join([*sets, 'updated_at = NOW(6)'])} WHERE ferry_uid = {string(self._uid)}"
        )

    def complete(self, before_commit: Callable[[], None] = _always) -> None:
        """Record the cutover. After ``before_commit`` has returned, an error leaves open whether it was recorded.

        ``completed`` tells whether it was. An error from ``before_commit`` is raised and nothing is recorded.
        """
        with self._connect() as session:
            session.refuse_restarted()
            self._completing = session.connection_id, self.enrol(session)
            session.begin()
            self._check(session, " FOR UPDATE")
            self.update(session, phase=COMPLETED)
            before_commit()
            session.commit()

    def by(self, connect: Callable[[], Session]) -> "Fence":
        """The same fence with sessions that another ``connect`` opens."""
        other = copy.copy(self)
        other._connect = connect  # noqa: SLF001 - of this class
        return other

    @classmethod
    @contextmanager
    def held_still(cls, connect: Callable[[], Session], uid: str) -> Iterator[Lease | None]:
        """End all sessions of this Ferry and keep its lease row locked, without writing."""
        with connect() as session:
            cls._kill_holders(session, uid)
            session.execute("SET SESSION innodb_lock_wait_timeout = 10")
            session.begin()
            yield read_lease(session, uid, " LOCK IN SHARE MODE")
            session.rollback()

    def end_recording(self) -> None:
        """End a ``complete`` that failed: its session may still exist on the server and hold the lease row's lock."""
        if self._completing is not None:
            with self._connect() as session:
                self._kill_holder(session, *self._completing)

    def completed(self) -> bool:
        """Whether ``complete`` took effect. The answer is certain, because its connection is proven ended first."""
        if self._completing is not None:
            self.prove_ended(*self._completing)
        return self.read().phase == COMPLETED

    def read(self) -> Lease:
        """The lease now. Raises Fenced when a newer run holds it."""
        with self._connect() as session:
            return self._check(session, "")

    def refuse_newer(self, ours: Epochs) -> None:
        """Raise Fenced if a newer run took over. A target that has lost this run's record has no newer run."""
        with suppress(ServerRestarted), self._connect() as session:
            self._check(session, "", ours)

    def _check(self, session: Session, lock: str, ours: Epochs | None = None) -> Lease:
        lease = read_lease(session, self._uid, lock)
        if lease is None:
            raise Fenced(
                Reason.LEASE_REMOVED,
                f"the lease row of this Ferry is gone from {LEASE} on {session.endpoint.address}: it was cleaned up; "
                "this run must not write to it",
            )
        if lease.epoch < self.epoch:
            raise ServerRestarted(
                Reason.SERVER_RESTARTED,
                f"target {session.endpoint.address} has lost the record of this run (epoch {self.epoch}, it has "
                f"{lease.epoch}): it was restored from a backup, or lost its last commits in a crash",
            )
        if lease.epoch != self.epoch and not (ours is not None and ours.include(lease)):
            raise newer_run(session, lease.epoch, self.epoch)
        return lease


def _refuse_completed(session: Session, lease: Lease) -> None:
    if lease.phase == COMPLETED:
        raise Fenced(
            Reason.ALREADY_CUT_OVER, f"{session.endpoint.address} was already cut over: this run must not copy to it"
        )


def _roll_back(session: Session) -> None:
    """Best effort: if the session is dead, the server rolls back by itself, or ``prove_ended`` waits for it."""
    try:
        session.rollback()
    except ConnectionLost:
        return
    except RetriableError:
        session.close()
