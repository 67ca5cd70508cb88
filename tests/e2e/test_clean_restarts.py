"""A server is shut down and started again, or stops answering, at each moment of a run: the run continues without loss.

FERRY_TEST_EVERY_MOMENT=1 tries every moment on both servers of both families; otherwise one of each kind.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pymysql
import pytest
from pymysql.constants import ER

from hack.servers import Family
from tests.support.ferry_under_load import RECORDS_COMPLETED, FerryUnderLoad
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server, ServerPool
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.always]

AGAIN = "resuming from the checkpoint"
BULK_ROWS = 6_000
SILENT_SECONDS = 15.0
"""Longer than the stream's timeout."""


class FaultedRun:
    """A run with writes on the source, a proxy before each server, and the server on which the fault happens."""

    def __init__(self, pair: Pair, schema: str, folder: Path, end: str) -> None:
        self.end = end
        self.under_load = FerryUnderLoad(
            pair, schema, folder, rows=BULK_ROWS, odd=2, cutover={"deadline": "10s", "watchFor": "1s"}
        )
        self.source_proxy = Proxy(pair.source.host, pair.source.port)
        self.ferry = self.under_load.ferry = self.under_load.another("run", source_port=self.source_proxy.port)
        self.pair = pair
        self.server: Server = pair.source if end == "source" else pair.target
        self.proxy = self.source_proxy if end == "source" else self.under_load.proxy
        self._over = 0.0

    def befalls(self, fault: str) -> None:
        if fault == "restart":
            self.server.stop()
            self._release()
            self.server.start()
        else:
            self.proxy.pause()
            time.sleep(SILENT_SECONDS)  # duration of the fault
            self.proxy.resume()
            self._release()
        self._over = time.monotonic()

    def _release(self) -> None:
        for proxy in (self.source_proxy, self.under_load.proxy):
            with contextlib.suppress(OSError):
                proxy.release()

    def wait_moved(self) -> None:
        """Wait until a row written now is on the target, or the run has ended successfully."""
        aim = f"`{self.under_load.schema}`.aim"
        with contextlib.suppress(pymysql.OperationalError):  # already locked
            self.pair.source.execute(f"UPDATE {aim} SET v = 77 WHERE id = 2")
        assert self.ferry.process is not None
        ended = self.ferry.process.poll

        def moved() -> bool:
            try:
                return self.pair.target.query(f"SELECT v FROM {aim} WHERE id = 2") == [(77,)]
            except pymysql.MySQLError as error:
                if error.args[0] not in (ER.BAD_DB_ERROR, ER.NO_SUCH_TABLE):
                    raise
                return False

        wait_until(
            lambda: ended() is not None or moved(),
            "a row that was written afterwards is on the target",
        )
        what = "the run has ended" if ended() is not None else "a new row is on the target"
        print(f"{time.monotonic() - self._over:.1f} s afterwards {what}")


def held(run: FaultedRun, proxy: Proxy, pattern: bytes) -> None:
    proxy.hold(pattern)
    run.ferry.start()
    proxy.wait_held()


@contextlib.contextmanager
def validating(run: FaultedRun) -> Iterator[None]:
    held(run, run.proxy, b"SHOW GRANTS")
    yield


@contextlib.contextmanager
def first_chunk(run: FaultedRun) -> Iterator[None]:
    held(run, run.proxy, b"LOAD DATA LOCAL" if run.end == "target" else b"GROUP_CONCAT(")
    yield


@contextlib.contextmanager
def copying(run: FaultedRun) -> Iterator[None]:
    run.ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 1000)
    yield


@contextlib.contextmanager
def verifying(run: FaultedRun) -> Iterator[None]:
    held(run, run.proxy, b"BIT_XOR(")
    yield


@contextlib.contextmanager
def ready(run: FaultedRun) -> Iterator[None]:
    run.ferry.start().wait_stage("ReadyForCutover")
    yield


@contextlib.contextmanager
def locking(run: FaultedRun) -> Iterator[None]:
    run.ferry.start()
    with run.under_load.held_in_acquire(run.ferry):
        yield


@contextlib.contextmanager
def draining(run: FaultedRun) -> Iterator[None]:
    run.ferry.start()
    with run.under_load.held_in_drain(run.ferry):
        yield


@contextlib.contextmanager
def recording(run: FaultedRun) -> Iterator[None]:
    run.ferry.start().wait_stage("ReadyForCutover")
    run.under_load.proxy.hold(RECORDS_COMPLETED)
    run.ferry.post("cutover")
    run.under_load.proxy.wait_held()
    yield


Moment = Callable[[FaultedRun], contextlib.AbstractContextManager[None]]
MOMENTS: dict[str, Moment] = {
    "validating": validating,
    "first chunk": first_chunk,
    "copying": copying,
    "verifying": verifying,
    "ready": ready,
    "locking": locking,
    "draining": draining,
    "recording": recording,
}
ONE_OF_EACH = [
    ("restart", "validating", "source", "mariadb"),
    ("restart", "first chunk", "target", "mysql"),
    ("restart", "verifying", "source", "mysql"),
    ("restart", "locking", "source", "mysql"),
    ("restart", "draining", "target", "mariadb"),
    ("restart", "recording", "target", "mysql"),
    ("restart", "recording", "source", "mariadb"),
    ("silence", "first chunk", "source", "mysql"),
    ("silence", "draining", "source", "mariadb"),
]
EVERY = [
    (fault, moment, end, family.value)
    for fault in ("restart", "silence")
    for moment in MOMENTS
    for end in ("source", "target")
    for family in Family
]


@pytest.fixture
def pair(server_pool: ServerPool, family: str) -> Pair:
    return server_pool.pair(Family(family))


@pytest.mark.parametrize(
    ("fault", "moment", "end", "family"), EVERY if os.environ.get("FERRY_TEST_EVERY_MOMENT") else ONE_OF_EACH
)
def test_the_run_continues_after_the_restart(
    pair: Pair, schema: str, tmp_path: Path, fault: str, moment: str, end: str
) -> None:
    run = FaultedRun(pair, schema, tmp_path, end)
    under_load, ferry = run.under_load, run.ferry
    if moment == "copying":
        under_load.spec["throttle"] = {"maxRowsPerSecond": 1500}
    with run.source_proxy, under_load, under_load.writers(threads=2) as writers:
        with MOMENTS[moment](run):
            run.befalls(fault)
        run.wait_moved()
        asked = moment in ("locking", "draining", "recording")
        under_load.finish(writers=writers, approve=not asked)
    assert ferry.starts == 1
    if fault == "restart" and moment != "validating":
        assert AGAIN in ferry.log.read_text()


@pytest.mark.parametrize(("end", "family"), [("source", "mysql"), ("source", "mariadb"), ("target", "mysql")])
def test_a_restart_after_the_cutover_is_harmless(pair: Pair, schema: str, tmp_path: Path, end: str) -> None:
    """A restarted source accepts writes again, and the watch sees them. The target is not used any more."""
    with FerryUnderLoad(
        pair, schema, tmp_path, odd=1, cutover={"watchFor": "3m" if end == "source" else "20s"}
    ) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        under_load.ferry.post("cutover")
        under_load.ferry.wait_stage("Completed")
        (pair.source if end == "source" else pair.target).restart()
        if end == "source":
            began = time.monotonic()
            assert not any(under_load.read_only())
            pair.source.execute(f"UPDATE `{schema}`.aim SET v = 5 WHERE id = 2")
            under_load.ferry.wait_status(lambda status: "after the cutover" in str(status["conditions"]))
            print(f"seen after {time.monotonic() - began:.1f} s")
            assert under_load.ferry.process is not None
            under_load.ferry.process.terminate()
            assert under_load.ferry.wait_end() == 65
        else:
            under_load.ferry.succeed()
            under_load.equal()
        assert under_load.phase() == "Completed"
