"""Stopping writes on real servers: what is left after a failure, what is restored."""

import contextlib
import threading
from collections.abc import Callable
from functools import partial

import pytest

from ferry_core.cutover.mutex import CutoverMutexLost
from ferry_core.cutover.source_lock import NoLock, ReadOnlyLock, Released, SourceLock
from ferry_core.errors import ConfigError, DataError, LockConflict, RetriableError, ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from hack.servers import Family
from tests.support.cutover_in_process import Link, refused, run, stop_writes, through, waiting
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waits import PATIENCE_SECONDS, wait_until


def test_writes_stop_and_are_allowed_again(
    lock: ReadOnlyLock, server: Server, table: str, writer: Callable[[], Link]
) -> None:
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


def test_a_refusal_before_the_lock_statement_stops_no_writes(lock: ReadOnlyLock) -> None:
    def refuse() -> None:
        raise LockConflict(Reason.LOCK_CONFLICT, "target: the lease row is locked")

    with pytest.raises(LockConflict):
        stop_writes(lock, confirm=refuse)
    assert lock.block.milliseconds == 0


def test_a_lock_removed_at_once_by_somebody_only_fails_the_attempt(
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


def test_exactly_the_stored_values_are_restored(lock: ReadOnlyLock, server: Server) -> None:
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
    """The others would make it writable again when they are done, during our cutover."""
    name = "super_read_only" if server.flavor is Flavor.MYSQL else "read_only"
    server.execute(f"SET GLOBAL {name} = 1")
    for step in (partial(lock.begin, 5), partial(lock.acquire, 5)):
        with pytest.raises(RetriableError, match="already read-only") as caught:
            step()
        assert caught.value.reason == "SourceReadOnly"
    assert lock.block.milliseconds == 0
    assert server.value("SELECT IS_USED_LOCK('mysql-ferry-source-lock')") is None, "the mutex is still held"
    server.execute(f"SET GLOBAL {name} = 0")
    lock.begin(60)
    server.execute(f"SET GLOBAL {name} = 1")
    with pytest.raises(RetriableError):
        lock.acquire(60)
    assert set(lock.stored().values()) == {"1"}


def test_a_lost_mutex_is_no_longer_held(lock: ReadOnlyLock, server: Server) -> None:
    stop_writes(lock)
    (holder,) = server.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]
    server.execute(f"KILL {holder}")
    wait_until(lambda: not lock.held(), "the mutex is lost")
    lock.release(dict.fromkeys(lock.stored(), "0"))
    stop_writes(lock)
    assert lock.held()


def test_a_second_session_may_unlock_only_while_the_source_has_that_of_the_mutex(
    lock: ReadOnlyLock, server: Server
) -> None:
    stop_writes(lock)
    with lock._sessions.open() as beside:
        lock._mutex.refuse_ended(beside)
        (holder,) = server.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]
        server.execute(f"KILL {holder}")
        wait_until(lambda: not server.query(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE id = {holder}"))
        with pytest.raises(CutoverMutexLost):
            lock._mutex.refuse_ended(beside)
    server.execute("SET GLOBAL read_only = 0")


def test_a_second_session_that_the_network_swallowed_keeps_no_other_from_unlocking(
    lock: ReadOnlyLock, server: Server
) -> None:
    """The source still has it, and with it the named locks."""
    stop_writes(lock)
    with lock._sessions.open() as swallowed:
        lock._enrol(swallowed)
        with lock._enrolled() as session:
            lock._mutex.refuse_ended(session)
        (holder,) = server.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]
        server.execute(f"KILL {holder}")
        wait_until(lambda: not server.query(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE id = {holder}"))
        with lock._sessions.open() as successor:
            lock._enrol(successor)
            with pytest.raises(CutoverMutexLost), lock._enrolled():
                pass
            assert successor.query("SELECT 1"), "a session of somebody else was ended"
    server.execute("SET GLOBAL read_only = 0")


def test_a_dead_copiers_attempt_does_not_lock_after_the_release(lock: ReadOnlyLock, server: Server, table: str) -> None:
    holder = server.connect()
    run(holder, f"LOCK TABLES {table} WRITE")
    stored = lock.stored()
    with Proxy(server.host, server.port) as proxy:
        dead = ReadOnlyLock(lambda: through(proxy, server), server.flavor, "uid-1")
        thread = threading.Thread(target=_attempt, args=(dead, 150.0))
        thread.start()
        wait_until(lambda: waiting(server), "the attempt waits")
        proxy.pause()
        # The dead copier sends nothing more, but its statement still waits. A successor restores at once.
        lock.release(stored)
        assert not waiting(server)
        run(holder, "UNLOCK TABLES")
        assert lock.stored() == stored
        assert not lock.held()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert lock.stored() == stored


def _attempt(lock: SourceLock, seconds: float) -> None:
    with contextlib.suppress(RetriableError):
        stop_writes(lock, seconds)


def test_another_ferrys_attempt_is_left_alone(
    lock: ReadOnlyLock, server: Server, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.cutover.source_lock.MUTEX_SECONDS", 0.5)
    holder = server.connect()
    run(holder, f"LOCK TABLES {table} WRITE")
    other = ReadOnlyLock(server.endpoint, server.flavor, "uid-2")
    thread = threading.Thread(target=stop_writes, args=(other, 150.0))
    thread.start()
    wait_until(lambda: waiting(server), "the other's attempt waits")
    assert len(waiting(server)) == 1
    lock.release(dict.fromkeys(lock.stored(), "0"))
    assert len(waiting(server)) == 1
    run(holder, "UNLOCK TABLES")
    thread.join(PATIENCE_SECONDS)
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


def test_an_unreachable_source_is_reported_as_possibly_locked(lock: ReadOnlyLock, server: Server, table: str) -> None:
    holder = server.connect()
    run(holder, f"LOCK TABLES {table} WRITE")
    with Proxy(server.host, server.port) as proxy:
        cut_off = ReadOnlyLock(lambda: through(proxy, server), server.flavor, "u")
        failures: list[BaseException] = []

        def attempt() -> None:
            try:
                stop_writes(cut_off, 60)
            except RetriableError as error:
                failures.append(error)

        thread = threading.Thread(target=attempt)
        thread.start()
        wait_until(lambda: waiting(server), "the attempt waits")
    thread.join(PATIENCE_SECONDS)
    assert [getattr(error, "reason", "") for error in failures] == ["SourceMayBeLocked"], failures
    run(holder, "UNLOCK TABLES")
    mended = ReadOnlyLock(server.endpoint, server.flavor, "u")
    mended.release(dict.fromkeys(lock.stored(), "0"))
    assert not mended.held()


def test_a_missing_privilege_is_named(server: Server, schema: str, writer: Callable[[], Link]) -> None:
    writer()
    endpoint = server.endpoint()
    account = Endpoint(ServerRole.SOURCE, endpoint.host, endpoint.port, f"w{schema[-6:]}", "pw", trusts_public_key=True)
    poor = ReadOnlyLock(lambda: account, server.flavor, "uid-1")
    with pytest.raises(ConfigError) as caught:
        stop_writes(poor)
    assert caught.value.reason == "MissingPrivilege"
    assert not poor.held()
    poor.end()


def test_stored_values_are_checked_before_they_become_sql(lock: ReadOnlyLock) -> None:
    with pytest.raises(DataError):
        lock.release(dict.fromkeys(lock.stored(), "0; DROP TABLE x"))
    with pytest.raises(DataError):
        lock.release({})


def test_no_lock_does_nothing() -> None:
    lock: SourceLock = NoLock()
    lock.acquire(1)
    assert lock.held()
    assert lock.intent(1) == {}
    lock.unlock()
    lock.release({})


def test_only_the_session_that_holds_the_mutex_unlocks(lock: ReadOnlyLock, server: Server) -> None:
    """A suspended run wakes up under the lock of its successor, which has ended that session first."""
    stop_writes(lock)
    successor = ReadOnlyLock(server.endpoint, server.flavor, "uid-1")
    successor.release(dict.fromkeys(lock.stored(), "0"))
    stop_writes(successor)
    with pytest.raises(CutoverMutexLost):
        lock.unlock()
    assert successor.held()
    successor.unlock()
    assert not successor.held()
    successor.end()


def test_a_statement_is_not_sent_without_the_mutex(lock: ReadOnlyLock, server: Server) -> None:
    """It was lost between the last checks and the statement: by then somebody else may have it."""
    lock.begin(60)
    (holder,) = server.query("SELECT IS_USED_LOCK('mysql-ferry-source-lock')")[0]

    def lose() -> None:
        server.execute(f"KILL {holder}")

    with pytest.raises(CutoverMutexLost):
        lock.acquire(60, confirm=lose)
    assert not lock.is_read_only()
    assert lock.block.milliseconds == 0


@pytest.mark.parametrize("since", ["set by somebody", "restarted"])
def test_a_lock_that_is_not_certainly_ours_is_kept(lock: ReadOnlyLock, server: Server, since: str) -> None:
    """The lease does not record an unlock, and days later a person made the source read-only."""
    intent = lock.intent(60)
    days = 2 * 86400.0
    if since == "restarted":
        intent["uptime"] = str(float(intent["uptime"]) + days)
    else:
        intent["at"] = str(float(intent["at"]) - days)
        intent["uptime"] = str(float(intent["uptime"]) - days)
    stop_writes(lock)
    assert lock.release(intent) is Released.UNCLEAR
    assert lock.is_read_only()
    assert lock.release(lock_intent_of_now(lock, intent)) is Released.ALLOWED
    assert not lock.is_read_only()
    assert ("MariaDB does not record" in lock.caution) is (server.family is Family.MARIADB)
    assert lock.release(intent) is Released.ALLOWED, "there is nothing to restore"
    assert lock.caution == ""


def lock_intent_of_now(lock: ReadOnlyLock, intent: dict[str, str]) -> dict[str, str]:
    """As if the attempt that stopped the writes had recorded it."""
    return lock.intent(60) | dict.fromkeys(set(intent) & {"read_only", "super_read_only"}, "0")


def test_a_lock_by_an_account_with_an_at_sign_is_recognised(server: Server, schema: str) -> None:
    """As in managed services. Otherwise a person would have to unlock after a run that died under the lock."""
    user = f"ferry@{schema[-6:]}"
    server.execute(f"CREATE USER `{user}`@'%' IDENTIFIED BY 'pw'", f"GRANT ALL ON *.* TO `{user}`@'%'")
    endpoint = server.endpoint()
    account = Endpoint(ServerRole.SOURCE, endpoint.host, endpoint.port, user, "pw", trusts_public_key=True)
    died = ReadOnlyLock(lambda: account, server.flavor, "uid-1")
    died.begin(60)
    intent = died.intent(60)
    died.acquire(60)
    died.end()
    try:
        assert ReadOnlyLock(lambda: account, server.flavor, "uid-1").release(intent) is Released.ALLOWED
    finally:
        server.execute("SET GLOBAL read_only = 0", f"DROP USER `{user}`@'%'")
