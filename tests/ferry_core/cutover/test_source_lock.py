"""Stopping writes on real servers: what holds it up, what is left after a failure, what is restored."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import pymysql
import pytest

from ferry_core.cutover.source_lock import Check, NoLock, ReadOnlyLock, SourceLock
from ferry_core.errors import ConfigError, DataError, LockConflict, RetriableError
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

READ_ONLY_ERROR = 1290
Link: TypeAlias = "Connection[Cursor]"


@pytest.fixture
def server(pair: Pair) -> Iterator[Server]:
    yield pair.source
    pair.source.execute("SET GLOBAL read_only = 0")


@pytest.fixture
def lock(server: Server) -> Iterator[ReadOnlyLock]:
    lock = ReadOnlyLock(server.endpoint, server.flavor, "uid-1")
    yield lock
    lock.end()


def stop_writes(lock: SourceLock, seconds: float = 5, confirm: Check = bool) -> None:
    """As an attempt does."""
    lock.begin(seconds)
    lock.acquire(seconds, confirm)


@pytest.fixture
def table(server: Server, schema: str) -> str:
    name = f"`{schema}`.t"
    server.execute(f"CREATE TABLE {name} (id INT PRIMARY KEY, v INT)", f"INSERT INTO {name} VALUES (1, 1), (2, 2)")
    return name


@pytest.fixture
def writer(server: Server, schema: str) -> Iterator[Callable[[], Link]]:
    """Connections of an account without any administrative privilege, as applications have."""
    user = f"w{schema[-6:]}"
    host = "%"
    server.execute(
        f"CREATE USER `{user}`@'localhost' IDENTIFIED BY 'pw'",
        f"CREATE USER `{user}`@'{host}' IDENTIFIED BY 'pw'",
        f"GRANT ALL ON `{schema}`.* TO `{user}`@'localhost'",
        f"GRANT ALL ON `{schema}`.* TO `{user}`@'{host}'",
    )
    links: list[Link] = []

    def connect() -> Link:
        links.append(server.connect(user=user, password="pw"))
        return links[-1]

    yield connect
    for link in links:
        with contextlib.suppress(pymysql.MySQLError, OSError):
            link.close()
    server.execute("SET GLOBAL read_only = 0", f"DROP USER `{user}`@'localhost'", f"DROP USER `{user}`@'{host}'")


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
    return Endpoint("source", proxy.host, proxy.port, server.user, server.password)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.02)


def waiting(server: Server) -> list[int]:
    rows = server.query("SHOW FULL PROCESSLIST")
    return [
        int(row[0]) for row in rows if "mysql-ferry source lock" in (row[7] or "") and str(row[6]).startswith("Wait")
    ]


def test_writes_stop_and_go_on(lock: ReadOnlyLock, server: Server, table: str, writer: Callable[[], Link]) -> None:
    link = writer()
    stored = lock.stored()
    assert not lock.held()
    assert lock.block.milliseconds == 0
    stop_writes(lock)
    assert lock.held()
    wait_until(lambda: lock.block.milliseconds > 0, "the clock runs")
    assert refused(link, f"UPDATE {table} SET v = 5 WHERE id = 1")
    if server.flavor is Flavor.MYSQL:
        assert refused(server.connect(), f"UPDATE {table} SET v = 6 WHERE id = 1"), "root wrote under super_read_only"
    lock.release(stored)
    blocked = lock.block.milliseconds
    lock.release(stored)
    assert not lock.held()
    assert lock.block.milliseconds == blocked > 0
    assert not refused(link, f"UPDATE {table} SET v = 5 WHERE id = 1")


def test_what_refuses_before_the_statement_stops_no_writes(lock: ReadOnlyLock) -> None:
    def refuse() -> None:
        raise LockConflict("LockConflict", "target: the lease row is locked")

    with pytest.raises(LockConflict):
        stop_writes(lock, confirm=refuse)
    assert lock.block.milliseconds == 0


def test_writes_allowed_by_somebody_at_once_fail_the_attempt_only(
    lock: ReadOnlyLock, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = ReadOnlyLock._read

    def read_after_somebody(own: ReadOnlyLock, session: Session) -> dict[str, str]:
        if lock.block.milliseconds or any(value not in ("0", "OFF") for value in read(own, session).values()):
            server.execute("SET GLOBAL read_only = 0")
        return read(own, session)

    monkeypatch.setattr(ReadOnlyLock, "_read", read_after_somebody)
    with pytest.raises(RetriableError, match="somebody allowed writes") as caught:
        stop_writes(lock)
    assert caught.value.reason == "SourceUnlocked"
    assert not lock.held()


def test_exactly_the_stored_values_come_back(lock: ReadOnlyLock, server: Server) -> None:
    known = [("0", "0"), ("1", "0")] if server.flavor is Flavor.MYSQL else [("0",)]
    for wanted in known:
        for name, value in zip(("read_only", "super_read_only"), wanted, strict=False):
            server.execute(f"SET GLOBAL {name} = {value}")
        stored = lock.stored()
        assert tuple(stored.values()) == wanted
        stop_writes(lock)
        assert lock.held()
        for _ in range(2):
            lock.release(stored)
            assert lock.stored() == stored
        server.execute("SET GLOBAL read_only = 0")


def test_a_source_that_somebody_else_made_read_only_is_not_taken_for_ours(lock: ReadOnlyLock, server: Server) -> None:
    """It would be writable again when they are done, under our hand-over."""
    name = "super_read_only" if server.flavor is Flavor.MYSQL else "read_only"
    server.execute(f"SET GLOBAL {name} = 1")
    for step in (partial(lock.begin, 5), partial(lock.acquire, 5)):
        with pytest.raises(RetriableError, match="read only already") as caught:
            step()
        assert caught.value.reason == "SourceReadOnly"
    assert lock.block.milliseconds == 0
    assert server.value("SELECT IS_USED_LOCK('mysql-ferry-source-lock')") is None, "the turn is kept from its undoer"
    server.execute(f"SET GLOBAL {name} = 0")
    lock.begin(5)
    server.execute(f"SET GLOBAL {name} = 1")
    with pytest.raises(RetriableError):
        lock.acquire(5)
    assert set(lock.stored().values()) == {"1"}


def test_a_lost_turn_is_no_lock_any_more(lock: ReadOnlyLock, server: Server) -> None:
    stop_writes(lock)
    (holder,) = server.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]
    server.execute(f"KILL {holder}")
    wait_until(lambda: not lock.held(), "the turn is lost")
    lock.release(dict.fromkeys(lock.stored(), "0"))
    stop_writes(lock)
    assert lock.held()


def test_open_transactions_do_not_hold_it_up_and_cannot_commit(
    lock: ReadOnlyLock, server: Server, table: str, writer: Callable[[], Link]
) -> None:
    plain, xa = writer(), writer()
    run(plain, "BEGIN")
    run(plain, f"UPDATE {table} SET v = 7 WHERE id = 1")
    for statement in ("XA START 'x'", f"UPDATE {table} SET v = 7 WHERE id = 2", "XA END 'x'", "XA PREPARE 'x'"):
        run(xa, statement)
    started = time.monotonic()
    stop_writes(lock)
    assert time.monotonic() - started < 2
    assert refused(plain, "COMMIT")
    # Why a prepared XA transaction forbids the hand-over: MySQL lets it commit through the lock.
    assert refused(xa, "XA COMMIT 'x'") == (server.flavor is Flavor.MARIADB)


def test_commits_behind_a_global_read_lock_are_refused(
    lock: ReadOnlyLock, server: Server, table: str, writer: Callable[[], Link]
) -> None:
    ftwrl, link = server.connect(), writer()
    run(link, "BEGIN")
    run(link, f"UPDATE {table} SET v = 9 WHERE id = 1")
    run(ftwrl, "FLUSH TABLES WITH READ LOCK")
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(refused(link, "COMMIT")))
    thread.start()
    wait_until(
        lambda: any(row[0] == ident(link) and str(row[6])[:4] == "Wait" for row in server.query("SHOW PROCESSLIST")),
        "the commit waits",
    )
    stop_writes(lock)
    run(ftwrl, "UNLOCK TABLES")
    thread.join(10)
    assert outcome == [True]
    assert server.value(f"SELECT v FROM {table} WHERE id = 1") == 1


HOLDERS = {
    "a running update": ["UPDATE {t} SET v = v + SLEEP(20) WHERE id = 1"],
    "an update that waits for a row lock": ["BEGIN", "UPDATE {t} SET v = 3 WHERE id = 1"],
    "lock tables write": ["LOCK TABLES {t} WRITE"],
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_timeout_leaves_no_trace_and_names_who_was_in_the_way(
    lock: ReadOnlyLock, server: Server, table: str, writer: Callable[[], Link], holder: str
) -> None:
    link = writer()
    *before, last = (statement.format(t=table) for statement in HOLDERS[holder])
    for statement in before:
        run(link, statement)
    threads = []
    culprit = ident(link)
    if holder == "lock tables write":
        run(link, last)
    elif before:
        run(link, last)
        behind = writer()
        culprit = ident(behind)
        threads.append(threading.Thread(target=_quietly, args=(behind, f"UPDATE {table} SET v = 4 WHERE id = 1")))
    else:
        threads.append(threading.Thread(target=_quietly, args=(link, last)))
    for thread in threads:
        thread.start()
        wait_until(lambda: _runs_update(server, culprit), "the holder runs")
    stored = lock.stored()
    started = time.monotonic()
    with pytest.raises(LockConflict) as caught:
        stop_writes(lock, 1.5)
    took = time.monotonic() - started
    print(f"{holder}: {took:.2f} s: {caught.value}")
    assert caught.value.reason == "SourceLockTimeout"
    assert 1.4 < took < 4
    blocked = lock.block.milliseconds
    assert 1400 < blocked <= took * 1000, "writers queue behind the statement while it waits, and no longer"
    assert lock.block.milliseconds == blocked
    if holder != "lock tables write" or server.flavor is Flavor.MYSQL:
        assert f"connection {culprit} " in caught.value.message
    assert lock.stored() == stored
    assert not waiting(server)
    other = writer()
    assert not refused(other, f"UPDATE {table} SET v = 8 WHERE id = 2") if holder != "lock tables write" else True
    server.execute(*(f"KILL {thread}" for thread in {culprit, ident(link)}))
    for thread in threads:
        thread.join(10)
    assert lock.stored() == stored, "it came late"
    stop_writes(lock)
    lock.release(stored)


def _quietly(link: Link, statement: str) -> None:
    with contextlib.suppress(pymysql.MySQLError, OSError):
        run(link, statement)


def _runs_update(server: Server, thread: int) -> bool:
    rows = server.query("SHOW FULL PROCESSLIST")
    return any(int(row[0]) == thread and "UPDATE" in (row[7] or "") for row in rows)


def test_a_dead_copiers_attempt_does_not_lock_after_the_release(lock: ReadOnlyLock, server: Server, table: str) -> None:
    holder = server.connect()
    run(holder, f"LOCK TABLES {table} WRITE")
    stored = lock.stored()
    with Proxy(server.host, server.port) as proxy:
        dead = ReadOnlyLock(lambda: through(proxy, server), server.flavor, "uid-1")
        thread = threading.Thread(target=_attempt, args=(dead, 30.0))
        thread.start()
        wait_until(lambda: waiting(server), "the attempt waits")
        proxy.pause()
        # The dead one says nothing any more, its statement waits on. A successor restores at once.
        lock.release(stored)
        assert not waiting(server)
        run(holder, "UNLOCK TABLES")
        assert lock.stored() == stored
        assert not lock.held()
    thread.join(60)
    assert not thread.is_alive()
    assert lock.stored() == stored


def _attempt(lock: SourceLock, seconds: float) -> None:
    with contextlib.suppress(RetriableError):
        stop_writes(lock, seconds)


def test_another_ferrys_attempt_is_left_alone(
    lock: ReadOnlyLock, server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.cutover.source_lock.TURN_SECONDS", 0.5)
    holder = server.connect()
    run(holder, f"LOCK TABLES {table} WRITE")
    other = ReadOnlyLock(server.endpoint, server.flavor, "uid-2")
    thread = threading.Thread(target=stop_writes, args=(other, 20.0))
    thread.start()
    wait_until(lambda: waiting(server), "the other's attempt waits")
    assert len(waiting(server)) == 1
    lock.release(dict.fromkeys(lock.stored(), "0"))
    assert len(waiting(server)) == 1
    run(holder, "UNLOCK TABLES")
    thread.join(20)
    assert other.held()
    lock.release(dict.fromkeys(lock.stored(), "0"))
    assert other.held(), "what a dead copier of ours wanted to restore is not so any more"
    with pytest.raises(RetriableError) as caught:
        lock.begin(0.5)
    assert caught.value.reason == "SourceLockBusy"
    other.release(dict.fromkeys(lock.stored(), "0"))
    other.end()
    stop_writes(lock)
    assert lock.held()


def test_an_unreachable_source_is_said_to_be_perhaps_locked(lock: ReadOnlyLock, server: Server, table: str) -> None:
    holder = server.connect()
    run(holder, f"LOCK TABLES {table} WRITE")
    with Proxy(server.host, server.port) as proxy:
        cut_off = ReadOnlyLock(lambda: through(proxy, server), server.flavor, "u")
        failures: list[BaseException] = []

        def attempt() -> None:
            try:
                stop_writes(cut_off, 20)
            except RetriableError as error:
                failures.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        wait_until(lambda: waiting(server), "the attempt waits")
    thread.join(40)
    assert [getattr(error, "reason", "") for error in failures] == ["SourceMayBeLocked"], failures
    run(holder, "UNLOCK TABLES")
    mended = ReadOnlyLock(server.endpoint, server.flavor, "u")
    mended.release(dict.fromkeys(lock.stored(), "0"))
    assert not mended.held()


def test_a_missing_privilege_is_named(server: Server, schema: str, writer: Callable[[], Link]) -> None:
    writer()
    endpoint = server.endpoint()
    account = Endpoint("source", endpoint.host, endpoint.port, f"w{schema[-6:]}", "pw")
    poor = ReadOnlyLock(lambda: account, server.flavor, "uid-1")
    with pytest.raises(ConfigError) as caught:
        stop_writes(poor)
    assert caught.value.reason == "MissingPrivilege"
    assert not poor.held()


def test_stored_values_are_checked_before_they_become_sql(lock: ReadOnlyLock) -> None:
    with pytest.raises(DataError):
        lock.release(dict.fromkeys(lock.stored(), "0; DROP TABLE x"))
    with pytest.raises(DataError):
        lock.release({})


def test_no_lock_does_nothing() -> None:
    lock: SourceLock = NoLock()
    lock.acquire(1)
    assert lock.held()
    assert lock.stored() == {}
    lock.release({})
