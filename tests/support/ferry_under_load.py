"""A whole migration under load: a source with constant writes, a proxy before the target, and ways to hold a cutover.

For tests that use the same interfaces as a user and check the result with the comparer.
"""

import contextlib
import json
import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ferry_core.consistency.fence import COMPLETED
from ferry_core.mysql.literals import string
from hack.servers import Family
from tests.support.compare import Compared, assert_equal_schemas
from tests.support.compare_families import assert_same_across
from tests.support.ferry_cli import LONG_SECONDS, FerryProcess
from tests.support.proxy import Proxy
from tests.support.schemas import OF_ONE_FAMILY, OddTable, create_odd_tables, odd_tables
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until
from tests.support.writers import Pace, Writers, seed_of_run

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

ASIDE = "aside"
"""A table that is not selected, for locks unrelated to the migrated rows."""
RECORDS_COMPLETED = f"phase = {string(COMPLETED)}".encode()
"""Part of the statement that records the cutover."""


def bulk(rows: int) -> OddTable:
    """A table that is filled completely, so that its copy takes a while; ``aim`` is for single changes by tests."""
    return OddTable("bulk", "id BIGINT NOT NULL PRIMARY KEY", ("id",), lambda slot: (str(slot),), True, rows)


PLAIN_KINDS = {"insert", "update", "delete", "key move", "unique swap", "several tables", "rollback"}
XA_KINDS = {"xa", "xa decided elsewhere", "xa rollback"}


class WriterGroups:
    """Two groups of writers that continue through failed attempts. XA is rare, because no cutover succeeds during a
    prepared one.
    """

    def __init__(self, server: Server, schema: str, tables: Sequence[OddTable], seed: int, threads: int = 3) -> None:
        plain, xa = Pace(threads, 0.02, xa=False, stop_when_read_only=False), Pace(1, 0.1, stop_when_read_only=False)
        self.plain = Writers(server, schema, tables, seed, plain)
        self.xa = Writers(server, schema, tables, seed + 1, xa)

    def __enter__(self) -> Self:
        self.plain.start()
        self.xa.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # XA writers end first: their prepared transactions must be decided before the comparison.
        self.xa.__exit__(kind, error, traceback)
        self.plain.__exit__(kind, error, traceback)

    @property
    def total(self) -> int:
        return self.plain.total + self.xa.total

    def wait_for_every_kind(self) -> None:
        """Wait until the server has acknowledged at least one write of each kind."""
        self.plain.wait_for_kinds(PLAIN_KINDS)
        self.xa.wait_for_kinds(XA_KINDS)

    def meet_the_lock(self) -> None:
        """Wait until both groups were refused once more: they wrote until the source was locked for good."""
        before = self._refused()
        wait_until(
            lambda: all(now > then for now, then in zip(self._refused(), before, strict=True)),
            f"writers of both groups meet the lock: {self.summary()}",
        )

    def _refused(self) -> list[int]:
        return [writers.refused["read only"] for writers in (self.plain, self.xa)]

    def summary(self) -> str:
        return f"{self.total} writes acknowledged; {self.plain.summary()}; XA writers: {self.xa.summary()}"


class FerryUnderLoad:
    """One Ferry of one schema. ``spec`` are sections of its manifest, merged over the defaults here."""

    def __init__(
        self, pair: Pair, schema: str, folder: Path, /, *, rows: int = 0, odd: int | None = None, **spec: Any
    ) -> None:
        """``rows``: size of a bulk table besides the first ``odd`` odd ones (None: all)."""
        self.pair = pair
        self.schema = schema
        self.folder = folder
        self.seed = seed_of_run()
        self.uid = str(uuid.uuid4())
        self.proxy = Proxy(pair.target.host, pair.target.port)
        known = odd_tables(pair.family, pair.source.release)
        self.tables = [table for table in known if not (pair.crosses and table.name in OF_ONE_FAMILY)][:odd]
        pair.source.execute(
            f"CREATE TABLE `{schema}`.`{ASIDE}` (id INT PRIMARY KEY)",
            f"CREATE TABLE `{schema}`.aim (id INT PRIMARY KEY, v INT NOT NULL)",
            f"INSERT INTO `{schema}`.aim VALUES (1, 0), (2, 0)",
        )
        self.rows = create_odd_tables(pair.source, schema, self.tables, seed=self.seed) + 2
        if rows:
            self.tables.append(bulk(rows))
            self.rows += create_odd_tables(pair.source, schema, self.tables[-1:], seed=self.seed, share=1)
        self.spec = {
            "tables": {"include": [f"{schema}.*"], "exclude": [f"{schema}.{ASIDE}"]},
            "copy": {"chunkTargetBytes": "64Ki"},
        } | spec
        # A busy machine must not keep a run from its cutover, nor end an attempt that a test holds, nor keep a test
        # from its end.
        patient = {"watchFor": "0s", "maxLag": "20s", "maxAttempts": 100, "deadline": "5m"}
        self.spec["cutover"] = patient | spec.get("cutover", {})
        self.ferry = self.another("first")
        self._connections: list[Connection[Cursor]] = []

    def another(self, name: str, *, source_port: int | None = None, **spec: Any) -> FerryProcess:
        """Another process of the same Ferry, with a state file of its own."""
        ferry = FerryProcess(self.folder / name, self.pair, target_port=self.proxy.port, **self._spec(spec))

        def change(documents: list[dict[str, Any]]) -> None:
            documents[0]["metadata"]["uid"] = self.uid
            for side in ("source", "target"):
                # with TLS the proxy could not recognise statements
                documents[0]["spec"][side]["tls"] = {"mode": "Disabled", "allowPublicKeyRetrieval": True}
            if source_port is not None:
                documents[0]["spec"]["source"]["port"] = source_port

        ferry.edit(change)
        if "checkpoint" in self._spec(spec):
            ferry.arguments = []
        return ferry

    def login(self, role: str, user: str, password: str) -> None:
        """The account of the first process from its next start on."""
        secret = {"username": user, "password": password}
        self.ferry.edit(lambda documents: documents[1 if role == "source" else 2].update(stringData=secret))

    def _spec(self, changed: dict[str, Any]) -> dict[str, Any]:
        """This Ferry's spec with some sections changed; the cutover's field by field."""
        merged = self.spec | changed
        return merged | {"cutover": self.spec["cutover"] | changed.get("cutover", {})}

    def writers(self, threads: int = 3) -> WriterGroups:
        return WriterGroups(self.pair.source, self.schema, self.tables, self.seed, threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ferry.__exit__()
        self.proxy.close()
        for connection in self._connections:
            with contextlib.suppress(Exception):
                connection.close()

    # -- what is so -----------------------------------------------------------------------------------------------

    def equal(self) -> Compared:
        compare = assert_same_across if self.pair.crosses else assert_equal_schemas
        found = compare(self.pair.source, self.pair.target, self.schema, except_for=[ASIDE])
        print(f"equal: {found.tables} tables, {found.rows} rows")
        return found

    def lease(self) -> tuple[str, int, dict[str, str]]:
        """Phase, epoch and values to restore, as on the target."""
        phase, epoch, cutover = self.pair.target.query(
            "SELECT phase, epoch, cutover FROM mysql_ferry.lease WHERE ferry_uid = %s", (self.uid,)
        )[0]
        return phase, int(epoch), json.loads(cutover)

    def phase(self) -> str:
        return self.lease()[0]

    def read_only(self) -> tuple[int, ...]:
        """read_only and, on MySQL, super_read_only."""
        names = ["@@global.read_only"] + ["@@global.super_read_only"] * (self.pair.family is Family.MYSQL)
        return tuple(int(value) for value in self.pair.source.query(f"SELECT {', '.join(names)}")[0])

    @property
    def locked(self) -> bool:
        return all(self.read_only())

    def moved(self) -> int:
        """Rows of all tables that checkpoints count as copied."""
        return sum(table["rows_copied"] for table in self.state()["tables"].values())

    def state(self, ferry: FerryProcess | None = None) -> dict[str, Any]:
        """The newest checkpoint, from wherever the Ferry stores it."""
        ferry = ferry or self.ferry
        if not ferry.arguments:
            rows = self.pair.target.query("SELECT body FROM mysql_ferry.checkpoint WHERE ferry_uid = %s", (self.uid,))
            return dict(json.loads(rows[0][0])) if rows else {"tables": {}}
        if not ferry.state.exists():
            return {"tables": {}}
        with contextlib.closing(sqlite3.connect(f"file:{ferry.state}?mode=ro", uri=True, timeout=60)) as database:
            try:
                row = database.execute("SELECT body FROM ferry_state").fetchone()
            except sqlite3.OperationalError:
                return {"tables": {}}
        return dict(json.loads(row[0])) if row else {"tables": {}}

    def target_rows(self, table: str = "bulk") -> int:
        return int(self.pair.target.value(f"SELECT COUNT(*) FROM `{self.schema}`.`{table}`"))

    def automatic(self) -> None:
        """From its next start on the Ferry cuts over as soon as it can."""
        self.ferry.edit(lambda documents: documents[0]["spec"]["cutover"].update(mode="Automatic"))

    def finish(
        self, ferry: FerryProcess | None = None, writers: WriterGroups | None = None, *, approve: bool = True
    ) -> None:
        """Approve the cutover of a started run, unless it is approved; the run must succeed, with equal tables."""
        ferry = ferry or self.ferry
        if approve:
            ferry.wait_stage("ReadyForCutover")
            ferry.post("cutover")
        ferry.succeed(LONG_SECONDS if approve else 2 * LONG_SECONDS)
        if writers is not None:
            if self.locked:
                writers.meet_the_lock()
            writers.__exit__(None, None, None)
            print(writers.summary())
        assert self.phase() == "Completed"
        self.equal()

    # -- holding a cutover ----------------------------------------------------------------------------------------

    def connect(self, server: Server, **options: Any) -> "Connection[Cursor]":
        connection = server.connect(**options)
        self._connections.append(connection)
        return connection

    @staticmethod
    def id_of(connection: "Connection[Cursor]") -> int:
        cursor = connection.cursor()
        cursor.execute("SELECT CONNECTION_ID()")
        return int(cursor.fetchall()[0][0])

    def block_lock(self) -> "Connection[Cursor]":
        """A session whose LOCK TABLES blocks the source lock; ``release_lock`` ends it."""
        connection = self.connect(self.pair.source)
        cursor = connection.cursor()
        cursor.execute(f"LOCK TABLES `{self.schema}`.`{ASIDE}` WRITE, `{self.schema}`.aim WRITE")
        return connection

    def block_row(self) -> "Connection[Cursor]":
        """A transaction on the target that locks the row of ``aim`` whose change the drain must write."""
        connection = self.connect(self.pair.target, autocommit=False)
        connection.cursor().execute(f"SELECT * FROM `{self.schema}`.aim WHERE id = 1 FOR UPDATE")
        return connection

    @contextlib.contextmanager
    def held_in_acquire(self, ferry: FerryProcess | None = None) -> Iterator["Connection[Cursor]"]:
        """Inside, an attempt is in progress that cannot get its lock. Approves the cutover."""
        ferry = ferry or self.ferry
        ferry.wait_stage("ReadyForCutover")
        blocker = self.block_lock()
        ferry.post("cutover")
        ferry.wait_stage("CuttingOver")
        self._wait_lock_statement()
        yield blocker
        blocker.close()

    def approve(self) -> FerryProcess:
        """Start, and cut over as soon as possible."""
        self.ferry.start().wait_stage("ReadyForCutover")
        self.ferry.post("cutover")
        return self.ferry

    def hold_record(self) -> None:
        """Start, and cut over up to the statement that records it, which the proxy holds back."""
        self.proxy.hold(RECORDS_COMPLETED)
        self.approve()
        self.proxy.wait_held()

    def hold_commit(self) -> None:
        """Like ``hold_record``, but holds the COMMIT: once it is sent only the target knows the outcome."""
        self.hold_record()
        self.proxy.release(then=b"COMMIT")
        self.proxy.wait_held()

    def kill_before_answer(self) -> None:
        """Kill the copier while the proxy holds what it has sent: that may still reach the target afterwards."""
        with self.ferry.frozen():
            self.proxy.cut_clients()
            self.ferry.kill()

    def _wait_lock_statement(self) -> None:
        def waits() -> bool:
            rows = self.pair.source.query("SELECT info FROM information_schema.processlist WHERE info LIKE 'SET /*%'")
            return bool(rows)

        wait_until(waits, "the lock statement reached the source")

    @contextlib.contextmanager
    def held_in_drain(self, ferry: FerryProcess | None = None) -> Iterator["Connection[Cursor]"]:
        """Inside, the source is locked and a change of ``aim`` cannot reach the target. Yields the session that locks
        the row.
        """
        with self.held_in_acquire(ferry) as blocker:
            holder = self.block_row()
            blocker.cursor().execute(f"UPDATE `{self.schema}`.aim SET v = v + 1 WHERE id = 1")
        wait_until(lambda: self.locked, "the source is locked")
        # Wait for that too: unlocking earlier would end the run, not the attempt.
        (ferry or self.ferry).wait_status(lambda status: "writes on the source are stopped" in status["message"])
        yield holder
        holder.close()


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    """One of a report's conditions."""
    return next(one for one in status["conditions"] if one["type"] == kind)


def failed_attempt(ferry: FerryProcess, reason: str) -> dict[str, Any]:
    """The first report after an attempt has failed for ``reason``."""
    return ferry.wait_status(lambda status: status["cutover"]["lastResult"] == reason)
