"""Whole cutovers with ``sourceLock: LockTables``: writers wait, other tables are written on, and kills end the lock."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.conftest import ServerFactory
from tests.support.ferry_under_load import ASIDE, FerryUnderLoad, failed_attempt
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.waits import Background, meanwhile, wait_until
from tests.support.writers import USER, Writers

pytestmark = pytest.mark.always

LOCKS = b"LOCK TABLES /* mysql-ferry source lock"
WAITS = "Waiting for table metadata lock"


def loaded(pair: Pair, schema: str, folder: Path, **cutover: Any) -> FerryUnderLoad:
    return FerryUnderLoad(pair, schema, folder, odd=3, cutover={"sourceLock": "LockTables"} | cutover)


def waiting(server: Server, word: str) -> list[int]:
    """The connections whose statement waits for a locked table and contains ``word``."""
    rows = server.query("SHOW FULL PROCESSLIST")
    return [int(row[0]) for row in rows if row[6] == WAITS and word in str(row[7])]


def end_writers(server: Server, *groups: Writers) -> None:
    """What a person does after the cutover: the application is stopped, and what it still has waiting is ended."""
    for group in groups:
        group.stopping.set()

    def gone() -> bool:
        rows = server.query("SHOW PROCESSLIST")
        left = [int(row[0]) for row in rows if row[1] == USER]
        for ident in left:
            with contextlib.suppress(pymysql.MySQLError):  # it has ended by itself
                server.execute(f"KILL {ident}")
        return not left

    wait_until(gone, "no writer is connected")


@contextlib.contextmanager
def written(server: Server, table: str) -> Iterator[Callable[[], int]]:
    """A table that is not selected is written all the time; yields the number of acknowledged rows."""
    count = 0

    def write(over: threading.Event) -> None:
        nonlocal count
        link = server.connect()
        with contextlib.closing(link), link.cursor() as cursor:
            while not over.wait(0.01):
                cursor.execute(f"INSERT INTO {table} VALUES ({count})")
                count += 1

    with meanwhile(write):
        yield lambda: count


def cut_over_under_writers(pair: Pair, schema: str, folder: Path) -> None:
    """The writers are ended before the lock is."""
    with loaded(pair, schema, folder, watchFor="20s") as under_load, under_load.writers() as writers:
        ferry = under_load.approve()
        with written(pair.source, f"`{schema}`.`{ASIDE}`") as aside:
            wait_until(lambda: "watching the source for late writes" in ferry.tail(), "the watch")
            before, acknowledged = aside(), writers.total
            wait_until(lambda: len(waiting(pair.source, schema)) >= 3, "writers wait")
            wait_until(lambda: aside() > before + 10, "other tables are written on")
            assert writers.total == acknowledged
        end_writers(pair.source, writers.plain, writers.xa)
        ferry.succeed()
        assert "watched the source: 0 changes" in ferry.tail()
        writers.__exit__(None, None, None)
        assert under_load.phase() == "Completed"
        assert not any(under_load.read_only())
        under_load.equal()


def test_a_cutover_under_writers(pair: Pair, schema: str, tmp_path: Path) -> None:
    cut_over_under_writers(pair, schema, tmp_path)


@pytest.mark.slow
def test_a_source_without_gtids(mysql_pair: Pair, schema: str, tmp_path: Path, make_server: ServerFactory) -> None:
    """Its end is a place in the binlog, and other tables move it on."""
    source = make_server("mysql", gtid_mode=False, enforce_gtid_consistency=False)
    source.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
    cut_over_under_writers(Pair(source, mysql_pair.target), schema, tmp_path)


def test_who_waits_at_the_end_of_the_watch_is_named(pair: Pair, schema: str, tmp_path: Path) -> None:
    with loaded(pair, schema, tmp_path, watchFor="3s") as under_load:
        under_load.hold_record()
        link = under_load.connect(pair.source)
        late = Background(lambda: link.cursor().execute(f"UPDATE `{schema}`.aim SET v = 7 WHERE id = 1"))
        wait_until(lambda: waiting(pair.source, "SET v = 7"), "it waits")
        under_load.proxy.release()
        assert under_load.ferry.wait_end() == 65, under_load.ferry.tail()
        late.join()
        said = under_load.ferry.tail()
        assert "SourceWrittenAfterCutover" in said
        assert f"connection {under_load.id_of(link)} (" in said
        assert f"{schema}.aim: 1 row (id=1)" in said
        assert pair.target.value(f"SELECT v FROM `{schema}`.aim WHERE id = 1") == 0


def test_a_lock_whose_session_is_killed_fails_the_attempt(pair: Pair, schema: str, tmp_path: Path) -> None:
    with loaded(pair, schema, tmp_path, watchFor="0s") as under_load:
        under_load.hold_record()
        link = under_load.connect(pair.source)
        write = Background(lambda: link.cursor().execute(f"UPDATE `{schema}`.aim SET v = 5 WHERE id = 1"))
        wait_until(lambda: waiting(pair.source, "SET v = 5"), "it waits")
        holder = pair.source.value(f"SELECT IS_USED_LOCK('ferry-source-lock:{under_load.uid}')")
        pair.source.execute(f"KILL {holder}")
        write.join()
        under_load.proxy.release()
        failed_attempt(under_load.ferry, "SourceUnlocked")
        under_load.finish(approve=False)


# -- kills: the copier is killed at each step of an attempt ----------------------------------------------------------


@contextlib.contextmanager
def locking(under_load: FerryUnderLoad, source: Proxy) -> Iterator[None]:
    """LOCK TABLES has not reached the source."""
    source.hold(LOCKS)
    under_load.approve()
    source.wait_held()
    yield


@contextlib.contextmanager
def waiting_for_a_table(under_load: FerryUnderLoad, source: Proxy) -> Iterator[None]:
    """LOCK TABLES waits on the source for a transaction."""
    del source
    link = under_load.connect(under_load.pair.source, autocommit=False)
    under_load.ferry.start().wait_stage("ReadyForCutover")
    link.cursor().execute(f"UPDATE `{under_load.schema}`.aim SET v = v + 1 WHERE id = 2")
    under_load.ferry.post("cutover")
    wait_until(lambda: waiting(under_load.pair.source, "LOCK TABLES"), "it waits")
    yield
    link.commit()


@contextlib.contextmanager
def draining(under_load: FerryUnderLoad, source: Proxy) -> Iterator[None]:
    """The tables are locked; whether transactions are prepared is about to be asked."""
    source.hold(LOCKS)
    under_load.approve()
    source.wait_held()
    source.release()
    source.hold(b"XA RECOVER")
    source.wait_held()
    yield


@contextlib.contextmanager
def recording(under_load: FerryUnderLoad, source: Proxy) -> Iterator[None]:
    """The record of the cutover has not reached the target."""
    del source
    under_load.hold_record()
    yield


@contextlib.contextmanager
def committing(under_load: FerryUnderLoad, source: Proxy) -> Iterator[None]:
    """Its COMMIT has not reached the target, and never will."""
    del source
    under_load.hold_commit()
    yield


BEFORE = [locking, waiting_for_a_table, draining, recording, committing]


@pytest.mark.slow
@pytest.mark.parametrize("step", BEFORE, ids=lambda step: step.__name__)
def test_a_copier_killed_before_the_cutover_is_recorded_leaves_no_lock(
    pair: Pair, schema: str, tmp_path: Path, step: Any
) -> None:
    with (
        loaded(pair, schema, tmp_path, watchFor="20s") as under_load,
        Proxy(pair.source.host, pair.source.port) as source,
        under_load.another("proxied", source_port=source.port) as ferry,
        under_load.writers().plain as writers,
    ):
        under_load.ferry = ferry
        with step(under_load, source):
            phase, _, stored = under_load.lease()
            ferry.kill()
            assert (phase, stored["lock"]) == ("CuttingOver", "LockTables")
            under_load.proxy.cut()
            source.cut()
            if step is not waiting_for_a_table:  # what waits is ended by the next start
                writers.wait_for(20)
            ferry.start().wait_stage("Streaming", "ReadyForCutover")
        writers.wait_for(20)
        ferry.wait_stage("ReadyForCutover")
        ferry.post("cutover")
        wait_until(lambda: "watching the source for late writes" in ferry.tail(), "the watch")
        end_writers(pair.source, writers)
        ferry.succeed()
        under_load.equal()
        assert under_load.phase() == "Completed"


@pytest.mark.slow
@pytest.mark.parametrize("recorded", ["its answer is lost", "watching"])
def test_a_copier_killed_once_the_cutover_is_recorded(pair: Pair, schema: str, tmp_path: Path, recorded: str) -> None:
    """The lock ends with it, so the next start says that nobody has looked for writes on the source."""
    with loaded(pair, schema, tmp_path, watchFor="60s") as under_load:
        if recorded == "watching":
            ferry = under_load.approve()
            wait_until(lambda: "watching the source for late writes" in ferry.tail(), "the watch")
            under_load.ferry.kill()
        else:
            under_load.hold_commit()
            under_load.kill_before_answer()
            under_load.proxy.release()
        under_load.equal()
        wait_until(lambda: under_load.phase() == "Completed", "it is recorded")
        under_load.ferry.start().succeed()
        assert "nobody has looked for later writes" in under_load.ferry.tail()
        assert "its tables were unlocked" in under_load.ferry.tail()
        pair.source.execute(f"UPDATE `{schema}`.aim SET v = 5 WHERE id = 1")
