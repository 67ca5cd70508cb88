"""States that are not the newest of their Ferry: from an earlier copy, without any row, or besides one on the target.

They contain rows that a later run has deleted, or none although a later run has copied all. A run must not resume from
them.
"""

import contextlib
import json
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.e2e.test_faults import SLOWLY, STREAMING, fill, finish, wait_copied, write
from tests.support.ferry_cli import FerryCli
from tests.support.server_faults import DurableDisk
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    fill(pair.source, schema, 3000)
    spec: dict[str, Any] = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"}, **spec)


def count(bench: FerryCli) -> int:
    return int(bench.pair.target.value(f"SELECT COUNT(*) FROM `{bench.schema}`.t"))


def forget_rows(bench: FerryCli) -> None:
    """Leaves the state of a run that ended before its first row."""
    body = bench.stored() | {"tables": {}, "run": None, "number": 0, "position": None, "last_read": None}
    with contextlib.closing(sqlite3.connect(bench.state)) as database, database:
        database.execute("UPDATE ferry_state SET body = ?", [json.dumps(body)])
        database.execute("DELETE FROM ferry_earlier")


def test_a_state_of_a_copy_that_was_started_over(bench: FerryCli) -> None:
    """The state counts all rows as copied; the later run has deleted them and has copied only some so far."""
    old = bench.state
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    bench.state = old.with_name("new.ferry.db")
    bench.spec["throttle"] = SLOWLY
    with bench.process("--restart") as process:
        wait_copied(process.start(), 200)
        process.kill()
    new, bench.state = bench.state, old
    bench.run().refused(64, "StateOfOtherTarget", "started over")
    bench.state = new
    with bench.process() as process:
        process.start().wait_stage("Copying", *STREAMING)
        finish(bench, process)


@pytest.mark.parametrize("store", ["Local", "Target"])
def test_a_state_without_rows_where_a_later_run_has_copied(bench: FerryCli, store: str) -> None:
    """The target's own table may hold a checkpoint of the Ferry too."""
    early = bench.state.with_name("early.ferry.db")
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    early.write_bytes(bench.state.read_bytes())
    new = bench.state
    if store == "Target":
        bench.spec["checkpoint"] = {"store": "Target"}
        with bench.process("--restart") as process:
            process.arguments = ["--restart"]
            process.start().wait_stage("ReadyForCutover")
            process.kill()
        del bench.spec["checkpoint"]
    bench.state = early
    forget_rows(bench)
    bench.run().refused(64, "StateMissing", "--restart")
    assert count(bench) == 3000
    if store == "Local":
        bench.state = new
        with bench.process() as process:
            process.start().wait_stage("Copying", *STREAMING)
            finish(bench, process)


@pytest.mark.parametrize("alive", [False, True], ids=["down", "alive"])
def test_a_target_brought_back_to_before_the_newest_runs(
    bench: FerryCli, make_server: ServerFactory, tmp_path: Path, alive: bool
) -> None:
    """Runs unknown to the target have saved states: its count of runs continues from an old value."""
    target = make_server(bench.pair.family.value)
    bench = FerryCli(
        tmp_path / "brought back", Pair(bench.pair.source, target), bench.schema, cutover={"watchFor": "0s"}
    )
    with bench.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.terminate()
        disk = DurableDisk(target, tmp_path / "disk")
        for number in range(3):
            process.start().wait_stage("ReadyForCutover")
            write(bench, f"run {number}")
            arrived = f"SELECT COUNT(*) FROM `{bench.schema}`.t WHERE v = 'run {number}'"
            wait_until(partial(target.value, arrived), "the row")
            if number < 2 or not alive:
                process.terminate()
        disk.cut_power()
        if not alive:
            process.start()
        else:
            wait_until(lambda: "going on from the checkpoint" in process.log.read_text(), "a second beginning")
        process.wait_stage(*STREAMING)
        finish(bench, process)
