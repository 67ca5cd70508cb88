"""What delays stopping the writes of a real server, and what does not."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pymysql
import pytest

from ferry_core.cutover import killing
from ferry_core.cutover.source_lock import ReadOnlyLock
from ferry_core.errors import LockConflict
from ferry_core.mysql import processes
from ferry_core.mysql.flavor import Flavor
from tests.support.cutover_in_process import CutoverInProcess, Link, ident, refused, run, stop_writes, waiting
from tests.support.servers import Server
from tests.support.waits import wait_until


def test_open_transactions_do_not_delay_the_lock_and_cannot_commit(
    lock: ReadOnlyLock, server: Server, table: str, writer: Callable[[], Link]
) -> None:
    plain, xa = writer(), writer()
    run(plain, "BEGIN")
    run(plain, f"UPDATE {table} SET v = 7 WHERE id = 1")
    for statement in ("XA START 'x'", f"UPDATE {table} SET v = 7 WHERE id = 2", "XA END 'x'", "XA PREPARE 'x'"):
        run(xa, statement)
    started = time.monotonic()
    stop_writes(lock)
    assert time.monotonic() - started < 30
    assert refused(plain, "COMMIT")
    # This is why a prepared XA transaction prevents the cutover: MySQL lets it commit in spite of the lock.
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
    thread.join(60)
    assert outcome == [True]
    assert server.value(f"SELECT v FROM {table} WHERE id = 1") == 1


DEADLINE = 5
HOLDERS = {
    "a running update": ["UPDATE {t} SET v = v + SLEEP(300) WHERE id = 1"],
    "an update that waits for a row lock": ["BEGIN", "UPDATE {t} SET v = 3 WHERE id = 1"],
    "lock tables write": ["LOCK TABLES {t} WRITE"],
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_timeout_leaves_no_trace_and_names_the_blocker(
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
        stop_writes(lock, DEADLINE)
    took = time.monotonic() - started
    print(f"{holder}: {took:.2f} s: {caught.value}")
    assert caught.value.reason == "SourceLockTimeout"
    assert DEADLINE - 1 < took < DEADLINE + 20
    blocked = lock.block.milliseconds
    assert (DEADLINE - 2) * 1000 < blocked <= took * 1000, "writers queue while the statement waits, and no longer"
    assert lock.block.milliseconds == blocked
    if holder != "lock tables write" or server.flavor is Flavor.MYSQL:
        assert f"connection {culprit} " in caught.value.message
    assert lock.stored() == stored
    assert not waiting(server)
    other = writer()
    assert not refused(other, f"UPDATE {table} SET v = 8 WHERE id = 2") if holder != "lock tables write" else True
    server.execute(*(f"KILL {thread}" for thread in {culprit, ident(link)}))
    for thread in threads:
        thread.join(60)
    assert lock.stored() == stored, "it came late"
    stop_writes(lock)
    lock.release(stored)


def test_who_was_in_the_way_is_told_although_the_attempt_was_abandoned_meanwhile(
    cutover: CutoverInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine the statement that waited ends only after the attempt was given up."""
    attempt = cutover.attempt()
    kill = processes.kill

    def kill_later(*arguments: Any) -> None:
        if threading.current_thread().name == "source-lock-killer":
            assert attempt._undone.wait(60)
        kill(*arguments)

    monkeypatch.setattr(killing, "kill", kill_later)
    with cutover.pair.source.connect() as holder:
        holder.cursor().execute(f"LOCK TABLES `{cutover.schema}`.t WRITE")
        tried = attempt.run()
    assert tried.reason == "SourceLockTimeout", tried
    assert "blocked by: " in tried.message
    assert not cutover.read_only()


def _quietly(link: Link, statement: str) -> None:
    with contextlib.suppress(pymysql.MySQLError, OSError):
        run(link, statement)


def _runs_update(server: Server, thread: int) -> bool:
    rows = server.query("SHOW FULL PROCESSLIST")
    return any(int(row[0]) == thread and "UPDATE" in (row[7] or "") for row in rows)
