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

pytestmark = [pytest.mark.slow, pytest.mark.always]


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    fill(pair.source, schema, 3000)
    spec: dict[str, Any] = {"verify": {"mode": "None"}, "acknowledge": ["Unverified"]}
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "0s"}, **spec)


def count(cli: FerryCli) -> int:
    return int(cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t"))


def forget_rows(cli: FerryCli) -> None:
    """Leaves the state of a run that ended before its first row."""
    body = cli.stored() | {"tables": {}, "run": None, "number": 0, "position": None, "last_read": None}
    with contextlib.closing(sqlite3.connect(cli.state)) as database, database:
        database.execute("UPDATE ferry_state SET body = ?", [json.dumps(body)])
        database.execute("DELETE FROM ferry_earlier")


def test_a_state_from_before_the_copy_was_started_over(cli: FerryCli) -> None:
    """The state counts all rows as copied; the later run has deleted them and has copied only some so far."""
    old = cli.state
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    cli.state = old.with_name("new.ferry.db")
    cli.spec["throttle"] = SLOWLY
    with cli.process("--restart") as process:
        wait_copied(process.start(), 200)
        process.kill()
    new, cli.state = cli.state, old
    cli.run().refused(64, "StateOfOtherTarget", "started over")
    cli.state = new
    with cli.process() as process:
        process.start().wait_stage("Copying", *STREAMING)
        finish(cli, process)


@pytest.mark.parametrize("store", ["Local", "Target"])
def test_a_state_without_rows_where_a_later_run_has_copied(cli: FerryCli, store: str) -> None:
    """The target's own table may hold a checkpoint of the Ferry too."""
    early = cli.state.with_name("early.ferry.db")
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        process.kill()
    early.write_bytes(cli.state.read_bytes())
    new = cli.state
    if store == "Target":
        cli.spec["checkpoint"] = {"store": "Target"}
        with cli.process("--restart") as process:
            process.arguments = ["--restart"]
            process.start().wait_stage("ReadyForCutover")
            process.kill()
        del cli.spec["checkpoint"]
    cli.state = early
    forget_rows(cli)
    cli.run().refused(64, "StateMissing", "--restart")
    assert count(cli) == 3000
    if store == "Local":
        cli.state = new
        with cli.process() as process:
            process.start().wait_stage("Copying", *STREAMING)
            finish(cli, process)


@pytest.mark.parametrize("alive", [False, True], ids=["down", "alive"])
def test_a_target_restored_to_before_the_newest_runs(
    cli: FerryCli, make_server: ServerFactory, tmp_path: Path, alive: bool
) -> None:
    """Runs unknown to the target have saved states: its count of runs continues from an old value."""
    target = make_server(cli.pair.family.value)
    cli = FerryCli(tmp_path / "brought back", Pair(cli.pair.source, target), cli.schema, cutover={"watchFor": "0s"})
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        # The file keeps a state numbered 16 until 64 newer ones are saved, one a second, however long a run takes.
        wait_until(lambda: cli.stored()["number"] > 16, "states that are kept for long")
        process.terminate()
        disk = DurableDisk(target, tmp_path / "disk")
        for number in range(3):
            process.start().wait_stage("ReadyForCutover")
            write(cli, f"run {number}")
            arrived = f"SELECT COUNT(*) FROM `{cli.schema}`.t WHERE v = 'run {number}'"
            wait_until(partial(target.value, arrived), "the row")
            if number < 2 or not alive:
                process.terminate()
        disk.cut_power()
        if not alive:
            process.start()
        else:
            wait_until(lambda: "resuming from the checkpoint" in process.log.read_text(), "a second beginning")
        process.wait_stage(*STREAMING)
        finish(cli, process)
