"""kill -9 at random moments of one migration, in every stage, under writes to the source; nothing is lost."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.ferry_under_load import RECORDS_COMPLETED, FerryUnderLoad, WriterGroups
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.always]

BULK_ROWS = 60_000
ROWS_PER_SECOND = 600
STREAMING = ("Streaming", "ReadyForCutover")


class Killer:
    """Kills one migration again and again. A kill counts only if the named stage was in progress."""

    def __init__(self, under_load: FerryUnderLoad, writers: WriterGroups) -> None:
        self.under_load = under_load
        self.ferry = under_load.ferry
        self.writers = writers
        self.rng = random.Random(under_load.seed)
        self.count = 0
        self.began = time.monotonic()

    def kill(self, moment: str, happened: Callable[[], object]) -> bool:
        """Kill now, and count it if ``happened`` confirms the stage afterwards."""
        self.ferry.kill()
        if not happened():
            print(f"  does not count: {moment} was not so")
            return False
        self.count += 1
        print(
            f"  kill {self.count:2} after {time.monotonic() - self.began:5.1f} s in {moment}: "
            f"{self.writers.total} writes acknowledged, {self.under_load.moved()} rows copied"
        )
        return True

    def in_copying(self) -> None:
        """Includes the time before the first chunk and between chunks: whenever the stage is Copying."""
        for _ in range(5):
            self.ferry.start().wait_stage("Copying")
            if self.rng.random() < 0.7:
                self._wait_moved()
            self._linger(1.5, lambda: self._stage() == "Copying")
            if self.kill("Copying", partial(self._was_copying, self._stage())):
                return
        raise AssertionError("no kill fell into Copying")

    def _was_copying(self, stage: str) -> bool:
        """Checks the checkpoint too, because the stage may end between the check and the kill. Alone it lags by up to a
        second.
        """
        return stage == "Copying" and not self._all_copied()

    def in_streaming(self) -> None:
        for _ in range(5):
            self._start_and_pass_copying()
            self._linger(4.0, lambda: self._stage() in STREAMING)
            stage = self._stage()
            if self.kill(stage, partial(self._was_streaming, stage)):
                return
        raise AssertionError("no kill fell into Streaming")

    def _was_streaming(self, stage: str) -> bool:
        return stage in STREAMING and self.under_load.phase() not in ("CuttingOver", "Completed")

    def in_cutting_over(self, moment: str) -> None:
        """``moment`` holds the attempt meanwhile. Each attempt starts only when the source is writable."""
        self._start_and_pass_copying()
        assert not any(self.under_load.read_only()), "the start has not unlocked the source"
        with HELD[moment](self.under_load):
            self._linger(0.5, lambda: self._stage() == "CuttingOver")
            wait_until(partial(self._killed_in_cutting_over, moment), f"a kill falls into CuttingOver ({moment})")

    def _killed_in_cutting_over(self, moment: str) -> bool:
        """An attempt may fail by a prepared transaction, and the next begin: the process is stopped for the look."""
        with self.ferry.frozen():
            held = self.under_load.phase() == "CuttingOver"
            return held and self.kill(f"CuttingOver ({moment})", lambda: True)

    def _wait_moved(self) -> None:
        before = self.ferry.status()["progress"]["rowsCopied"]
        self.ferry.wait_status(lambda status: status["progress"]["rowsCopied"] > before)

    def _start_and_pass_copying(self) -> None:
        self.ferry.start()
        self.ferry.wait_stage("Copying", *STREAMING)
        self.ferry.post("throttle", {"maxRowsPerSecond": None})
        self.ferry.wait_stage(*STREAMING)

    def _stage(self) -> str:
        return str(self.ferry.status().get("stage", ""))

    def _all_copied(self) -> bool:
        tables = self.under_load.state()["tables"].values()
        return bool(tables) and all(table["walked"] and not table["unfinished"] for table in tables)

    def _linger(self, longest: float, still: Callable[[], bool]) -> None:
        """A random time, ended early when the stage is over."""
        end = time.monotonic() + self.rng.uniform(0, longest)
        while time.monotonic() < end and still():
            time.sleep(0.005)


@contextlib.contextmanager
def _held_in_recording(under_load: FerryUnderLoad) -> Iterator[None]:
    """Everything is proven; the statement that records the cutover does not reach the target."""
    under_load.proxy.hold(RECORDS_COMPLETED)
    under_load.ferry.wait_stage("ReadyForCutover")
    under_load.ferry.post("cutover")
    under_load.proxy.wait_held()
    yield


@contextlib.contextmanager
def _not_held(under_load: FerryUnderLoad) -> Iterator[None]:
    """Anywhere in an attempt, once it is recorded. Its end is held, so that it cannot be over."""
    under_load.proxy.hold(RECORDS_COMPLETED)
    under_load.ferry.wait_stage("ReadyForCutover")
    under_load.ferry.post("cutover")
    wait_until(lambda: under_load.phase() == "CuttingOver", "an attempt has begun")
    yield


HELD: dict[str, Callable[[FerryUnderLoad], contextlib.AbstractContextManager[Any]]] = {
    "stopping writes": FerryUnderLoad.held_in_acquire,
    "draining": FerryUnderLoad.held_in_drain,
    "recording": _held_in_recording,
    "anywhere": _not_held,
}

IN_CUTTING_OVER = ("stopping writes", "draining", "recording", "anywhere", "anywhere", "draining")


def cross(
    under_load: FerryUnderLoad, writers: WriterGroups, copying: int, streaming: int, cutting_over: Sequence[str]
) -> None:
    """One migration with that many kills; both servers are equal at its end."""
    killer = Killer(under_load, writers)
    for _ in range(copying):
        killer.in_copying()
    for _ in range(streaming):
        killer.in_streaming()
    for moment in cutting_over:
        killer.in_cutting_over(moment)
    assert killer.count == copying + streaming + len(cutting_over)
    under_load.proxy.release()
    under_load.ferry.start().wait_stage("ReadyForCutover")
    writers.wait_for_every_kind()
    under_load.finish(writers=writers)
    assert under_load.locked


def test_twenty_kills_in_one_migration_lose_nothing(pair: Pair, schema: str, tmp_path: Path) -> None:
    throttle = {"maxRowsPerSecond": ROWS_PER_SECOND}
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=BULK_ROWS, odd=6, throttle=throttle) as under_load,
        under_load.writers() as writers,
    ):
        cross(under_load, writers, 8, 6, IN_CUTTING_OVER)


def test_kills_lose_nothing_with_the_checkpoint_on_the_target(pair: Pair, schema: str, tmp_path: Path) -> None:
    spec: dict[str, Any] = {"throttle": {"maxRowsPerSecond": ROWS_PER_SECOND}, "checkpoint": {"store": "Target"}}
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=BULK_ROWS // 2, odd=4, **spec) as under_load,
        under_load.writers() as writers,
    ):
        cross(under_load, writers, 3, 2, ("draining", "recording", "anywhere"))
        assert under_load.ferry.start().wait_end() == 0, "the tombstone and the state are both on the target"
        assert "cut over already" in under_load.ferry.tail()
