"""Writers: simulate an application that makes the migration of a source as hard as possible.

Threads with a connection each insert, update, delete, change keys, swap unique values, write several tables in one
transaction, roll back, and decide XA transactions also on another connection than the one that prepared them. A write
counts only when the server has acknowledged it. They use an ordinary account, which read_only stops on both families.
"""

import contextlib
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

import pymysql

from tests.support.schemas import OddTable, payload
from tests.support.servers import Server
from tests.support.waits import PATIENCE_SECONDS

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

USER, PASSWORD = "ferry_writer", "writes"
_READ_ONLY = (1290, 1836)
_CONFLICTS = (
    *(1022, 1062, 1586),  # duplicate key
    *(1205, 1213),  # lock wait, deadlock
    *(1402, 1613, 1614),  # the same for an XA transaction: rolled back
)
_LOST = (2003, 2006, 2013, 1040, 1053, 1317, 1927, 4031, 0)  # no server, no room there, or a killed connection
_UNKNOWN_XID = 1397
_HOLD_SECONDS = 0.03
_LONG_HOLD_SECONDS = 0.5
_LONG_HOLD_SHARE = 0.05
_HOT_SLOTS = 60
_HOT_SHARE = 0.7
_SWAP_TRIES = 8


def seed_of_run(given: int | None = None) -> int:
    """The seed passed by a test, or FERRY_TEST_SEED, or a new one; printed, so that a failure can be repeated."""
    chosen = os.environ.get("FERRY_TEST_SEED") or random.SystemRandom().randrange(10**6)
    seed = int(chosen) if given is None else given
    print(f"FERRY_TEST_SEED={seed}")
    return seed


@dataclass(frozen=True)
class Pace:
    """``pause`` is in seconds after each transaction. Without ``stop_when_read_only`` refused writers keep trying.
    ``kinds``: the operations to choose from; None: all.
    """

    threads: int = 4
    pause: float = 0.002
    xa: bool = True
    stop_when_read_only: bool = True
    kinds: frozenset[str] | None = None


def create_account(server: Server, schema: str) -> None:
    """An application's account, which read_only stops; root's writes it does not."""
    statements = []
    # An anonymous account of localhost, if there is one, would take precedence over '%'.
    for host in ("%", "localhost"):
        statements.append(f"CREATE USER IF NOT EXISTS '{USER}'@'{host}' IDENTIFIED BY '{PASSWORD}'")
        statements.append(f"GRANT ALL PRIVILEGES ON `{schema}`.* TO '{USER}'@'{host}'")
    server.execute(*statements)


class Writers:
    """``with Writers(server, schema, tables) as writers: ...``; leaving stops them and decides what they prepared."""

    def __init__(
        self, server: Server, schema: str, tables: Sequence[OddTable], seed: int | None = None, pace: Pace | None = None
    ) -> None:
        self.seed = seed_of_run(seed)
        self.server = server
        self.schema = schema
        self.tables = tables
        self.pace = pace or Pace()
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._acknowledged: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._errors: list[BaseException] = []
        self._writers = [_Writer(self, number) for number in range(self.pace.threads)]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._end()
        if kind is None:
            self.check()

    def start(self) -> None:
        create_account(self.server, self.schema)
        for writer in self._writers:
            writer.thread.start()

    def stop(self) -> None:
        """Stop all; fails if a writer met an unexpected error."""
        self._end()
        self.check()

    @property
    def acknowledged(self) -> Counter[str]:
        """Number of transactions whose commit the server has confirmed, by kind."""
        with self._lock:
            return Counter(self._acknowledged)

    @property
    def refused(self) -> Counter[str]:
        """Attempts without effect: ``conflict``, ``too early``, ``read only``, ``lost``, ``nothing to do``."""
        with self._lock:
            return Counter(self._refused)

    @property
    def total(self) -> int:
        return self.acknowledged.total()

    @property
    def undecided(self) -> set[str]:
        """XIDs that a writer may have prepared, and is going to decide."""
        return {xid for writer in self._writers for xid in list(writer.undecided) if writer.thread.is_alive()}

    @property
    def alive(self) -> bool:
        """False once every writer has stopped, for example because the source is read-only."""
        return any(writer.thread.is_alive() for writer in self._writers)

    def wait_for(self, count: int, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until ``count`` more writes were acknowledged."""
        wanted = self.total + count
        self._wait(lambda: self.total >= wanted, lambda: f"{self.total} of {wanted} writes", seconds)

    def wait_for_kinds(self, kinds: set[str], seconds: float = PATIENCE_SECONDS) -> None:
        """Wait until at least one write of each kind, chosen at random, was acknowledged."""
        self._wait(
            lambda: kinds <= self.acknowledged.keys(),
            lambda: f"no {', '.join(sorted(kinds - self.acknowledged.keys()))}: {self.summary()}",
            seconds,
        )

    def _wait(self, reached: Callable[[], bool], told: Callable[[], str], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, f"{told()} after {seconds} s; refused {self.refused}"
            self.check()
            assert self.alive, f"the writers have stopped at {told()}; refused {self.refused}"
            self.stopping.wait(0.01)

    def count(self, kind: str, *, refused: bool = False) -> None:
        with self._lock:
            (self._refused if refused else self._acknowledged)[kind] += 1

    def failed(self, error: BaseException) -> None:
        with self._lock:
            self._errors.append(error)

    def connect(self) -> "Connection[Cursor]":
        connection = self.server.connect(user=USER, password=PASSWORD, connect_timeout=60, read_timeout=120)
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION innodb_lock_wait_timeout = 2, time_zone = '+00:00'")
        return connection

    def summary(self) -> str:
        return f"acknowledged {dict(self.acknowledged)} = {self.total}, refused {dict(self.refused)}, seed {self.seed}"

    def _end(self) -> None:
        self.stopping.set()
        for writer in self._writers:
            if writer.thread.ident is not None:
                writer.thread.join(PATIENCE_SECONDS)
                assert not writer.thread.is_alive(), f"{writer.thread.name} hangs"
            for xid in writer.undecided:
                with contextlib.suppress(pymysql.MySQLError):  # decided before its connection broke
                    self.server.execute(f"XA ROLLBACK {xid}")

    def check(self) -> None:
        """Fails if a writer met an unexpected error."""
        if self._errors:
            raise AssertionError(f"a writer failed, seed {self.seed}") from self._errors[0]


class _Writer:
    """One writer. Every operation runs in one transaction and leaves its connection outside of any."""

    def __init__(self, writers: Writers, number: int) -> None:
        self.thread = threading.Thread(target=self._run, name=f"writer-{number}", daemon=True)
        self._writers = writers
        self._number = number
        self._rng = random.Random(writers.seed * 1000 + number)
        self._connection: Connection[Cursor] | None = None
        self.undecided: list[str] = []
        self._xa_count = 0
        # Relative frequency of each operation, and the operation.
        self._operations: list[tuple[int, str, Callable[[], bool]]] = [
            (22, "insert", self._insert),
            (22, "update", self._update),
            (12, "delete", self._delete),
            (12, "key move", self._move_key),
            (10, "unique swap", self._swap_unique),
            (12, "several tables", self._write_several),
            (5, "rollback", self._roll_back),
        ]
        if writers.pace.xa:
            self._operations += [
                (3, "xa", self._xa_here),
                (2, "xa decided elsewhere", self._xa_elsewhere),
                (2, "xa rollback", self._xa_roll_back),
            ]
        if (kinds := writers.pace.kinds) is not None:
            self._operations = [one for one in self._operations if one[1] in kinds]

    def _run(self) -> None:
        try:
            while not self._writers.stopping.is_set() and self._once():
                self._writers.stopping.wait(self._writers.pace.pause)
            # A read_only MariaDB refuses an ordinary account's decision about a transaction that it could prepare.
            while self.undecided and not self._writers.stopping.wait(0.05):
                self._decide_leftovers()
        except BaseException as error:  # noqa: BLE001 - shown by the thread that joins this one
            self._writers.failed(error)
        finally:
            self._disconnect()

    # One attempt and its outcome

    def _once(self) -> bool:
        """One transaction; False when this writer must stop."""
        self._decide_leftovers()
        weights = [weight for weight, _, _ in self._operations]
        _, kind, operation = self._rng.choices(self._operations, weights)[0]
        try:
            if operation():
                self._writers.count(kind)
            else:
                self._writers.count("nothing to do", refused=True)
        except (pymysql.MySQLError, OSError) as error:
            return self._go_on_after(error)
        return True

    def _go_on_after(self, error: Exception) -> bool:
        code = error.args[0] if error.args else 0
        self._disconnect()  # the server rolls back whatever was begun
        if code in _READ_ONLY:
            self._writers.count("read only", refused=True)
            return not self._writers.pace.stop_when_read_only and not self._writers.stopping.wait(0.05)
        if code in _CONFLICTS:
            self._writers.count("conflict", refused=True)
            return True
        if code == _UNKNOWN_XID:  # a session that has not ended yet still holds it: it is decided later
            self._writers.count("too early", refused=True)
            return True
        if code in _LOST or isinstance(error, OSError | pymysql.InterfaceError):
            self._writers.count("lost", refused=True)
            return not self._writers.stopping.wait(0.2)
        raise error

    def _cursor(self) -> "Cursor":
        if self._connection is None:
            self._connection = self._writers.connect()
        return self._connection.cursor()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(pymysql.MySQLError, OSError):
                self._connection.close()
            self._connection = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator["Cursor"]:
        cursor = self._cursor()
        cursor.execute("START TRANSACTION")
        yield cursor
        cursor.execute("COMMIT")

    # What a transaction does; each returns whether it changed anything

    def _table(self) -> OddTable:
        return self._rng.choice(self._writers.tables)

    def _name(self, table: OddTable) -> str:
        return f"`{self._writers.schema}`.`{table.name}`"

    def _slot(self, table: OddTable) -> int:
        """Usually one of a few, so that the same rows are changed again and again."""
        return self._rng.randrange(min(table.slots, _HOT_SLOTS) if self._rng.random() < _HOT_SHARE else table.slots)

    def _insert_into(self, cursor: "Cursor", table: OddTable) -> bool:
        verb = self._rng.choice(("INSERT", "INSERT IGNORE", "REPLACE"))
        values = ", ".join(table.values(self._slot(table), self._rng) for _ in range(self._rng.choice((1, 1, 1, 3))))
        return cursor.execute(f"{verb} INTO {self._name(table)} ({table.column_list}) VALUES {values}") > 0

    def _update_in(self, cursor: "Cursor", table: OddTable) -> bool:
        n, s, f, b = payload(self._rng)
        where = " OR ".join(f"({table.where(self._slot(table))})" for _ in range(3))
        return cursor.execute(f"UPDATE {self._name(table)} SET n = {n}, s = {s}, f = {f}, b = {b} WHERE {where}") > 0

    def _delete_from(self, cursor: "Cursor", table: OddTable) -> bool:
        where = " OR ".join(f"({table.where(self._slot(table))})" for _ in range(2))
        return cursor.execute(f"DELETE FROM {self._name(table)} WHERE {where}") > 0

    def _some_write(self, cursor: "Cursor", table: OddTable) -> bool:
        return self._rng.choice((self._insert_into, self._update_in, self._delete_from))(cursor, table)

    def _insert(self) -> bool:
        return self._insert_into(self._cursor(), self._table())

    def _update(self) -> bool:
        return self._update_in(self._cursor(), self._table())

    def _delete(self) -> bool:
        return self._delete_from(self._cursor(), self._table())

    def _move_key(self) -> bool:
        """Change to another key, or to another spelling of the same one."""
        table = self._table()
        slot = self._slot(table)
        respell = table.respelt is not None and self._rng.random() < 0.4
        to = table.respelt(slot) if respell and table.respelt else table.key_of(self._slot(table))
        sets = ", ".join(f"`{column}` = {value}" for column, value in zip(table.key, to, strict=True))
        return self._cursor().execute(f"UPDATE {self._name(table)} SET {sets} WHERE {table.where(slot)}") > 0

    def _swap_unique(self) -> bool:
        """Two rows swap their values under a UNIQUE index through NULL; or one passes its value to the other."""
        tables = [table for table in self._writers.tables if table.unique]
        if not tables:
            return False
        table = self._rng.choice(tables)
        name, rows = self._name(table), dict[int, str | None]()
        with self._transaction() as cursor:
            for slot in {self._slot(table) for _ in range(_SWAP_TRIES)}:  # many slots have no row
                if len(rows) < 2 and cursor.execute(f"SELECT u FROM {name} WHERE {table.where(slot)} FOR UPDATE"):
                    rows[slot] = cursor.fetchall()[0][0]
            if len(rows) < 2:
                return False
            (one, first), (other, second) = rows.items()
            back = second if self._rng.random() < 0.7 else None
            for slot, value in ((one, None), (other, first), (one, back)):
                shown = "NULL" if value is None else value
                cursor.execute(f"UPDATE {name} SET u = {shown} WHERE {table.where(slot)}")
        return True

    def _write_several(self) -> bool:
        with self._transaction() as cursor:
            changed = [self._some_write(cursor, self._table()) for _ in range(self._rng.randint(2, 6))]
        return any(changed)

    def _roll_back(self) -> bool:
        cursor = self._cursor()
        cursor.execute("START TRANSACTION")
        changed = [self._some_write(cursor, self._table()) for _ in range(3)]
        cursor.execute("ROLLBACK")
        return any(changed)

    # XA

    def _prepare(self) -> tuple[str, bool]:
        """A prepared transaction's XID, and whether it changed anything. It is in ``undecided`` until decided."""
        self._xa_count += 1
        branch = self._rng.choice(("", "b'1", "\\"))
        gtrid = f"{self._writers.schema}-{self._number}-{self._xa_count}-{self._writers.seed}"[-60:]
        xid = f"X'{gtrid.encode().hex()}',X'{branch.encode().hex()}',{self._rng.choice((1, 7, 2**31 - 1))}"
        cursor = self._cursor()
        cursor.execute(f"XA START {xid}")
        changed = [self._some_write(cursor, self._table()) for _ in range(self._rng.randint(1, 4))]
        cursor.execute(f"XA END {xid}")
        self.undecided.append(xid)
        cursor.execute(f"XA PREPARE {xid}")
        return xid, any(changed)

    def _decide(self, xid: str, decision: str) -> None:
        self._cursor().execute(f"XA {decision} {xid}")
        self.undecided.remove(xid)

    def _xa_here(self) -> bool:
        xid, changed = self._prepare()
        self._decide(xid, "COMMIT")
        return changed

    def _xa_roll_back(self) -> bool:
        xid, _ = self._prepare()
        self._decide(xid, "ROLLBACK")
        return True

    def _xa_elsewhere(self) -> bool:
        """Prepared on one connection, decided on another; rarely late, because no cutover can succeed meanwhile."""
        xid, changed = self._prepare()
        self._disconnect()
        longest = _LONG_HOLD_SECONDS if self._rng.random() < _LONG_HOLD_SHARE else _HOLD_SECONDS
        self._writers.stopping.wait(self._rng.uniform(0, longest))
        self._decide(xid, "COMMIT" if self._rng.random() < 0.8 else "ROLLBACK")
        return changed

    def _decide_leftovers(self) -> None:
        """Decide transactions that a lost connection or read_only left prepared, so that nothing blocks the run."""
        for xid in list(self.undecided):
            try:
                self._decide(xid, "ROLLBACK")
            except (pymysql.MySQLError, OSError) as error:
                if error.args[0] == _UNKNOWN_XID:  # it was never prepared, or was decided before the connection broke
                    self.undecided.remove(xid)
                self._disconnect()
