"""A cutover attempt in this process, held at a chosen step, and a clock that measures as an application would.

with failing_at(cutover, "draining", cutover.stalls):
    ... cutover.attempt().run() ...
cutover.clock.longest()               # from the first write that waited or was refused to the first that passed again
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self, TypeAlias

import pymysql

from ferry_core.api.report import Stage
from ferry_core.cutover.attempt import CutoverAttempt
from ferry_core.cutover.source_lock import Check, ReadOnlyLock, SourceLock
from ferry_core.cutover.unlocking import LeaseCorrector
from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.literals import string
from ferry_core.mysql.replication import replicated
from tests.support.engine_in_process import EngineInProcess
from tests.support.ferry_under_load import RECORDS_COMPLETED
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.table_pair import make_table
from tests.support.waits import PATIENCE_SECONDS, wait_until

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from ferry_core.errors import FerryError

DEADLINE = 2.0
INTENT = f"phase = {string(Stage.CUTTING_OVER.value)}".encode()


class Clock:
    """Writes a row every few milliseconds with an application's account, and records when that was not possible."""

    def __init__(self, server: Server, table: str, account: str) -> None:
        self._server, self._table, self._account = server, table, account
        self._over = threading.Event()
        self._blocked_since: float | None = None
        self.blocks: list[float] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)

    def _run(self) -> None:
        link: Connection[Cursor] | None = None
        number = 0
        while not self._over.wait(0.01):
            began = time.monotonic()
            try:
                link = link or self._server.connect(user=self._account, password="pw")
                link.cursor().execute(f"INSERT INTO {self._table} VALUES (%s)", (number := number + 1,))
            except pymysql.MySQLError:
                self._blocked_since = self._blocked_since or began
                continue
            now = time.monotonic()
            since = self._blocked_since or (began if now - began > 0.5 else None)
            self._blocked_since = None
            if since is not None:
                self.blocks.append(now - since)

    @property
    def blocked(self) -> bool:
        return self._blocked_since is not None

    def longest(self) -> float:
        """Longest of the blocks that are over, after one more successful write."""
        wait_until(lambda: not self.blocked, "writes are allowed again", 600)
        self._over.set()
        self._thread.join(PATIENCE_SECONDS)
        return max(self.blocks, default=0.0)


class CutoverInProcess:
    """A run in this process that has copied everything, a proxy before its target, and attempts on its source."""

    def __init__(self, pair: Pair, schema: str, account: str) -> None:
        self.pair, self.schema = pair, schema
        make_table(pair, schema, "id INT PRIMARY KEY, v INT", "(1, 1)", "(2, 2)")
        pair.source.execute(f"CREATE TABLE `{schema}`.clock (id INT PRIMARY KEY)")
        self.proxy = Proxy(pair.target.host, pair.target.port)
        target = Endpoint(
            ServerRole.TARGET,
            self.proxy.host,
            self.proxy.port,
            pair.target.user,
            pair.target.password,
            trusts_public_key=True,
        )
        self.run = EngineInProcess(pair, schema, target=lambda: target, exclude=[f"{schema}.clock"])
        with self.run.connections.source_control() as source:
            self.replicated = replicated(source)
        self.clock = Clock(pair.source, f"`{schema}`.clock", account)
        self.source_proxy = Proxy(pair.source.host, pair.source.port)
        """Before the source, for the sessions of its lock only."""
        self.lock = ReadOnlyLock(lambda: through(self.source_proxy, pair.source), pair.flavor, self.run.uid)
        self.doubts: list[FerryError] = []
        self.steps: dict[str, Callable[[], object]] = {}
        self.stop: FerryError | None = None
        self.corrector = LeaseCorrector(self.run.engine.suspend_writes)
        acquire, held = self.lock.acquire, self.lock.held

        def acquire_later(deadline_seconds: float, confirm: Check = bool, check_cancelled: Check = bool) -> None:
            self._at("before locking")
            acquire(deadline_seconds, confirm, check_cancelled)

        def last_look() -> bool:
            self._at("before the commit")
            return held()

        self.lock.acquire = acquire_later  # type: ignore[method-assign]
        self.lock.held = last_look  # type: ignore[method-assign]

    def __enter__(self) -> Self:
        self.run.go()
        self.run.quiet()
        self.clock.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.clock.__exit__()
        self.corrector.cancel()
        for proxy in (self.proxy, self.source_proxy):
            proxy.resume()
            proxy.accept()
        self.run.engine.stop()
        self.lock.end()
        self.proxy.close()
        self.source_proxy.close()

    def _at(self, step: str) -> None:
        self.steps.pop(step, lambda: None)()

    def _prove(self, _deadline: float, check: Callable[[], None]) -> None:
        self._at("proving")
        with self.run.connections.target() as session:
            session.query(f"SELECT * FROM `{self.schema}`.t")
        check()

    def _check_cancelled(self) -> None:
        if self.stop is not None:
            raise self.stop

    def attempt(self, deadline: float = DEADLINE) -> CutoverAttempt:
        fence, connections = self.run.fence, self.run.connections
        return CutoverAttempt(
            fence=fence.by(connections.patient_lease),
            lock=self.lock,
            control=connections.source_control,
            hurried=connections.hurried_lease,
            buffer=self.run.buffer,
            stream=self.run.streamer,
            prove=self._prove,
            check_cancelled=self._check_cancelled,
            corrector=self.corrector,
            stopped=lambda: None,
            deadline_seconds=deadline,
            reached=self._at,
            doubt=self.doubts.append,
            replicated=self.replicated,
        )

    def stalls(self) -> None:
        self.proxy.pause()

    def is_gone(self) -> None:
        self.proxy.refuse()
        self.proxy.cut()

    def heal(self) -> None:
        self.proxy.resume()
        self.proxy.accept()
        with contextlib.suppress(OSError):
            self.proxy.release()

    def phase(self) -> str:
        return str(self.pair.target.value(f"SELECT phase FROM mysql_ferry.lease WHERE ferry_uid = '{self.run.uid}'"))

    def read_only(self) -> bool:
        return self.lock.is_read_only()

    def read_only_by_itself(self) -> bool:
        """The same, asked past the proxy."""
        return bool(self.pair.source.value("SELECT @@global.read_only"))


def held(cutover: CutoverInProcess, pattern: bytes, fails: Callable[[], None]) -> None:
    """Make the target fail when a statement with this pattern is on its way."""
    cutover.proxy.hold(pattern)

    def then() -> None:
        cutover.proxy.wait_held()
        fails()

    threading.Thread(target=then, daemon=True).start()


@contextlib.contextmanager
def failing_at(cutover: CutoverInProcess, step: str, fails: Callable[[], None]) -> Iterator[None]:
    """Inside, an attempt meets the target's failure at its step."""
    if step in ("recording the intent", "recording"):
        held(cutover, INTENT if step == "recording the intent" else RECORDS_COMPLETED, fails)
        yield
    elif step == "locking":
        with contextlib.closing(cutover.pair.source.connect()) as blocker:
            blocker.cursor().execute(f"LOCK TABLES `{cutover.schema}`.t WRITE")

            def then() -> None:
                wait_until(lambda: waiting(cutover.pair.source), "the lock statement waits")
                fails()

            threading.Thread(target=then, daemon=True).start()
            yield
    elif step == "draining":
        with contextlib.closing(cutover.pair.target.connect(autocommit=False)) as holder:
            holder.cursor().execute(f"SELECT * FROM `{cutover.schema}`.t WHERE id = 1 FOR UPDATE")

            def change() -> None:
                before = cutover.run.buffer.changes
                cutover.pair.source.execute(f"UPDATE `{cutover.schema}`.t SET v = v + 1 WHERE id = 1")
                wait_until(lambda: cutover.run.buffer.changes > before, "the change is streamed")

            cutover.steps["before locking"] = change
            cutover.steps["writes are stopped"] = fails
            yield
    else:
        cutover.steps[step] = fails
        yield


READ_ONLY_ERROR = 1290
Link: TypeAlias = "Connection[Cursor]"


def stop_writes(lock: SourceLock, seconds: float = 60, confirm: Check = bool) -> None:
    """Stop writes as an attempt does."""
    lock.begin(seconds)
    lock.acquire(seconds, confirm)


def run(link: Link, statement: str) -> None:
    with link.cursor() as cursor:
        cursor.execute(statement)


def refused(link: Link, statement: str) -> bool:
    try:
        run(link, statement)
    except pymysql.MySQLError as error:
        if error.args[0] != READ_ONLY_ERROR:
            raise
        return True
    return False


def ident(link: Link) -> int:
    return int(link.thread_id())  # type: ignore[no-untyped-call]


def through(proxy: Proxy, server: Server) -> Endpoint:
    return Endpoint(ServerRole.SOURCE, proxy.host, proxy.port, server.user, server.password, trusts_public_key=True)


def waiting(server: Server) -> list[int]:
    rows = server.query("SHOW FULL PROCESSLIST")
    return [
        int(row[0]) for row in rows if "mysql-ferry source lock" in (row[7] or "") and str(row[6]).startswith("Wait")
    ]
