"""Two runs of one Ferry at once: the second is refused, unless it is told to take over.

Then the newer one wins, the older one reports that and ends, and no row of either is wrong.
"""

import contextlib
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.support.ferry_cli import FerryProcess
from tests.support.ferry_under_load import FerryUnderLoad
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ODD = 4
SLOW = {"maxRowsPerSecond": 1500}
STREAMING = ("Streaming", "ReadyForCutover")


def taking_over(live: FerryUnderLoad, **spec: Any) -> FerryProcess:
    """A second run with a state of its own, told to end the first and to copy its rows again."""
    newer = live.another("newer", **spec)
    newer.options = ["--take-over", "--restart"]
    return newer


def superseded(ferry: FerryProcess, seconds: float = 60) -> None:
    """How the older run ended."""
    code = ferry.wait_end(seconds)
    errors = re.findall(r"^ferry: ([A-Z]\w+): .*", ferry.tail(), re.MULTILINE)
    print(f"the older one ended with {code}: {ferry.tail(1)}")
    assert (code, errors) == (65, ["NewerRun"])
    assert "Traceback" not in ferry.tail()


@pytest.mark.parametrize("store", ["one state file", "two state files", "on the target"])
def test_the_newer_of_two_copying_runs_completes(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec: dict[str, Any] = {"throttle": SLOW}
    if store == "on the target":
        spec["checkpoint"] = {"store": "Target"}
    with FerryUnderLoad(pair, schema, tmp_path, rows=20_000, odd=ODD, **spec) as live, live.crew() as crew:
        older, newer = live.ferry, taking_over(live)
        if store == "one state file":
            newer.arguments = older.arguments
        with newer:
            older.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 3000)
            newer.start().wait_stage("Copying", *STREAMING)
            superseded(older)
            newer.post("throttle", {"maxRowsPerSecond": None})
            live.finish(newer, crew)


@pytest.mark.parametrize("store", ["one state file", "two state files", "on the target"])
def test_a_second_run_is_refused_and_the_first_goes_on(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec: dict[str, Any] = {"checkpoint": {"store": "Target"}} if store == "on the target" else {}
    with FerryUnderLoad(pair, schema, tmp_path, rows=5_000, odd=1, **spec) as live:
        first, second = live.ferry, live.another("second")
        if store == "one state file":
            second.arguments = first.arguments
        with second:
            first.start().wait_stage("ReadyForCutover")
            assert first.process is not None
            epoch = live.lease()[1]
            assert second.start().wait_end() == 75
            said = second.tail(1)
            print(said)
            assert said.startswith("ferry: AlreadyRunning: another run of ")
            assert f"process {first.process.pid} on " in said
            assert "--take-over" in said
            assert live.lease()[1] == epoch
            live.finish(first)
            assert not list(tmp_path.rglob("*.lock"))


def test_a_run_that_was_killed_is_followed_at_once(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Its connections are gone, whatever the target still does for them: no waiting, and no --take-over needed."""
    with FerryUnderLoad(pair, schema, tmp_path, rows=5_000, odd=1, throttle=SLOW) as live:
        for _ in range(3):
            live.ferry.start().wait_stage("Copying")
            live.ferry.kill()
        live.ferry.start().wait_stage("Copying")
        live.ferry.post("throttle", {"maxRowsPerSecond": None})
        live.finish()


@pytest.mark.parametrize("store", ["one state file", "two state files"])
def test_an_older_run_that_only_waits_notices_too(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        older, newer = live.ferry, taking_over(live)
        if store == "one state file":
            newer.arguments = older.arguments
        with newer:
            older.start().wait_stage("ReadyForCutover")
            newer.start().wait_stage(*STREAMING)
            superseded(older)
            live.finish(newer)


def test_a_run_that_was_suspended_cannot_write_after_its_successor(pair: Pair, schema: str, tmp_path: Path) -> None:
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=15_000, odd=ODD, throttle=SLOW) as live,
        live.crew() as crew,
    ):
        older, newer = live.ferry, taking_over(live, throttle={})
        with newer:
            older.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 2000)
            with older.frozen():
                newer.start().wait_stage("ReadyForCutover")
                newer.post("cutover")
                newer.succeed()
            superseded(older)
        crew.__exit__(None, None, None)
        live.equal()
        assert live.locked


def test_a_lock_that_reaches_the_source_late_does_not_outlive_its_run(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The older run is suspended with its lock statement under way, while the newer one takes over and unlocks."""
    with (
        FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live,
        Proxy(pair.source.host, pair.source.port) as proxy,
    ):
        older, newer = live.another("older", source_port=proxy.port), taking_over(live, cutover={})
        with older, newer:
            proxy.hold(b" */ GLOBAL ")
            older.start().wait_stage("ReadyForCutover")
            older.post("cutover")
            proxy.wait_held(120)
            with older.frozen():
                newer.start().wait_stage(*STREAMING)
                # the newer run has killed the connection on which it would have arrived
                with contextlib.suppress(OSError):
                    proxy.release()
                newer.wait_stage("ReadyForCutover")
                assert not any(live.read_only())
            superseded(older)
            assert not any(live.read_only())
            live.finish(newer)
        assert live.locked


def test_a_newer_run_takes_over_in_the_middle_of_a_cutover(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live, live.crew() as crew:
        older, newer = live.ferry, taking_over(live)
        newer.arguments = older.arguments
        with newer:
            older.start()
            with live.held_in_drain():
                newer.start()
                superseded(older)
                wait_until(lambda: not any(live.read_only()), "the newer run has unlocked")
            crew.plain.wait_for(20)
            live.finish(newer, crew)


@pytest.mark.parametrize("stopped", [False, True], ids=["at work", "suspended"])
def test_an_abort_beside_a_run_in_the_middle_of_a_cutover_ends_it_for_good(
    pair: Pair, schema: str, tmp_path: Path, stopped: bool
) -> None:
    """On an unreachable node its copier may continue, and be restarted there."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "60s"}) as live:
        live.ferry.start()
        with live.held_in_drain():
            assert any(live.read_only())
            with live.ferry.frozen() if stopped else contextlib.nullcontext():
                done = live.ferry.command("abort")
                assert (done.code, "allowed again" in done.stdout) == (0, True), done.stderr
                assert not any(live.read_only())
            superseded(live.ferry)
        assert (live.phase(), any(live.read_only())) == ("Aborted", False)
        assert live.ferry.start().wait_end() == 64
        assert "Aborted: target" in live.ferry.tail()
        assert (live.phase(), any(live.read_only())) == ("Aborted", False)


def test_a_forgotten_runs_rows_are_emptied_and_nobody_elses(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The state file is gone: a row that was deleted meanwhile must not come back; rows of others are kept."""
    with FerryUnderLoad(pair, schema, tmp_path, rows=15_000, odd=ODD, throttle=SLOW) as live:
        live.ferry.start().wait_status(lambda status: status["progress"]["rowsCopied"] > 3000)
        live.ferry.kill()
        before = live.target_rows()
        ghost = pair.target.value(f"SELECT MIN(id) FROM `{schema}`.bulk")
        pair.source.execute(f"DELETE FROM `{schema}`.bulk WHERE id = {ghost}")
        pair.target.execute(
            f"CREATE TABLE `{schema}`.theirs (id INT PRIMARY KEY)", f"INSERT INTO `{schema}`.theirs VALUES (1), (2)"
        )
        look = partial(live.ferry.command, "check", "--state", str(live.ferry.state), "--output", "json")
        assert "ForgottenRows" not in look().stdout
        live.ferry.state.unlink()
        checked = look()
        assert checked.code == 64
        assert "StateMissing" in checked.stdout
        assert f"{schema}.bulk" in checked.stdout
        assert live.ferry.start().wait_end() == 64
        said = live.ferry.tail(1)
        print(said)
        assert said.startswith("ferry: StateMissing: ")
        assert f"no state file {live.ferry.state}" in said
        assert re.search(r"It began at 20\d\d-.* UTC; its last run, process \d+ on .* since 20", said)
        assert f"kept state file {live.ferry.state}. " in said
        assert (live.target_rows(), live.ferry.state.exists()) == (before, False)
        live.ferry.options = ["--restart"]
        live.ferry.start().wait_stage("Copying")
        assert "ForgottenRows" in live.ferry.log.read_text()
        live.ferry.post("throttle", {"maxRowsPerSecond": None})
        live.ferry.wait_stage("ReadyForCutover")
        live.ferry.post("cutover")
        live.ferry.succeed()
        print(f"{before} rows were forgotten; row {ghost} was deleted meanwhile")
        assert "of an earlier, forgotten run" in live.ferry.log.read_text()
        assert live.target_rows("theirs") == 2
        pair.target.execute(f"DROP TABLE `{schema}`.theirs")
        live.equal()


def test_rows_that_are_not_a_ferrys_own_are_refused(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=1) as live:
        pair.target.execute(
            f"CREATE DATABASE `{schema}`",
            f"CREATE TABLE `{schema}`.aim (id INT PRIMARY KEY, v INT NOT NULL)",
            f"INSERT INTO `{schema}`.aim VALUES (1, 1234)",
        )
        assert live.ferry.start().wait_end() == 64
        assert "TargetNotEmpty" in live.ferry.tail()
        assert list(pair.target.query(f"SELECT id, v FROM `{schema}`.aim")) == [(1, 1234)]
