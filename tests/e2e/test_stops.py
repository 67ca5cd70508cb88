"""Stops, pauses and the other verbs on a running migration: in time, without losing progress, the source left
writable.
"""

import os
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

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

ODD = 4
BULK = 12_000
CHILD = "id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `{}`.aim (id)"
SLOW = {"maxRowsPerSecond": 1500}
STREAMING = ("Streaming", "ReadyForCutover")
STOP_SECONDS = 25.0
"""A kubelet kills after 30 s. An idle machine takes 1 to 3 s."""


def copied(ferry: FerryProcess) -> int:
    return int(ferry.wait_status(bool)["progress"]["rowsCopied"])


def wait_copied(ferry: FerryProcess, rows: int) -> None:
    ferry.wait_status(lambda status: status["progress"]["rowsCopied"] > rows)


def at_full_speed(ferry: FerryProcess) -> None:
    ferry.post("throttle", {"maxRowsPerSecond": None})


def checksums(live: FerryUnderLoad) -> dict[str, int]:
    """Any row written to the target changes these."""
    names = [row[0] for row in live.pair.target.query(f"SHOW TABLES FROM `{live.schema}`")]
    listed = ", ".join(f"`{live.schema}`.`{name}`" for name in names)
    return dict(live.pair.target.query(f"CHECKSUM TABLE {listed}"))


# -- SIGTERM -----------------------------------------------------------------------------------------------------------


def test_sigterm_ends_every_stage_in_time_and_no_table_starts_over(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as live:
        bulk = live.tables.pop()  # nothing writes to it: each of its rows is to be copied once
        ferry = live.ferry
        took: dict[str, float] = {}
        with live.crew() as crew:
            wait_copied(ferry.start(), 2000)
            took["Copying"] = ferry.terminate()
            kept = live.moved()
            wait_copied(ferry.start(), kept)
            took["Copying again"] = ferry.terminate()
            ferry.start().wait_stage("Copying")
            assert copied(ferry) >= kept
            at_full_speed(ferry)
            ferry.wait_stage(*STREAMING)
            took["Streaming"] = ferry.terminate()
            ferry.start()
            with live.held_in_acquire():
                took["CuttingOver, stopping writes"] = ferry.terminate()
            assert not any(live.read_only())
            ferry.start()
            with live.held_in_drain():
                took["CuttingOver, draining"] = ferry.terminate()
            assert not any(live.read_only())
            crew.plain.wait_for(20)
            print(took)
            ferry.start()
            live.finish(crew=crew)
        once = live.state()["tables"][f"{schema}.{bulk.name}"]["rows_copied"]
        print(f"{BULK} rows of {bulk.name}, copied {once}")
        assert once == BULK
        assert max(took.values()) < STOP_SECONDS, took


@pytest.mark.parametrize("store", ["Volume", "Target"])
def test_sigterm_ends_in_time_while_the_target_hangs(pair: Pair, schema: str, tmp_path: Path, store: str) -> None:
    spec = {} if store == "Volume" else {"checkpoint": {"store": "Target"}}
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW, **spec) as live:
        wait_copied(live.ferry.start(), 2000)
        live.proxy.pause()
        live.proxy.wait_stuck()
        took = live.ferry.terminate()
        print(f"{took:.1f} s")
        live.proxy.resume()
        live.ferry.start().wait_stage("Copying")
        at_full_speed(live.ferry)
        live.finish()
        assert took < STOP_SECONDS


def test_sigterm_ends_in_time_while_the_source_hangs(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=500, odd=1) as live:
        live.ferry.start().wait_stage("ReadyForCutover")
        os.kill(pair.source.pid, signal.SIGSTOP)
        try:
            live.ferry.wait_stage("Streaming")  # the run has met it: the lag is unknown
            took = live.ferry.terminate()
        finally:
            os.kill(pair.source.pid, signal.SIGCONT)
        print(f"{took:.1f} s")
        live.ferry.start()
        live.finish()
        assert took < STOP_SECONDS


def test_sigterm_ends_in_time_while_foreign_keys_wait_for_a_table(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Somebody reads the target in a long transaction, so the ALTER is retried; a stop ends the retries at once."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        pair.source.execute(f"CREATE TABLE `{schema}`.child ({CHILD.format(schema)})")
        live.ferry.start().wait_stage("Copying")
        wait_until(lambda: pair.target.query(f"SHOW TABLES FROM `{schema}` LIKE 'child'"), "the tables are made")
        reader = live.connect(pair.target, autocommit=False)
        reader.cursor().execute(f"SELECT * FROM `{schema}`.child")
        live.ferry.wait_status(lambda status: "a table is in use" in (status["message"] or ""))
        took = live.ferry.terminate()
        print(f"{took:.1f} s")
        assert not statements(pair.target, "ALTER TABLE"), "it goes on without its client"
        reader.close()
        live.ferry.start()
        live.finish()
        assert took < STOP_SECONDS


def test_sigterm_ends_in_time_while_an_alter_takes_long(pair: Pair, schema: str, tmp_path: Path) -> None:
    """And it must not take effect after the end, during the next run."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        pair.source.execute(f"CREATE TABLE `{schema}`.child ({CHILD.format(schema)})")
        live.proxy.hold(b"ADD CONSTRAINT")
        live.ferry.start()
        live.proxy.wait_held()
        took = live.ferry.terminate()
        live.proxy.release()
        assert not pair.target.query(
            "SELECT 1 FROM information_schema.referential_constraints WHERE constraint_schema = %s", (schema,)
        )
        live.ferry.start()
        live.finish()
        assert took < STOP_SECONDS


def statements(server: Server, words: str) -> list[tuple[Any, ...]]:
    return server.query(
        "SELECT info FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND info LIKE %s", [f"{words}%"]
    )


def test_the_stop_verb_ends_the_run_and_keeps_its_progress(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as live:
        wait_copied(live.ferry.start(), 2000)
        live.ferry.post("stop")
        assert live.ferry.wait_end(30) == 143
        kept = live.moved()
        assert kept > 2000
        live.ferry.start().wait_stage("Copying")
        assert copied(live.ferry) >= kept
        at_full_speed(live.ferry)
        live.finish()


# -- abort -------------------------------------------------------------------------------------------------------------


def test_abort_keeps_the_target(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as live:
        wait_copied(live.ferry.start(), 2000)
        live.ferry.post("abort")
        assert live.ferry.wait_end(30) == 143
        assert (live.phase(), live.target_rows() > 0) == ("Aborted", True)
        print(live.ferry.tail(3))


def test_abort_in_the_middle_of_a_cutover_unlocks(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, cutover={"deadline": "60s"}) as live:
        live.ferry.start()
        with live.held_in_drain():
            live.ferry.post("abort")
            assert live.ferry.wait_end(30) == 143
        assert not any(live.read_only())
        assert live.phase() == "Aborted"


def test_a_restart_takes_nothing_back_of_a_copy_that_was_complete(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        live.ferry.start().wait_stage(*STREAMING)
        wait_until(lambda: live.state()["foreign_keys_added"], "the end of the copy is stored")
        live.ferry.kill()
        seen: set[tuple[str, str]] = set()

        def ready(status: dict[str, Any]) -> bool:
            if status["stage"] not in ("Pending", "Validating"):
                seen.add((status["stage"], condition(status, "CopyComplete")["status"]))
            return bool(status["stage"] == "ReadyForCutover")

        live.ferry.start().wait_status(ready)
        assert seen == {("Streaming", "True"), ("ReadyForCutover", "True")}
        live.finish()


# -- pause and throttle ------------------------------------------------------------------------------------------------


def assert_still(live: FerryUnderLoad, seconds: float = 3.0) -> None:
    """Once running steps have ended, no row is written on the target for this long."""

    def still() -> bool:
        before = checksums(live)
        time.sleep(seconds)
        return checksums(live) == before

    wait_until(still, "no row is written any more")


def test_a_pause_stops_row_writes(pair: Pair, schema: str, tmp_path: Path) -> None:
    throttle = {"maxRowsPerSecond": 3000}
    with (
        FerryUnderLoad(pair, schema, tmp_path, rows=30_000, odd=ODD, throttle=throttle) as live,
        live.crew() as crew,
    ):
        ferry = live.ferry
        wait_copied(ferry.start(), 3000)
        ferry.post("pause")
        assert_still(live)
        status = ferry.status()
        assert (status["stage"], status["phase"]) == ("Copying", "Paused")
        written = crew.total
        crew.plain.wait_for(50)
        ferry.post("resume")
        wait_copied(ferry, status["progress"]["rowsCopied"])
        at_full_speed(ferry)
        ferry.wait_stage("Streaming")
        ferry.post("pause")
        assert_still(live)
        ferry.wait_status(lambda now: now["replication"]["pendingKeys"] > 0)
        assert ferry.status()["phase"] == "Paused"
        ferry.post("resume")
        live.finish(ferry, crew)
        print(f"{written} writes before the first pause ended; {crew.summary()}")


def test_a_pause_verb_survives_a_kill_and_so_does_a_resume(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, throttle=SLOW) as live:
        ferry = live.ferry
        wait_copied(ferry.start(), 2000)
        ferry.post("pause")
        wait_until(lambda: live.state()["paused"] is True, "the pause is stored")
        ferry.kill()
        ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        assert_still(live, 2)
        ferry.post("resume")
        ferry.wait_stage("Copying")
        wait_until(lambda: live.state()["paused"] is False, "the resume is stored")
        ferry.kill()
        ferry.start().wait_stage("Copying")
        at_full_speed(ferry)
        live.finish(ferry)


def test_a_pause_while_streaming_is_told_as_one_after_a_restart(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD) as live:
        live.ferry.start().wait_stage(*STREAMING)
        live.ferry.post("pause")
        wait_until(lambda: live.state()["paused"] is True, "the pause is stored")
        before = live.ferry.status()["progress"]
        live.ferry.kill()
        status = live.ferry.start().wait_stage(*STREAMING)
        assert (status["stage"], status["phase"]) == ("Streaming", "Paused")
        assert condition(status, "Paused")["status"] == condition(status, "CopyComplete")["status"] == "True"
        assert status["progress"]["rowsCopied"] == before["rowsCopied"]
        assert "paused" in status["message"]
        live.ferry.post("resume")
        live.finish()


def test_the_last_writer_of_paused_wins(pair: Pair, schema: str, tmp_path: Path) -> None:
    """A resume verb over ``paused: true`` survives a restart; a manifest changed since then takes precedence."""
    spec = {"throttle": SLOW}
    with FerryUnderLoad(pair, schema, tmp_path, rows=BULK, odd=ODD, paused=True, **spec) as live:
        ferry = live.ferry
        ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        ferry.post("resume")
        wait_copied(ferry, 1000)
        wait_until(lambda: live.state()["paused"] is False, "the resume is stored")
        ferry.kill()
        ferry.start().wait_stage("Copying")
        ferry.kill()
        changed: dict[str, Any] = {"paused": False}
        resumed = live.another("changed", **changed)
        resumed.arguments = ferry.arguments
        with resumed:
            resumed.start().wait_stage("Copying")
            resumed.post("pause")
            wait_until(lambda: live.state()["paused"] is True, "the pause is stored")
            resumed.kill()
        ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        ferry.kill()
        with resumed:
            resumed.start().wait_status(lambda status: status["phase"] == "Paused")
            resumed.post("resume")
            resumed.wait_stage("Copying")
            at_full_speed(resumed)
            live.finish(resumed)


def test_a_resume_is_kept_before_anything_else_is(pair: Pair, schema: str, tmp_path: Path) -> None:
    """The run dies while it validates again with another selection: nothing has begun."""
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, paused=True) as live:
        live.ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        live.proxy.pause()
        live.ferry.post("resume")
        wait_until(lambda: live.state().get("paused") is False, "the resume is stored")
        live.ferry.kill()
        live.proxy.resume()
        rules = [{"match": "*.aim", "where": "id > 0"}]
        other = live.another("other", tables={"include": [f"{schema}.*"], "exclude": ["*.aside"], "rules": rules})
        other.arguments = live.ferry.arguments
        with other:
            other.start()
            live.finish(other)


def test_paused_from_the_start_validates_and_waits(pair: Pair, schema: str, tmp_path: Path) -> None:
    with FerryUnderLoad(pair, schema, tmp_path, odd=ODD, paused=True) as live:
        status = live.ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        validated = next(one for one in status["conditions"] if one["type"] == "Validated")
        assert (status["stage"], validated["status"]) == ("Validating", "True")
        assert not pair.target.query(f"SHOW DATABASES LIKE '{schema}'")
        assert live.ferry.terminate() < STOP_SECONDS
        assert not pair.target.query(f"SHOW DATABASES LIKE '{schema}'")
        live.ferry.start().wait_status(lambda status: status["phase"] == "Paused")
        live.ferry.post("resume")
        live.finish()


def test_the_throttle_verb_acts_at_once(pair: Pair, schema: str, tmp_path: Path) -> None:
    """A chunk is admitted when nothing is owed, and takes all its rows at once: half a second's worth of the limit.

    So with one worker any 5 s contain at most 5 s of rows, a quarter of a second's saved allowance, and one chunk. The
    debt of a larger chunk from before the change is paid first.
    """
    one_worker = {"workers": 1, "chunkTargetBytes": "64Ki"}
    with FerryUnderLoad(pair, schema, tmp_path, rows=20_000, odd=ODD, throttle=SLOW, copy=one_worker) as live:
        wait_copied(live.ferry.start(), 3000)
        live.ferry.post("throttle", {"maxRowsPerSecond": 200})
        status = live.ferry.wait_status(lambda status: "200" in (status["throttle"]["reason"] or ""))
        print(status["throttle"])
        wait_copied(live.ferry, copied(live.ferry))
        began, before = time.monotonic(), copied(live.ferry)
        wait_copied(live.ferry, before + 800)
        moved, took = copied(live.ferry) - before, time.monotonic() - began
        print(f"{moved} rows in {took:.1f} s under a cap of 200 rows/s")
        assert moved <= 200 * (took + BURST_SECONDS + STEP_SECONDS)
        at_full_speed(live.ferry)
        live.finish()
