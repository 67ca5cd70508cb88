"""Two runs of one Ferry at once: the second is refused, unless it is told to take over.

Then the newer one wins, the older one reports that and ends, and no row of either is wrong.
"""

import contextlib
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from ferry_core.mysql.literals import string
from tests.support.ferry_cli import FerryProcess
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.always]

ODD = 4
SLOW = {"maxRowsPerSecond": 400}
STREAMING = ("Streaming", "ReadyForCutover")


def taking_over(under_load: FerryUnderLoad, **spec: Any) -> FerryProcess:
    """A second run with a state of its own, told to end the first and to copy its rows again."""
    newer = under_load.another("newer", **spec)
    newer.options = ["--take-over", "--restart"]
    return newer


def superseded(ferry: FerryProcess) -> None:
    """How the older run ended."""
    code = ferry.wait_end()
    errors = re.findall(r"^ferry: ([A-Z]\w+): .*", ferry.tail(), re.MULTILINE)
    print(f"the older one ended with {code}: {ferry.tail(1)}")
    assert (code, errors) == (65, ["NewerRun"])
    assert "Traceback" not in ferry.tail()


@pytest.mark.parametrize("store", ["one state file", "two state files", "on the target"])
def test_the_newer_of_two_copying_runs_completes(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec: dict[str, Any] = {"throttle": SLOW}
    if store == "on the target":
        spec["checkpoint"] = {"store": "Target"}
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=20_000, odd=ODD, **spec) as under_load,
        under_load.writers() as writers,
    ):
        older, newer = under_load.ferry, taking_over(under_load)
        if store == "one state file":
            newer.arguments = older.arguments
        with newer:
            older.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 1000)
            newer.start().wait_stage("Copying", *STREAMING)
            superseded(older)
            newer.post("throttle", {"maxRowsPerSecond": None})
            under_load.finish(newer, writers)


@pytest.mark.parametrize("store", ["one state file", "two state files", "on the target"])
def test_a_second_run_is_refused_and_the_first_continues(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec: dict[str, Any] = {"checkpoint": {"store": "Target"}} if store == "on the target" else {}
    with FerryUnderLoad(pair, schema, tmp_path, rows=5_000, odd=1, **spec) as under_load:
        first, second = under_load.ferry, under_load.another("second")
        if store == "one state file":
            second.arguments = first.arguments
        with second:
            first.start().wait_stage("ReadyForCutover")
            assert first.process is not None
            epoch = under_load.lease()[1]
            assert second.start().wait_end() == 75
            said = second.tail(1)
            print(said)
            assert said.startswith("ferry: AlreadyRunning: another run of ")
            assert f"process {first.process.pid} on " in said
            assert "--take-over" in said
            assert under_load.lease()[1] == epoch
            under_load.finish(first)
            assert not list(tmp_path.rglob("*.lock"))


def test_a_new_run_starts_at_once_after_a_killed_one(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Its connections are gone, whatever the target still does for them: no waiting, and no --take-over needed."""
    with FerryUnderLoad(pair, schema, tmp_path, rows=5_000, odd=1, throttle=SLOW) as under_load:
        for _ in range(3):
            under_load.ferry.start().wait_stage("Copying")
            under_load.ferry.kill()
        under_load.ferry.start().wait_stage("Copying")
        under_load.ferry.post("throttle", {"maxRowsPerSecond": None})
        under_load.finish()


def test_a_start_that_fails_after_it_took_its_epoch_is_no_newer_run(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The run starts again in the same process, and must not give way to itself."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=1) as under_load:
        under_load.ferry.start_streaming()
        epoch = under_load.lease()[1]
        under_load.proxy.hold(f"GET_LOCK({string('ferry-claim')}".encode())
        pair.target.restart()
        under_load.proxy.wait_held()
        assert under_load.lease()[1] == epoch + 1
        under_load.proxy.cut()
        under_load.proxy.release()
        under_load.finish()
        assert under_load.lease()[1] == epoch + 2


@pytest.mark.parametrize("store", ["one state file", "two state files"])
def test_an_idle_older_run_notices_its_successor(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        older, newer = under_load.ferry, taking_over(under_load)
        if store == "one state file":
            newer.arguments = older.arguments
        with newer:
            older.start().wait_stage("ReadyForCutover")
            newer.start().wait_stage(*STREAMING)
            superseded(older)
            under_load.finish(newer)


def test_a_run_that_was_suspended_cannot_write_after_its_successor(pair: Pair, schema: str, tmp_path: Path) -> None:
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=15_000, odd=ODD, throttle=SLOW) as under_load,
        under_load.writers() as writers,
    ):
        older, newer = under_load.ferry, taking_over(under_load, throttle={})
        with newer:
            older.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 1000)
            with older.frozen():
                newer.start().wait_stage("ReadyForCutover")
                newer.post("cutover")
                newer.succeed()
            superseded(older)
        writers.__exit__(None, None, None)
        under_load.equal()
        assert under_load.locked


def test_a_lock_statement_that_arrives_late_does_not_outlive_its_run(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The older run is suspended with its lock statement under way, while the newer one takes over and unlocks."""
    with (
        FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load,
        Proxy(pair.source.host, pair.source.port) as proxy,
    ):
        older, newer = under_load.another("older", source_port=proxy.port), taking_over(under_load, cutover={})
        with older, newer:
            proxy.hold(b" */ GLOBAL ")
            older.start().wait_stage("ReadyForCutover")
            older.post("cutover")
            proxy.wait_held()
            with older.frozen():
                newer.start().wait_stage(*STREAMING)
                # the newer run has killed the connection on which it would have arrived
                with contextlib.suppress(OSError):
                    proxy.release()
                newer.wait_stage("ReadyForCutover")
                assert not any(under_load.read_only())
            superseded(older)
            assert not any(under_load.read_only())
            under_load.finish(newer)
        assert under_load.locked


def test_a_newer_run_takes_over_in_the_middle_of_a_cutover(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load, under_load.writers() as writers:
        older, newer = under_load.ferry, taking_over(under_load)
        newer.arguments = older.arguments
        with newer:
            older.start()
            with under_load.held_in_drain():
                newer.start()
                superseded(older)
                wait_until(lambda: not any(under_load.read_only()), "the newer run has unlocked")
            writers.plain.wait_for(20)
            under_load.finish(newer, writers)


@pytest.mark.parametrize("stopped", [False, True], ids=["at work", "suspended"])
def test_an_abort_beside_a_run_in_the_middle_of_a_cutover_ends_it_for_good(
    pair: Pair, schema: str, tmp_path: Path, stopped: bool
) -> None:
    """On an unreachable node its copier may continue, and be restarted there."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "60s"}) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            assert any(under_load.read_only())
            with under_load.ferry.frozen() if stopped else contextlib.nullcontext():
                done = under_load.ferry.command("abort")
                assert (done.code, "allowed again" in done.stdout) == (0, True), done.stderr
                assert not any(under_load.read_only())
            superseded(under_load.ferry)
        assert (under_load.phase(), any(under_load.read_only())) == ("Aborted", False)
        assert under_load.ferry.start().wait_end() == 64
        assert "Aborted: target" in under_load.ferry.tail()
        assert (under_load.phase(), any(under_load.read_only())) == ("Aborted", False)


def test_only_the_rows_of_a_run_whose_state_is_lost_are_emptied(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The state file is gone: a row that was deleted meanwhile must not come back; rows of others are kept."""
    with FerryUnderLoad(pair, schema, tmp_path, rows=15_000, odd=ODD, throttle=SLOW) as under_load:
        under_load.ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 1000)
        under_load.ferry.kill()
        before = under_load.target_rows()
        ghost = pair.target.value(f"SELECT MIN(id) FROM `{schema}`.bulk")
        pair.source.execute(f"DELETE FROM `{schema}`.bulk WHERE id = {ghost}")
        pair.target.execute(
            f"CREATE TABLE `{schema}`.theirs (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.theirs VALUES (1), (2)"
        )
        look = partial(under_load.ferry.command, "check", "--state", str(under_load.ferry.state), "--output", "json")
        assert "ForgottenRows" not in look().stdout
        under_load.ferry.state.unlink()
        checked = look()
        assert checked.code == 64
        assert "StateMissing" in checked.stdout
        assert f"{schema}.bulk" in checked.stdout
        assert under_load.ferry.start().wait_end() == 64
        said = under_load.ferry.tail(1)
        print(said)
        assert said.startswith("ferry: StateMissing: ")
        assert f"no state file {under_load.ferry.state}" in said
        assert re.search(r"It began at 20\d\d-.* UTC; its last run, process \d+ on .* since 20", said)
        assert f"kept state file {under_load.ferry.state}. " in said
        assert (under_load.target_rows(), under_load.ferry.state.exists()) == (before, False)
        under_load.ferry.options = ["--restart"]
        under_load.ferry.start().wait_stage("Copying")
        assert "ForgottenRows" in under_load.ferry.log.read_text()
        under_load.ferry.post("throttle", {"maxRowsPerSecond": None})
        under_load.ferry.wait_stage("ReadyForCutover")
        under_load.ferry.post("cutover")
        under_load.ferry.succeed()
        print(f"{before} rows were forgotten; row {ghost} was deleted meanwhile")
        assert "of an earlier, forgotten run" in under_load.ferry.log.read_text()
        assert under_load.target_rows("theirs") == 2
        pair.target.execute(f"DROP TABLE `{schema}`.theirs")
        under_load.equal()


def test_rows_of_others_are_refused(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=1) as under_load:
        pair.target.execute(
            f"CREATE DATABASE `{schema}`",
            f"CREATE TABLE `{schema}`.aim (id INT PRIMARY KEY, v INT NOT NULL)",
            f"INSERT INTO `{schema}`.aim VALUES (1, 1234)",
        )
        assert under_load.ferry.start().wait_end() == 64
        assert "TargetNotEmpty" in under_load.ferry.tail()
        assert list(pair.target.query(f"SELECT id, v FROM `{schema}`.aim")) == [(1, 1234)]
