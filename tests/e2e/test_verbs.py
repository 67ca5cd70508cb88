"""The verbs as a person types them during a run; and Ctrl-C."""

import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ferry_cli import Ended, FerryCli, FerryProcess, ferry
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS, wait_until

ROWS = 6000
TOKEN = "open-sesame"
NUMBERS = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))


@pytest.fixture
def cli(tmp_path: Path, mysql_pair: Pair, schema: str) -> FerryCli:
    mysql_pair.source.execute(
        f"USE `{schema}`",
        "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(80)) ENGINE=InnoDB",
        f"INSERT INTO t WITH d AS ({NUMBERS}) SELECT a.n + b.n * 10 + c.n * 100 + e.n * 1000, 'x'"
        f" FROM d a, d b, d c, d e WHERE e.n < {ROWS // 1000}",
    )
    return FerryCli(
        tmp_path / "ferry", mysql_pair, schema, throttle={"maxRowsPerSecond": 50}, cutover={"watchFor": "1s"}
    )


class VerbUser:
    """Runs verbs against a run with a token."""

    def __init__(self, process: FerryProcess, token_file: Path) -> None:
        self.process = process
        self.token_file = token_file
        self.url = f"http://127.0.0.1:{process.port}"

    def types(self, *words: str, token: bool = True) -> Ended:
        known = ["--token-file", str(self.token_file)] if token else []
        return ferry(*words, "--server", self.url, *known, cwd=self.token_file.parent)

    def says(self, *words: str) -> str:
        done = self.types(*words)
        assert (done.code, done.stderr) == (0, ""), done
        return done.stdout

    def wait(self, words: str, seconds: float = PATIENCE_SECONDS) -> str:
        """Until the first line of ``ferry status`` has these words."""
        end = time.monotonic() + seconds
        while True:
            done = self.types("status")
            if done.code == 0 and words in done.stdout.splitlines()[0]:
                return done.stdout
            assert time.monotonic() < end, done
            assert self.process.process is not None
            assert self.process.process.poll() is None, self.process.tail()


@pytest.fixture
def person(cli: FerryCli) -> Iterator[VerbUser]:
    token_file = cli.folder / "token"
    token_file.write_text(TOKEN + "\n")
    with cli.process("--token-file", str(token_file)) as process:
        person = VerbUser(process.start(), token_file)
        person.wait("Copying")
        yield person


def scraped(person: VerbUser) -> dict[tuple[str, str], float]:
    """The result of a scrape: values by name and by the value of the label."""
    request = urllib.request.Request(f"{person.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {(one.name, ",".join(one.labels.values())): one.value for family in families for one in family.samples}


def assert_metrics_tell(cli: FerryCli, person: VerbUser) -> None:
    """For a streaming run: three rows more and one fewer, once they are on the target."""
    table = f"{cli.schema}.t"
    cli.pair.source.execute(
        f"INSERT INTO {table} VALUES (-1, 'y'), (-2, 'y'), (-3, 'y')", f"DELETE FROM {table} WHERE id = 0"
    )

    def applied() -> bool:
        found = scraped(person)
        keys = [found["ferry_changed_keys_flushed_total", how] for how in ("written", "deleted")]
        told = ("ferry_binlog_events_total", "delete_rows") in found  # at the coordinator's next tick
        return told and keys == [3, 1] and found["ferry_changed_keys_pending", ""] == 0

    wait_until(applied, "four changed keys are told as flushed")
    found = scraped(person)
    assert found["ferry_copy_rows_total", table] == ROWS
    assert found["ferry_copy_bytes_total", table] > ROWS
    assert found["ferry_copy_progress_ratio", ""] == 1
    assert found["ferry_copy_chunks_total", "copied"] > 0
    assert found["ferry_binlog_events_total", "write_rows"] > 0
    assert found["ferry_binlog_events_total", "delete_rows"] > 0
    assert found["ferry_binlog_bytes_total", ""] > 0
    assert 0 <= found["ferry_stream_lag_seconds", ""] < 60
    assert found["ferry_checkpoint_writes_total", "success"] > 0
    assert found["ferry_verify_rows_total", ""] >= ROWS
    assert found["ferry_throttle_seconds_total", "rows-per-second"] > 0


def test_a_whole_migration_controlled_by_verbs(cli: FerryCli, person: VerbUser) -> None:
    status = json.loads(person.says("status", "--output", "json"))
    assert (status["stage"], status["progress"]["tablesTotal"]) == ("Copying", 1)
    assert f"{cli.schema}.t" in person.says("tables")
    assert json.loads(person.says("tables", "--output", "json"))[0]["state"] == "Copying"

    person.types("status", token=False).refused(64, "ServerRefused", "wants a token", "--token-file")
    person.types("pause", token=False).refused(64, "ServerRefused", "--token-file")
    person.token_file.write_text("guessed")
    person.types("abort").refused(64, "ServerRefused", "wants another token")
    person.token_file.write_text(TOKEN)

    assert "resumed" in person.says("pause")
    assert "paused by ferry pause" in person.wait("Paused")
    person.types("verify").refused(64, "ServerRefused", "rows are still to be copied")
    person.says("resume")
    person.types("throttle", "0").refused(64, "Usage", "above 0")
    assert "at most 9,000 rows/s; maxReplicaLag 5s" in person.says("throttle", "9000", "--max-replica-lag", "5s")
    assert "no limit of rows/s\n" in person.says("throttle", "off")

    person.wait("ReadyForCutover")
    assert "source and target are equal" in person.says("verify")
    person.types("verify", "--table", "a.b").refused(64, "ServerRefused", "not among the tables of this Ferry: a.b")
    assert_metrics_tell(cli, person)
    assert "approved" in person.says("cutover")
    person.process.succeed()
    last = person.process.log.read_text().splitlines()[-1]
    assert "moved 6000 rows of 1 table" in last
    assert "no difference" in last
    assert "writes blocked" in last
    person.types("status").refused(75, "ServerUnreachable", person.url)


def test_abort(cli: FerryCli, person: VerbUser) -> None:
    assert "the target is kept" in person.says("abort")
    assert person.process.wait_end() == 143
    assert [phase for _, phase in cli.lease()] == ["Aborted"]
    assert cli.pair.source.value("SELECT @@global.read_only") == 0
    # Permanently: an automatic restart must not undo it.
    cli.run().refused(64, "Aborted", "ferry cleanup")
    assert [phase for _, phase in cli.lease()] == ["Aborted"]


def test_check_reports_what_a_run_would_report(cli: FerryCli) -> None:
    table = cli.check()
    assert table.code == 0, table
    lines = table.stdout.splitlines()
    assert lines[0].split() == ["STATUS", "SERVER", "CHECK:", "REASON", "AND", "FIX"]
    assert "checks, none failed" in lines[-1]
    answer = json.loads(cli.check("--output", "json").stdout)
    assert answer["passed"] is True
    assert len(answer["checks"]) > 30
    assert {one["status"] for one in answer["checks"]} <= {"passed", "warning"}
    assert answer["notices"] == []

    cli.pair.target.execute("SET GLOBAL read_only = 1")
    try:
        table = cli.check()
        answer = json.loads(cli.check("--output", "json").stdout)
    finally:
        cli.pair.target.execute("SET GLOBAL read_only = 0")
    assert table.code == 64
    assert "TargetReadOnly: target 127.0.0.1" in table.stdout.splitlines()[-2]
    assert "1 of " in table.stdout.splitlines()[-1]
    failed = [one for one in answer["checks"] if one["status"] == "failed"]
    assert [(one["server"], one["reason"]) for one in failed] == [("target", "TargetReadOnly")]
    cli.assert_nothing_begun()


def test_ctrl_c_twice_while_the_target_hangs(cli: FerryCli) -> None:
    """The first waits for running steps, as long as necessary; the second exits at once, and nothing is lost."""
    target = cli.pair.target
    cli.spec["throttle"] = {"maxRowsPerSecond": 500}
    with Proxy(target.host, target.port) as proxy:
        cli.spec["target"]["port"] = proxy.port
        with cli.process() as process:
            process.start().wait_status(lambda status: status["progress"]["rowsCopied"] >= 1000)
            assert process.process is not None
            proxy.pause()
            time.sleep(1)  # the next step begins within that time, and hangs
            process.process.send_signal(signal.SIGINT)
            time.sleep(0.3)  # a person presses it twice
            began = time.monotonic()
            process.process.send_signal(signal.SIGINT)
            assert process.wait_end() == 143
            assert time.monotonic() - began < 4, "it waited for the 5 s that the first allows"
            proxy.resume()
            process.start().wait_stage("Copying")
            process.post("throttle", {"maxRowsPerSecond": None})
            process.wait_stage("Streaming", "ReadyForCutover")
            process.post("cutover")
            process.succeed()
    rows = target.query(f"SELECT COUNT(*), SUM(id) FROM `{cli.schema}`.t")
    assert rows == cli.pair.source.query(f"SELECT COUNT(*), SUM(id) FROM `{cli.schema}`.t")
