"""READ locks on the selected tables of a real source: what waits, what goes on, and how the lock ends."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

import pymysql
import pytest

from ferry_core.cutover.messages import ambiguous, record_lost
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.cutover.source_lock import ReadOnlyLock, Released
from ferry_core.cutover.table_lock import END_SECONDS, SILENT_SECONDS, TableLock
from ferry_core.errors import LockConflict, RetriableError
from ferry_core.mysql.flavor import Flavor
from ferry_core.reasons import Reason
from ferry_core.tables.table import TableName
from tests.support.cutover_in_process import Link, ident, run, through
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waits import PATIENCE_SECONDS, Background, wait_until

MakeLock = Callable[..., TableLock]


@pytest.fixture
def make_lock(server: Server, schema: str, table: str) -> Iterator[MakeLock]:
    assert table
    made: list[TableLock] = []

    def make(owner: str = "uid-1", proxy: Proxy | None = None) -> TableLock:
        login = server.endpoint if proxy is None else (lambda: through(proxy, server))
        made.append(TableLock(login, lambda: [TableName(schema, "t")], owner))
        return made[-1]

    yield make
    for each in made:
        each.end()


def attempt(lock: TableLock, seconds: float = 60) -> TableLock:
    lock.begin(seconds)
    lock.acquire(seconds)
    return lock


def waits(server: Server, link: Link) -> bool:
    rows = server.query("SHOW FULL PROCESSLIST")
    return any(int(row[0]) == ident(link) and str(row[6] or "").startswith("Waiting for table") for row in rows)


def blocked(server: Server, link: Link, statement: str) -> Background:
    """The statement waits in a thread."""
    waiting = Background(lambda: run(link, statement))
    wait_until(lambda: waits(server, link), f"{statement} waits")
    return waiting


def test_writers_of_the_selected_tables_wait_and_others_go_on(
    make_lock: MakeLock, server: Server, schema: str, table: str, writer: Callable[[], Link]
) -> None:
    server.execute(f"CREATE TABLE `{schema}`.other (id INT PRIMARY KEY)")
    lock = attempt(make_lock())
    assert lock.held()
    waiting = blocked(server, writer(), f"UPDATE {table} SET v = 5 WHERE id = 1")
    run(writer(), f"INSERT INTO `{schema}`.other VALUES (1)")
    run(writer(), f"SELECT * FROM {table}")
    assert waiting.stays(0.5)
    lock.unlock()
    waiting.join()
    assert not lock.held()
    assert lock.block.milliseconds > 0
    lock.unlock()


def test_writes_through_views_triggers_and_ddl_wait_too(
    make_lock: MakeLock, server: Server, schema: str, table: str
) -> None:
    server.execute(
        f"CREATE VIEW `{schema}`.w AS SELECT * FROM {table}",
        f"CREATE TABLE `{schema}`.other (id INT PRIMARY KEY)",
        f"CREATE TRIGGER `{schema}`.tr AFTER INSERT ON `{schema}`.other FOR EACH ROW UPDATE {table} SET v = 9",
    )
    lock = attempt(make_lock())
    statements = [
        f"UPDATE `{schema}`.w SET v = 5 WHERE id = 1",
        f"INSERT INTO `{schema}`.other VALUES (1)",
        f"ALTER TABLE {table} ADD COLUMN w INT",
        f"TRUNCATE TABLE {table}",
    ]
    waiting = [blocked(server, server.connect(), statement) for statement in statements]
    lock.unlock()
    for each in waiting:
        each.join()


def test_a_cascade_from_a_table_that_is_not_locked_waits_too(
    make_lock: MakeLock, server: Server, schema: str, table: str
) -> None:
    server.execute(
        f"CREATE TABLE `{schema}`.up (id INT PRIMARY KEY)",
        f"INSERT INTO `{schema}`.up SELECT v FROM {table} GROUP BY v",
        f"ALTER TABLE {table} ADD CONSTRAINT going FOREIGN KEY (v) REFERENCES `{schema}`.up (id) ON DELETE CASCADE",
    )
    lock = attempt(make_lock())
    waiting = blocked(server, server.connect(), f"DELETE FROM `{schema}`.up")
    assert int(server.value(f"SELECT COUNT(*) FROM {table}")) == 2
    lock.unlock()
    waiting.join()
    assert int(server.value(f"SELECT COUNT(*) FROM {table}")) == 0


def test_the_lock_waits_for_a_transaction_that_has_written_and_names_it(
    make_lock: MakeLock, server: Server, table: str, writer: Callable[[], Link]
) -> None:
    link = server.connect(autocommit=False)
    run(link, f"UPDATE {table} SET v = 5 WHERE id = 1")
    lock = make_lock()
    lock.begin(60)
    with pytest.raises(LockConflict) as caught:
        lock.acquire(1)
    assert caught.value.reason == "SourceLockTimeout"
    assert f"connection {ident(link)}" in caught.value.message
    assert "raise cutover.deadline, or use ReadOnly" in caught.value.message
    run(writer(), f"UPDATE {table} SET v = 6 WHERE id = 2")  # everybody writes on
    link.commit()
    attempt(lock).unlock()


def test_a_transaction_that_commits_in_time_is_waited_for(make_lock: MakeLock, server: Server, table: str) -> None:
    link = server.connect(autocommit=False)
    run(link, f"UPDATE {table} SET v = 5 WHERE id = 1")
    lock = make_lock()
    locking = Background(lambda: attempt(lock))
    wait_until(lambda: any("LOCK TABLES" in str(row[7]) for row in server.query("SHOW FULL PROCESSLIST")), "it waits")
    link.commit()
    locking.join()
    assert lock.held()


def test_an_attempt_that_is_given_up_while_it_waits_leaves_nothing(
    make_lock: MakeLock, server: Server, table: str, writer: Callable[[], Link]
) -> None:
    link = server.connect(autocommit=False)
    run(link, f"UPDATE {table} SET v = 5 WHERE id = 1")
    over = threading.Event()

    def check() -> None:
        if over.is_set():
            raise AttemptFailed(Reason.DEADLINE_EXCEEDED, "given up")

    lock, found = make_lock(), []

    def body() -> None:
        try:
            lock.acquire(600, check_cancelled=check)
        except AttemptFailed as error:
            found.append(error)

    locking = Background(body)
    wait_until(lambda: any("LOCK TABLES" in str(row[7]) for row in server.query("SHOW FULL PROCESSLIST")), "it waits")
    over.set()
    locking.join()
    assert len(found) == 1
    run(writer(), f"UPDATE {table} SET v = 6 WHERE id = 2")


def test_a_refusal_before_the_statement_locks_nothing(make_lock: MakeLock, server: Server, table: str) -> None:
    def refuse() -> None:
        raise LockConflict(Reason.LOCK_CONFLICT, "target: the lease row is locked")

    lock = make_lock()
    with pytest.raises(LockConflict):
        lock.acquire(60, confirm=refuse)
    assert (lock.block.milliseconds, lock.held()) == (0, False)
    run(server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")


def test_a_session_that_is_killed_is_noticed(make_lock: MakeLock, server: Server, table: str) -> None:
    lock = attempt(make_lock())
    session = lock._session
    assert session is not None
    server.execute(f"KILL {session.connection_id}")
    assert not lock.held()
    run(server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
    lock.unlock()


def test_a_copier_that_falls_silent_keeps_the_lock_only_for_a_while(
    make_lock: MakeLock, server: Server, table: str
) -> None:
    """It is dead or frozen; nothing but the server's timeout ends the lock."""
    with Proxy(server.host, server.port) as proxy:
        lock = attempt(make_lock(proxy=proxy), 2)
        proxy.pause()
        began = time.monotonic()
        link = server.connect()
        waiting = blocked(server, link, f"UPDATE {table} SET v = 6 WHERE id = 2")
        waiting.join(60)
        print(f"writes went on after {time.monotonic() - began:.1f} s of silence")
        assert time.monotonic() - began < 2 + SILENT_SECONDS + 20
        proxy.cut()
        proxy.resume()
        assert not lock.held()


def test_a_successor_ends_a_lock_that_was_left_behind(make_lock: MakeLock, server: Server, table: str) -> None:
    left = attempt(make_lock())
    intent = left.intent(60)
    assert intent == {"lock": "LockTables"}
    waiting = blocked(server, server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
    assert make_lock().release(intent) is Released.ALLOWED
    waiting.join()
    assert not left.held()


def test_a_successor_with_another_lock_ends_it_too(make_lock: MakeLock, server: Server) -> None:
    left = attempt(make_lock())
    other = ReadOnlyLock(server.endpoint, server.flavor, "uid-1")
    other.begin(60)
    assert not left.held()
    other.end()


def test_a_statement_that_still_waits_without_its_copier_is_ended(
    make_lock: MakeLock, server: Server, table: str
) -> None:
    link = server.connect(autocommit=False)
    run(link, f"UPDATE {table} SET v = 5 WHERE id = 1")
    with Proxy(server.host, server.port) as proxy:
        dead = make_lock(proxy=proxy)

        def body() -> None:
            with contextlib.suppress(RetriableError):
                dead.acquire(100)

        locking = Background(body)
        wait_until(lambda: any("LOCK TABLES" in str(row[7]) for row in server.query("SHOW FULL PROCESSLIST")), "waits")
        proxy.pause()
        make_lock().release({"lock": "LockTables"})
        assert not any("LOCK TABLES" in str(row[7]) for row in server.query("SHOW FULL PROCESSLIST"))
        link.commit()
        run(server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
        proxy.cut()
    locking.join(PATIENCE_SECONDS)


def test_two_ferries_may_lock_at_the_same_time(make_lock: MakeLock) -> None:
    one, other = attempt(make_lock()), attempt(make_lock("uid-2"))
    assert one.held()
    assert other.held()


def test_who_waits_when_the_lock_ends_is_named(make_lock: MakeLock, server: Server, table: str) -> None:
    lock = attempt(make_lock())
    link = server.connect()
    waiting = blocked(server, link, f"UPDATE {table} SET v = 6 WHERE id = 2")
    (line,) = lock.stop_keeping()
    assert int(server.value(f"SELECT v FROM {table} WHERE id = 2")) == 6, "what waited is written, so that it is named"
    waiting.join()
    assert f"connection {ident(link)} (" in line
    assert "UPDATE" in line
    assert lock.stop_keeping() == []


def test_who_waits_for_others_when_the_lock_ends_is_not_named(
    make_lock: MakeLock, server: Server, schema: str, table: str
) -> None:
    """Only DDL of a locked table is, because it waits for the lock, too."""
    server.execute(f"CREATE TABLE `{schema}`.other (id INT PRIMARY KEY)")
    reader = server.connect(autocommit=False)
    run(reader, f"SELECT * FROM `{schema}`.other")
    run(reader, f"SELECT * FROM {table}")
    lock = attempt(make_lock())
    links = server.connect(), server.connect()
    waiting = [
        blocked(server, links[0], f"ALTER TABLE `{schema}`.other ADD COLUMN w INT"),
        blocked(server, links[1], f"ALTER TABLE {table} ADD COLUMN w INT"),
    ]
    (line,) = lock.stop_keeping()
    assert f"connection {ident(links[1])} (" in line
    reader.commit()
    for each in waiting:
        each.join()


def test_a_prepared_xa_transaction_of_a_selected_table_is_waited_for(
    make_lock: MakeLock, server: Server, table: str
) -> None:
    link = server.connect()
    for statement in ("XA START 'x'", f"UPDATE {table} SET v = 6 WHERE id = 2", "XA END 'x'", "XA PREPARE 'x'"):
        run(link, statement)
    lock = make_lock()
    try:
        with pytest.raises(LockConflict):
            lock.acquire(1)
    finally:
        run(link, "XA ROLLBACK 'x'")
    assert attempt(lock).held()


@pytest.mark.parametrize("message", [ambiguous, record_lost])
def test_an_unknown_outcome_says_that_the_locks_end_with_the_run(
    make_lock: MakeLock, message: Callable[..., str]
) -> None:
    lock = make_lock()
    assert not lock.outlives_run
    said = message("no answer", lock.by_hand({}), stays=lock.outlives_run)
    assert "locked only as long as this run lives" in said
    assert "stay blocked" not in said
    assert "KILL" in said


def test_an_unlock_needs_no_new_connection(make_lock: MakeLock, server: Server, table: str) -> None:
    """Waiting writers may have used up all that the server allows."""
    with Proxy(server.host, server.port) as proxy:
        lock = attempt(make_lock(proxy=proxy))
        waiting = blocked(server, server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
        proxy.refuse()
        with pytest.raises(RetriableError):
            lock.unlock()
        waiting.join(30)  # the server's own timeout ends the lock after 65 s
        proxy.accept()
        lock.unlock()


def test_an_unlock_ends_no_connection_that_is_not_its_own(make_lock: MakeLock, server: Server, table: str) -> None:
    """After a restart of the source the recorded id may be an application's."""
    lock = attempt(make_lock())
    session, application = lock._session, server.connect()
    assert session is not None
    session.connection_id = ident(application)
    lock.unlock()
    run(application, f"UPDATE {table} SET v = 6 WHERE id = 2")


def test_who_waits_is_named_without_a_new_connection(make_lock: MakeLock, server: Server, table: str) -> None:
    with Proxy(server.host, server.port) as proxy:
        lock = attempt(make_lock(proxy=proxy))
        waiting = blocked(server, server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
        proxy.refuse()
        (line,) = lock.stop_keeping()
        waiting.join(30)
    assert "UPDATE" in line


def test_a_lock_that_was_lost_before_it_ends_is_told(make_lock: MakeLock, server: Server) -> None:
    lock = attempt(make_lock())
    assert lock._session is not None
    assert not lock.lost
    server.execute(f"KILL {lock._session.connection_id}")
    wait_until(lambda: lock.lost, "it is noticed")
    with pytest.raises(RetriableError, match="was lost before, so writes to them were possible"):
        lock.stop_keeping()
    assert not lock.lost


def test_a_network_that_swallows_everything_does_not_hold_up_the_end(make_lock: MakeLock, server: Server) -> None:
    with Proxy(server.host, server.port) as proxy:
        lock = attempt(make_lock(proxy=proxy))
        proxy.pause()
        began = time.monotonic()
        lock.end()
        assert time.monotonic() - began < END_SECONDS + 2
        proxy.resume()


def test_a_session_that_the_network_has_lost_is_ended(server: Server, schema: str, table: str) -> None:
    """The server does not hear that its client is gone: nothing but a KILL ends the lock before its timeout."""
    with Proxy(server.host, server.port) as proxy:
        endpoints = [through(proxy, server)]
        lock = TableLock(lambda: endpoints[-1], lambda: [TableName(schema, "t")], "uid-1")
        lock.begin(60)
        lock.acquire(60)
        waiting = blocked(server, server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
        proxy.pause()
        endpoints.append(server.endpoint())
        began = time.monotonic()
        (line,) = lock.stop_keeping()
        assert time.monotonic() - began < 40, "the session's timeouts are 65 s"
        waiting.join(5)
        assert "UPDATE" in line
        proxy.cut()
        proxy.resume()


def test_without_any_answer_it_is_unknown_who_waits(make_lock: MakeLock, server: Server) -> None:
    with Proxy(server.host, server.port) as proxy:
        lock = attempt(make_lock(proxy=proxy))
        proxy.refuse()
        proxy.cut()
        with pytest.raises(RetriableError):
            lock.stop_keeping()
    assert lock.stop_keeping() == []


def test_readers_wait_behind_a_waiting_writer_on_mariadb_without_transactions(
    make_lock: MakeLock, server: Server, table: str
) -> None:
    """Those of the run too: it could not compare rows. On MySQL nobody reads later because of a writer that waits."""
    server.execute(f"ALTER TABLE {table} ENGINE=MyISAM")
    lock = attempt(make_lock())
    waiting = blocked(server, server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 2")
    link = server.connect()
    if server.flavor is Flavor.MYSQL:
        run(link, f"SELECT * FROM {table}")
        lock.unlock()
    else:
        reading = blocked(server, link, f"SELECT * FROM {table}")
        lock.unlock()
        reading.join()
    waiting.join()


def test_a_transaction_that_wants_a_locked_table_while_it_is_waited_for_gets_an_error(
    server: Server, schema: str, table: str
) -> None:
    server.execute(f"CREATE TABLE `{schema}`.u (id INT PRIMARY KEY)")
    lock = TableLock(server.endpoint, lambda: [TableName(schema, "t"), TableName(schema, "u")], "uid-1")
    link = server.connect(autocommit=False)
    run(link, f"INSERT INTO `{schema}`.u VALUES (1)")
    locking = Background(lambda: lock.acquire(60))
    waiting = "Waiting for table metadata lock"
    wait_until(lambda: any(row[6] == waiting for row in server.query("SHOW FULL PROCESSLIST")), "LOCK TABLES waits")
    with pytest.raises(pymysql.OperationalError, match="Deadlock found"):
        run(link, f"UPDATE {table} SET v = 6 WHERE id = 2")
    locking.join()
    assert lock.held()
    lock.end()
