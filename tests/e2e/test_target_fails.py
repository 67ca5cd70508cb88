"""The target fails while the source is locked: the source is writable again in time, whatever happens to the run."""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.ferry_under_load import FerryUnderLoad, failed_attempt
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ODD = 1
STOP_SECONDS = 5.0
BUSY_SECONDS = 20.0
DEADLINE_SECONDS = 15
"""Enough for an attempt on a busy machine to reach its drain."""


@contextlib.contextmanager
def suspended(server: Server) -> Iterator[None]:
    """While entered, the server is stopped (SIGSTOP): it answers nobody, and no connection breaks."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


@contextlib.contextmanager
def refusing(server: Server, uid: str) -> Iterator[None]:
    """While entered, the Ferry may read on the server, but not write its lease row."""
    if server.family is Family.MYSQL:
        server.execute("SET GLOBAL super_read_only = ON")
        try:
            yield
        finally:
            server.execute("SET GLOBAL read_only = OFF")
        return
    # An account with SUPER, such as the tests', can write to a read-only MariaDB.
    server.execute(
        "CREATE TRIGGER mysql_ferry.refusing BEFORE UPDATE ON mysql_ferry.lease FOR EACH ROW "
        f"IF NEW.ferry_uid = '{uid}' THEN SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'no'; END IF"
    )
    try:
        yield
    finally:
        server.execute("DROP TRIGGER mysql_ferry.refusing")


def killed_in_drain(live: FerryUnderLoad) -> None:
    live.ferry.start()
    with live.held_in_drain():
        live.ferry.kill()
    assert live.locked


def test_a_target_that_hangs_under_the_lock_holds_up_neither_the_deadline_nor_a_stop(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    once = {"deadline": f"{DEADLINE_SECONDS}s", "maxAttempts": 1}
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover=once) as live:
        live.ferry.start()
        with live.held_in_drain(), suspended(pair.target):
            failed_attempt(live.ferry, "DeadlineExceeded")
            assert not any(live.read_only())
            blocked = live.ferry.status()["cutover"]["writesBlockedMilliseconds"]
        print(f"{blocked} ms")
        assert blocked < (DEADLINE_SECONDS + 1 + BUSY_SECONDS) * 1000
        live.ferry.wait_stage("ReadyForCutover")
        live.ferry.terminate()
    assert not any(live.read_only())


def test_sigterm_unlocks_in_time_while_the_target_hangs(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "5m"}) as live:
        live.ferry.start()
        with live.held_in_drain():
            live.proxy.pause()
            took = live.ferry.terminate()
            assert not any(live.read_only())
            live.proxy.resume()
        print(f"{took:.1f} s")
        assert took < STOP_SECONDS + BUSY_SECONDS
        live.ferry.start()
        live.finish()


def test_a_target_that_is_killed_under_the_lock_leaves_the_source_writable(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": f"{DEADLINE_SECONDS}s"}) as live:
        live.ferry.start()
        with live.held_in_drain():
            pair.target.kill()
            killed = time.monotonic()
            wait_until(lambda: not any(live.read_only()), "writes are allowed again", 60)
            took = time.monotonic() - killed
        print(f"{took:.1f} s")
        assert took < DEADLINE_SECONDS + 1 + BUSY_SECONDS
        pair.target.start()
        live.finish(approve=False)


def test_a_start_unlocks_a_source_though_the_target_refuses_every_write(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        killed_in_drain(live)
        with refusing(pair.target, live.uid):
            assert live.ferry.start().wait_end() == 64
            assert not any(live.read_only())
            assert live.phase() == "CuttingOver"
        live.ferry.start()
        live.finish()


def test_an_abort_unlocks_a_source_though_the_target_refuses_every_write(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        killed_in_drain(live)
        with refusing(pair.target, live.uid):
            done = live.ferry.command("abort")
            assert done.code == 64
            assert "writes on the source are allowed again" in done.stderr
            assert not any(live.read_only())
        assert live.ferry.command("abort").code == 0


def test_a_read_only_that_is_perhaps_not_the_ferrys_is_left_and_said(pair: Pair, schema: str, tmp_path: Path) -> None:
    """An old attempt was unlocked, but the lease did not record that; days later a person made the source read-only."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        killed_in_drain(live)
        stored = live.lease()[2]
        days = 2 * 86400
        stored |= {"at": str(float(stored["at"]) - days), "uptime": str(float(stored["uptime"]) - days)}
        pair.target.query(
            "UPDATE mysql_ferry.lease SET cutover = %s WHERE ferry_uid = %s", (json.dumps(stored), live.uid)
        )
        assert live.ferry.start().wait_end() == 64
        assert "SourceLocked" in live.ferry.tail()
        assert "SET GLOBAL read_only = OFF" in live.ferry.tail()
        assert live.locked
        # A MariaDB whose host was renamed, or another server at the address.
        pair.target.query("UPDATE mysql_ferry.lease SET source_id = 'old-name' WHERE ferry_uid = %s", (live.uid,))
        assert live.ferry.start().wait_end() == 64
        assert "old-name" in live.ferry.tail()
        assert "SET GLOBAL read_only = OFF" in live.ferry.tail()
        assert live.locked
        for verb in ("abort", "cleanup"):
            done = live.ferry.command(verb)
            assert done.code == 64
            assert "SET GLOBAL read_only = OFF" in done.stderr
        assert (live.locked, live.phase()) == (True, "CuttingOver")
        (way_out,) = re.findall(r"first run on target [^ ]+: (UPDATE .* ferry_uid = .*)", done.stderr)
        pair.target.execute(way_out)
        done = live.ferry.command("abort")
        assert (done.code, live.locked) == (0, True)
        assert "SET GLOBAL read_only = OFF" in done.stdout


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_what_meets_another_source_first_leaves_the_unlock_to_the_next(
    pair: Pair, schema: str, tmp_path: Path, verb: str
) -> None:
    """A failover or a moved Service: once the lease is aborted or removed, nothing knows what to restore."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        killed_in_drain(live)
        right = live.ferry.manifest.read_text()
        live.ferry.manifest.write_text(right.replace(f"port: {pair.source.port}", f"port: {pair.target.port}"))
        assert live.ferry.manifest.read_text() != right
        done = live.ferry.command(verb)
        assert (done.code, live.locked) == (64, True)
        assert "SourceLocked" in done.stderr
        live.ferry.manifest.write_text(right)
        done = live.ferry.command(verb)
        assert (done.code, any(live.read_only())) == (0, False)
        assert "writes on the source are allowed again" in done.stdout


def test_an_account_that_may_not_see_the_lease_is_told_of_a_locked_source(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    """What information_schema does not show may still exist."""
    user = f"d{schema[-6:]}"
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        killed_in_drain(live)
        whole = live.ferry.manifest.read_text()
        pair.target.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'", f"GRANT ALL ON `{schema}`.* TO {user}@'%'")
        live.login("target", user, "pw")
        assert live.ferry.start().wait_end() == 64
        done = live.ferry.command("abort")
        pair.target.execute(f"DROP USER {user}@'%'")
        assert done.code == 64
        for said in (live.ferry.tail(), done.stderr):
            assert "MissingPrivilege" in said
            assert "SET GLOBAL read_only = OFF" in said
        assert live.locked
        live.ferry.manifest.write_text(whole)
        live.ferry.start()
        live.finish()
