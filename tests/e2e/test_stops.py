"""Stops, pauses and the other verbs on a running migration: in time, without losing progress, the source left
writable.
"""

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ferry_core.throttle.rate import BURST_SECONDS, STEP_SECONDS
from tests.support.ferry_cli import FerryProcess
from tests.support.ferry_under_load import FerryUnderLoad, condition
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = pytest.mark.slow

ODD = 4
BULK = 12_000
CHILD = "id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `{}`.aim (id)"
SLOW = {"maxRowsPerSecond": 300}
STREAMING = ("Streaming", "ReadyForCutover")
LATE_SECONDS = 4.0
"""The report of a busy machine may lag so far behind what was done; without the cap 2,000 rows take 2 s."""
STOP_SECONDS = 25.0
"""A kubelet kills after 30 s. An idle machine takes 1 to 3 s."""


def copied(ferry: FerryProcess) -> int:
    return int(ferry.wait_status(bool)["progress"]["rowsCopied"])


def wait_copied(ferry: FerryProcess, rows: int) -> None:
    ferry.wait_status(lambda status: status["progress"]["rowsCopied"] > rows)


def at_full_speed(ferry: FerryProcess) -> None:
    ferry.post("throttle", {"maxRowsPerSecond": None})


def checksums(under_load: FerryUnderLoad) -> dict[str, int]:
    """Any row written to the target changes these."""
    names = [row[0] for row in under_load.pair.target.query(f"SHOW TABLES FROM `{under_load.schema}`")]
    listed = ", ".join(f"`{under_load.schema}`.`{name}`" for name in names)
    return dict(under_load.pair.target.query(f"CHECKSUM TABLE {listed}"))


# -- SIGTERM -----------------------------------------------------------------------------------------------------------


def test_sigterm_ends_every_stage_in_time_and_no_table_starts_over(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as under_load:
        bulk = under_load.tables.pop()  # nothing writes to it: each of its rows is to be copied once
        ferry = under_load.ferry
        took: dict[str, float] = {}
        with under_load.writers() as writers:
            wait_copied(ferry.start(), 1000)
            took["Copying"] = ferry.terminate()
            kept = under_load.moved()
            wait_copied(ferry.start(), kept)
            took["Copying again"] = ferry.terminate()
            ferry.start().wait_stage("Copying")
            assert copied(ferry) >= kept
            at_full_speed(ferry)
            ferry.wait_stage(*STREAMING)
            took["Streaming"] = ferry.terminate()
            ferry.start()
            with under_load.held_in_acquire():
                took["CuttingOver, stopping writes"] = ferry.terminate()
            assert not any(under_load.read_only())
            ferry.start()
            with under_load.held_in_drain():
                took["CuttingOver, draining"] = ferry.terminate()
            assert not any(under_load.read_only())
            writers.plain.wait_for(20)
            print(took)
            ferry.start()
            under_load.finish(writers=writers)
        once = under_load.state()["tables"][f"{schema}.{bulk.name}"]["rows_copied"]
        print(f"{BULK} rows of {bulk.name}, copied {once}")
        assert once == BULK
        assert max(took.values()) < STOP_SECONDS, took


@pytest.mark.parametrize("store", ["Volume", "Target"])
def test_sigterm_ends_in_time_while_the_target_hangs(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec = {} if store == "Volume" else {"checkpoint": {"store": "Target"}}
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW, **spec) as under_load:
        wait_copied(under_load.ferry.start(), 1000)
        under_load.proxy.pause()
        under_load.proxy.wait_stuck()
        took = under_load.ferry.terminate()
        print(f"{took:.1f} s")
        under_load.proxy.resume()
        under_load.ferry.start().wait_stage("Copying")
        at_full_speed(under_load.ferry)
        under_load.finish()
        assert took < STOP_SECONDS


def test_sigterm_ends_in_time_while_the_source_hangs(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=500, odd=1) as under_load:
        under_load.ferry.start().wait_stage("ReadyForCutover")
        os.kill(pair.source.pid, signal.SIGSTOP)
        try:
            under_load.ferry.wait_stage("Streaming")  # the run has met it: the lag is unknown
            took = under_load.ferry.terminate()
        finally:
            os.kill(pair.source.pid, signal.SIGCONT)
        print(f"{took:.1f} s")
        under_load.ferry.start()
        under_load.finish()
        assert took < STOP_SECONDS


def make_child_by_hand(pair: Pair, schema: str) -> None:
    """On the target without its foreign key, which the run adds by ALTER when all rows are in."""
    pair.source.execute(f"CREATE TABLE `{schema}`.child ({CHILD.format(schema)})")
    pair.target.execute(
        f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4", f"CREATE TABLE `{schema}`.child (id INT PRIMARY KEY)"
    )


def test_sigterm_ends_in_time_while_foreign_keys_wait_for_a_table(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Somebody reads the target in a long transaction, so the ALTER is retried; a stop ends the retries at once."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        make_child_by_hand(pair, schema)
        under_load.proxy.hold(f"ALTER TABLE `{schema}`.`child` ADD".encode())
        under_load.ferry.start()
        under_load.proxy.wait_held()
        reader = under_load.connect(pair.target, autocommit=False)
        reader.cursor().execute(f"SELECT * FROM `{schema}`.child")
        under_load.proxy.release()
        under_load.ferry.wait_status(lambda status: "a table is in use" in (status["message"] or ""))
        took = under_load.ferry.terminate()
        print(f"{took:.1f} s")
        assert not statements(pair.target, "ALTER TABLE"), "it goes on without its client"
        reader.close()
        under_load.ferry.start()
        under_load.finish()
        assert took < STOP_SECONDS


def test_sigterm_ends_in_time_while_an_alter_takes_long(pair: Pair, schema: str, tmp_path: Path) -> None:
    """And it must not take effect after the end, during the next run."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        make_child_by_hand(pair, schema)
        under_load.proxy.hold(f"ALTER TABLE `{schema}`.`child` ADD".encode())
        under_load.ferry.start()
        under_load.proxy.wait_held()
        took = under_load.ferry.terminate()
        under_load.proxy.release()
        assert not pair.target.query(
            "SELECT 1 FROM information_schema.referential_constraints WHERE constraint_schema = %s", (schema,)
        )
        under_load.ferry.start()
        under_load.finish()
        assert took < STOP_SECONDS


def statements(server: Server, words: str) -> list[tuple[Any, ...]]:
    return server.query(
        "SELECT info FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE %s", [f"{words}%"]
    )


def test_the_stop_verb_ends_the_run_and_keeps_its_progress(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as under_load:
        wait_copied(under_load.ferry.start(), 1000)
        under_load.ferry.post("stop")
        assert under_load.ferry.wait_end() == 143
        kept = under_load.moved()
        assert kept > 1000
        under_load.ferry.start().wait_stage("Copying")
        assert copied(under_load.ferry) >= kept
        at_full_speed(under_load.ferry)
        under_load.finish()


# -- abort -------------------------------------------------------------------------------------------------------------


def test_abort_keeps_the_target(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as under_load:
        wait_copied(under_load.ferry.start(), 1000)
        under_load.ferry.post("abort")
        assert under_load.ferry.wait_end() == 143
        assert (under_load.phase(), under_load.target_rows() > 0) == ("Aborted", True)
        print(under_load.ferry.tail(3))


def test_abort_in_the_middle_of_a_cutover_unlocks(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "60s"}) as under_load:
        under_load.ferry.start()
        with under_load.held_in_drain():
            under_load.ferry.post("abort")
            assert under_load.ferry.wait_end() == 143
        assert not any(under_load.read_only())
        assert under_load.phase() == "Aborted"


def test_copy_complete_stays_true_after_a_restart(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        under_load.ferry.start().wait_stage(*STREAMING)
        wait_until(lambda: under_load.state()["foreign_keys_added"], "the end of the copy is stored")
        under_load.ferry.kill()
        seen: set[tuple[str, str]] = set()

        def ready(status: dict[str, Any]) -> bool:
            if status["stage"] not in ("Pending", "Validating"):
                seen.add((status["stage"], condition(status, "CopyComplete")["status"]))
            return bool(status["stage"] == "ReadyForCutover")

        under_load.ferry.start().wait_status(ready)
        assert seen <= {("Streaming", "True"), ("ReadyForCutover", "True")}
        assert stages_logged(under_load.ferry)[-3:] == ["Validating", "Streaming", "ReadyForCutover"]
        under_load.finish()


def stages_logged(ferry: FerryProcess) -> list[str]:
    return re.findall(r"stage (\w+)", ferry.log.read_text())


# -- pause and throttle ------------------------------------------------------------------------------------------------


def assert_still(under_load: FerryUnderLoad, seconds: float = 3.0) -> None:
    """Once running steps have ended, no row is written on the target for this long."""

    def still() -> bool:
        before = checksums(under_load)
        time.sleep(seconds)
        return checksums(under_load) == before

    wait_until(still, "no row is written any more")


def test_a_pause_stops_row_writes(pair: Pair, schema: str, tmp_path: Path) -> None:
    throttle = {"maxRowsPerSecond": 500}
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=20_000, odd=ODD, throttle=throttle) as under_load,
        under_load.writers() as writers,
    ):
        ferry = under_load.ferry
        wait_copied(ferry.start(), 1000)
        ferry.post("pause")
        assert_still(under_load)
        status = ferry.status()
        assert (status["stage"], status["phase"]) == ("Copying", "Paused")
        written = writers.total
        writers.plain.wait_for(50)
        ferry.post("resume")
        wait_copied(ferry, status["progress"]["rowsCopied"])
        at_full_speed(ferry)
        ferry.wait_stage(*STREAMING)
        ferry.post("pause")
        assert_still(under_load)
        ferry.wait_status(lambda now: now["replication"]["pendingKeys"] > 0)
        assert ferry.status()["phase"] == "Paused"
        ferry.post("resume")
        under_load.finish(ferry, writers)
        print(f"{written} writes before the first pause ended; {writers.summary()}")


def test_a_pause_verb_survives_a_kill_and_so_does_a_resume(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as under_load:
        ferry = under_load.ferry
        wait_copied(ferry.start(), 1000)
        ferry.post("pause")
        wait_until(lambda: under_load.state()["paused"] is True, "the pause is stored")
        ferry.kill()
        ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        assert_still(under_load, 2)
        ferry.post("resume")
        ferry.wait_stage("Copying")
        wait_until(lambda: under_load.state()["paused"] is False, "the resume is stored")
        ferry.kill()
        ferry.start().wait_stage("Copying")
        at_full_speed(ferry)
        under_load.finish(ferry)


def test_a_pause_while_streaming_is_reported_after_a_restart(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as under_load:
        under_load.ferry.start().wait_stage(*STREAMING)
        under_load.ferry.post("pause")
        wait_until(lambda: under_load.state()["paused"] is True, "the pause is stored")
        before = under_load.ferry.status()["progress"]
        under_load.ferry.kill()
        status = under_load.ferry.start().wait_stage(*STREAMING)
        assert (status["stage"], status["phase"]) == ("Streaming", "Paused")
        assert condition(status, "Paused")["status"] == condition(status, "CopyComplete")["status"] == "True"
        assert status["progress"]["rowsCopied"] == before["rowsCopied"]
        assert "paused" in status["message"]
        under_load.ferry.post("resume")
        under_load.finish()


def test_the_newest_of_verb_and_spec_decides_about_a_pause(pair: Pair, schema: str, tmp_path: Path) -> None:
    """A resume verb over ``paused: true`` survives a restart; a manifest changed since then takes precedence."""
    spec = {"throttle": SLOW}
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, paused=True, **spec) as under_load:
        ferry = under_load.ferry
        ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        ferry.post("resume")
        wait_copied(ferry, 1000)
        wait_until(lambda: under_load.state()["paused"] is False, "the resume is stored")
        ferry.kill()
        ferry.start().wait_stage("Copying")
        ferry.kill()
        changed: dict[str, Any] = {"paused": False}
        resumed = under_load.another("changed", **changed)
        resumed.arguments = ferry.arguments
        with resumed:
            resumed.start().wait_stage("Copying")
            resumed.post("pause")
            wait_until(lambda: under_load.state()["paused"] is True, "the pause is stored")
            resumed.kill()
        ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        ferry.kill()
        with resumed:
            resumed.start().wait_status(lambda status: status["phase"] == "Paused")
            resumed.post("resume")
            resumed.wait_stage("Copying")
            at_full_speed(resumed)
            under_load.finish(resumed)


def test_a_resume_verb_is_stored_before_anything_else(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The run dies while it validates again with another selection: nothing has begun."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, paused=True) as under_load:
        under_load.ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        under_load.proxy.pause()
        under_load.ferry.post("resume")
        wait_until(lambda: under_load.state().get("paused") is False, "the resume is stored")
        under_load.ferry.kill()
        under_load.proxy.resume()
        rules = [{"match": "*.aim", "where": "id > 0"}]
        other = under_load.another("other", tables={"include": [f"{schema}.*"], "exclude": ["*.aside"], "rules": rules})
        other.arguments = under_load.ferry.arguments
        with other:
            other.start()
            under_load.finish(other)


def test_paused_from_the_start_validates_and_waits(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, paused=True) as under_load:
        status = under_load.ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        validated = next(one for one in status["conditions"] if one["type"] == "Validated")
        assert (status["stage"], validated["status"]) == ("Validating", "True")
        assert not pair.target.query(f"SHOW DATABASES LIKE '{schema}'")
        assert under_load.ferry.terminate() < STOP_SECONDS
        assert not pair.target.query(f"SHOW DATABASES LIKE '{schema}'")
        under_load.ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        under_load.ferry.post("resume")
        under_load.finish()


def test_the_throttle_verb_takes_effect_at_once(pair: Pair, schema: str, tmp_path: Path) -> None:
    """A chunk is admitted when nothing is owed, and takes all its rows at once: half a second's worth of the limit.

    So with one worker any 5 s contain at most 5 s of rows, a quarter of a second's saved allowance, and one chunk. The
    debt of a larger chunk from before the change is paid first.
    """
    one_worker, fast = {"workers": 1, "chunkTargetBytes": "64Ki"}, {"maxRowsPerSecond": 1500}
    with FerryUnderLoad(pair, schema, tmp_path, rows=20_000, odd=ODD, throttle=fast, copy=one_worker) as under_load:
        wait_copied(under_load.ferry.start(), 1000)
        under_load.ferry.post("throttle", {"maxRowsPerSecond": 200})
        status = under_load.ferry.wait_status(lambda status: "200" in (status["throttle"]["reason"] or ""))
        print(status["throttle"])
        wait_copied(under_load.ferry, copied(under_load.ferry))
        began, before = time.monotonic(), copied(under_load.ferry)
        wait_copied(under_load.ferry, before + 2000)
        moved, took = copied(under_load.ferry) - before, time.monotonic() - began
        print(f"{moved} rows in {took:.1f} s under a cap of 200 rows/s")
        assert moved <= 200 * (took + BURST_SECONDS + STEP_SECONDS + LATE_SECONDS)
        at_full_speed(under_load.ferry)
        under_load.finish()
