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

pytestmark = [pytest.mark.slow, pytest.mark.always]

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


def killed_in_drain(under_load: FerryUnderLoad) -> None:
    under_load.ferry.start()
    with under_load.held_in_drain():
        under_load.ferry.kill()
    assert under_load.locked


def test_a_target_that_hangs_under_the_lock_delays_neither_the_deadline_nor_a_stop(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    once = {"deadline": f"{DEADLINE_SECONDS}s", "maxAttempts": 1}
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover=once) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain(), suspended(pair.target):
            failed_attempt(under_load.ferry, "DeadlineExceeded")
            assert not any(under_load.read_only())
            blocked = under_load.ferry.status()["cutover"]["writesBlockedMilliseconds"]
        print(f"{blocked} ms")
        assert blocked < (DEADLINE_SECONDS + 1 + BUSY_SECONDS) * 1000
        under_load.ferry.wait_stage("ReadyForCutover")
        under_load.ferry.terminate()
    assert not any(under_load.read_only())


def test_sigterm_unlocks_in_time_while_the_target_hangs(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "5m"}) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.proxy.pause()
            took = under_load.ferry.terminate()
            assert not any(under_load.read_only())
            under_load.proxy.resume()
        print(f"{took:.1f} s")
        assert took < STOP_SECONDS + BUSY_SECONDS
        under_load.ferry.start()
        under_load.finish()


def test_a_target_that_is_killed_under_the_lock_leaves_the_source_writable(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": f"{DEADLINE_SECONDS}s"}) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            pair.target.kill()
            killed = time.monotonic()
            wait_until(lambda: not any(under_load.read_only()), "writes are allowed again")
            took = time.monotonic() - killed
        print(f"{took:.1f} s")
        assert took < DEADLINE_SECONDS + 1 + BUSY_SECONDS
        pair.target.start()
        under_load.finish(approve=False)


def test_a_start_unlocks_a_source_though_the_target_refuses_every_write(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        killed_in_drain(under_load)
        with refusing(pair.target, under_load.uid):
            assert under_load.ferry.start().wait_end() == 64
            assert not any(under_load.read_only())
            assert under_load.phase() == "CuttingOver"
        under_load.ferry.start()
        under_load.finish()


def test_an_abort_unlocks_a_source_though_the_target_refuses_every_write(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        killed_in_drain(under_load)
        with refusing(pair.target, under_load.uid):
            done = under_load.ferry.command("abort")
            assert done.code == 64
            assert "writes on the source are allowed again" in done.stderr
            assert not any(under_load.read_only())
        assert under_load.ferry.command("abort").code == 0


def test_a_read_only_that_may_be_somebody_elses_is_kept_and_reported(pair: Pair, schema: str, tmp_path: Path) -> None:
    """An old attempt was unlocked, but the lease did not record that; days later a person made the source read-only."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        killed_in_drain(under_load)
        stored = under_load.lease()[2]
        days = 2 * 86400
        stored |= {"at": str(float(stored["at"]) - days), "uptime": str(float(stored["uptime"]) - days)}
        pair.target.query(
            "UPDATE mysql_ferry.lease SET cutover = %s WHERE ferry_uid = %s", (json.dumps(stored), under_load.uid)
        )
        assert under_load.ferry.start().wait_end() == 64
        assert "SourceLocked" in under_load.ferry.tail()
        assert "SET GLOBAL read_only = OFF" in under_load.ferry.tail()
        assert under_load.locked
        # A MariaDB whose host was renamed, or another server at the address.
        pair.target.query("UPDATE mysql_ferry.lease SET source_id = 'old-name' WHERE ferry_uid = %s", (under_load.uid,))
        assert under_load.ferry.start().wait_end() == 64
        assert "old-name" in under_load.ferry.tail()
        assert "SET GLOBAL read_only = OFF" in under_load.ferry.tail()
        assert under_load.locked
        for verb in ("abort", "cleanup"):
            done = under_load.ferry.command(verb)
            assert done.code == 64
            assert "SET GLOBAL read_only = OFF" in done.stderr
        assert (under_load.locked, under_load.phase()) == (True, "CuttingOver")
        (way_out,) = re.findall(r"first run on target [^ ]+: (UPDATE .* ferry_uid = .*)", done.stderr)
        pair.target.execute(way_out)
        done = under_load.ferry.command("abort")
        assert (done.code, under_load.locked) == (0, True)
        assert "SET GLOBAL read_only = OFF" in done.stdout


@pytest.mark.parametrize("verb", ["abort", "cleanup"])
def test_a_command_that_reaches_another_source_leaves_the_unlock_to_the_next(
    pair: Pair, schema: str, tmp_path: Path, verb: str
) -> None:
    """A failover or a moved Service: once the lease is aborted or removed, nothing knows what to restore."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        killed_in_drain(under_load)
        right = under_load.ferry.manifest.read_text()
        under_load.ferry.manifest.write_text(right.replace(f"port: {pair.source.port}", f"port: {pair.target.port}"))
        assert under_load.ferry.manifest.read_text() != right
        done = under_load.ferry.command(verb)
        assert (done.code, under_load.locked) == (64, True)
        assert "SourceLocked" in done.stderr
        under_load.ferry.manifest.write_text(right)
        done = under_load.ferry.command(verb)
        assert (done.code, any(under_load.read_only())) == (0, False)
        assert "writes on the source are allowed again" in done.stdout


def test_a_locked_source_is_reported_to_an_account_that_cannot_see_the_lease(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    """What information_schema does not show may still exist."""
    user = f"d{schema[-6:]}"
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        killed_in_drain(under_load)
        whole = under_load.ferry.manifest.read_text()
        pair.target.execute(f"CREATE USER {user}@'%' IDENTIFIED BY 'pw'", f"GRANT ALL ON `{schema}`.* TO {user}@'%'")
        under_load.login("target", user, "pw")
        assert under_load.ferry.start().wait_end() == 64
        done = under_load.ferry.command("abort")
        pair.target.execute(f"DROP USER {user}@'%'")
        assert done.code == 64
        for said in (under_load.ferry.tail(), done.stderr):
            assert "MissingPrivilege" in said
            assert "SET GLOBAL read_only = OFF" in said
        assert under_load.locked
        under_load.ferry.manifest.write_text(whole)
        under_load.ferry.start()
        under_load.finish()
