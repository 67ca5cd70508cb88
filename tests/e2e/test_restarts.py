"""A server is restarted: the run notices, and resumes from its checkpoint like a new one, in the same process.

Also a server that goes away before the first chunk, when no worker would retry by itself.
"""

from pathlib import Path

import pytest

from tests.e2e.test_faults import STREAMING, fill, finish, write
from tests.support.cutover_in_process import waiting
from tests.support.ferry_cli import FerryCli, FerryProcess
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.always]

ENDS = ["source", "target"]
AGAIN = "resuming from the checkpoint"
PASS = "full pass of the verification begins"


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    fill(pair.source, schema, 500)
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "1s"})


def server_of(cli: FerryCli, end: str) -> Server:
    return cli.pair.source if end == "source" else cli.pair.target


def logged(process: FerryProcess, text: str) -> int:
    return process.log.read_text().count(text)


def verified(status: dict[str, object]) -> object:
    conditions = {each["type"]: each["status"] for each in status["conditions"]}  # type: ignore[attr-defined]
    return conditions["Verified"]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("how", ["kill", "stop"])
def test_rows_are_verified_again_after_a_restart(cli: FerryCli, end: str, how: str) -> None:
    """Nothing writes and nothing is asked: the restart is noticed anyway."""
    server = server_of(cli, end)
    with cli.process() as process:
        before = process.start().wait_status(lambda status: status["stage"] == "ReadyForCutover")
        assert verified(before) == "True"
        assert logged(process, PASS) == 1
        epoch = before["copier"]["epoch"]
        (server.kill if how == "kill" else server.stop)()
        server.start()
        wait_until(lambda: logged(process, AGAIN) == 1)
        assert f"ServerRestarted: {end} 127.0.0.1" in process.log.read_text()
        write(cli, "after the restart")
        process.wait_status(lambda status: status["copier"]["epoch"] > epoch)
        after = process.wait_status(lambda status: status["stage"] == "ReadyForCutover")
        assert verified(after) == "True"
        assert logged(process, PASS) == 2
        assert process.starts == 1
        finish(cli, process)
    assert logged(process, "stage Validating") == 1, "it would pass for a new start"


def test_rows_that_the_source_lost_in_a_crash_stay_on_the_target(cli: FerryCli) -> None:
    """Its binlog contains them. The run ends; the next start, by a person, makes the target like the source."""
    source, target, table = cli.pair.source, cli.pair.target, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        rows = target.value(f"SELECT COUNT(*) FROM {table}")
        lost = source.value(f"SELECT MAX(id) FROM {table}")
        with process.frozen():
            source.restart()
            source.execute("SET SESSION sql_log_bin = 0", f"DELETE FROM {table} WHERE id = {lost}")
        assert process.wait_end() == 65
        log = process.log.read_text()
        assert f"{cli.schema}.t: on the target, but not on the source" in log
        assert "the source was restarted since this Ferry has copied rows" in log
        assert target.value(f"SELECT COUNT(*) FROM {table}") == rows
        process.start().wait_stage("ReadyForCutover")
        assert target.value(f"SELECT COUNT(*) FROM {table}") == rows - 1
        finish(cli, process)


def test_a_table_that_may_have_the_only_copy_of_a_row_is_not_dropped_without_a_word(cli: FerryCli) -> None:
    """``schema.onChange: Recopy`` after a restart of the source. The next start copies the table again."""
    source, target, table = cli.pair.source, cli.pair.target, f"`{cli.schema}`.t"
    cli.spec["schema"] = {"onChange": "Recopy"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        rows = target.value(f"SELECT COUNT(*) FROM {table}")
        process.kill()
        source.restart()
        source.execute("SET SESSION sql_log_bin = 0", f"DELETE FROM {table} LIMIT 1")
        source.execute(f"ALTER TABLE {table} ADD COLUMN w INT NOT NULL DEFAULT 1")
        process.start()
        assert process.wait_end() == 65
        assert f"may have the only copy of rows in {cli.schema}.t" in process.log.read_text()
        assert target.value(f"SELECT COUNT(*) FROM {table}") == rows
        process.start().wait_stage("ReadyForCutover")
        assert target.value(f"SELECT COUNT(*) FROM {table}") == rows - 1
        finish(cli, process)


def test_rows_that_the_source_lost_while_the_copier_was_down_stay_on_the_target(cli: FerryCli) -> None:
    """Another process finds them. It reports them also after a kill before it has, and only a later start deletes."""
    source, target, table = cli.pair.source, cli.pair.target, f"`{cli.schema}`.t"
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        rows = target.value(f"SELECT COUNT(*) FROM {table}")
        lost = source.value(f"SELECT MAX(id) FROM {table}")
        process.kill()
        source.restart()
        process.start().wait_status(lambda status: (status["copier"]["epoch"] or 0) > 1)
        process.kill()
        source.execute("SET SESSION sql_log_bin = 0", f"DELETE FROM {table} WHERE id = {lost}")
        process.start()
        assert process.wait_end() == 65
        log = process.log.read_text()
        assert "may have lost some of them in a crash: rows that only the target has are reported" in log
        assert f"ferry: RowsDiffer: 1 row differs between source and target: {cli.schema}.t: on the target, but" in log
        assert target.value(f"SELECT COUNT(*) FROM {table}") == rows
        process.start().wait_stage("ReadyForCutover")
        assert target.value(f"SELECT COUNT(*) FROM {table}") == rows - 1
        finish(cli, process)


@pytest.mark.parametrize("end", ENDS)
def test_a_pause_and_the_count_of_attempts_survive_a_restart(cli: FerryCli, end: str) -> None:
    server = server_of(cli, end)
    cli.spec["cutover"] = {"watchFor": "1s", "maxAttempts": 1, "deadline": "5m"}
    with cli.process() as process:
        process.start().wait_stage("ReadyForCutover")
        attempt_in_vain(cli, process)
        process.post("pause")
        process.wait_status(lambda status: status["phase"] == "Paused")
        server.restart()
        wait_until(lambda: logged(process, AGAIN) == 1)
        process.wait_status(lambda status: status["phase"] == "Paused" and status["cutover"]["attempts"] == 1)
        write(cli, "while paused")
        process.post("resume")
        exhausted = process.wait_status(
            lambda status: any(each["reason"] == "AttemptsExhausted" for each in status["conditions"])
        )
        assert exhausted["cutover"]["attempts"] == 1
        finish(cli, process)


def attempt_in_vain(cli: FerryCli, process: FerryProcess) -> None:
    """An attempt that fails because somebody kills the statement that waits for the table."""
    source = cli.pair.source
    with source.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLES `{cli.schema}`.t WRITE")
        process.post("cutover")
        wait_until(lambda: waiting(source), "the lock statement waits")
        cursor.execute(f"KILL QUERY {waiting(source)[0]}")
        process.wait_status(lambda status: any(each["reason"] == "AttemptsExhausted" for each in status["conditions"]))
        cursor.execute("UNLOCK TABLES")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("after_bytes", [40, 2_500])
def test_a_connection_that_is_lost_before_the_first_chunk(cli: FerryCli, end: str, after_bytes: int) -> None:
    """At login, during validation, and in the steps after it: retried like every later connection."""
    server = server_of(cli, end)
    with Proxy(server.host, server.port) as proxy:
        cli.spec[end]["port"] = proxy.port
        proxy.cut_after(after_bytes)
        with cli.process() as process:
            process.start()
            wait_until(lambda: logged(process, AGAIN) >= 1)
            proxy.cut_no_more()
            process.wait_stage(*STREAMING)
            write(cli, "streaming")
            finish(cli, process)
        assert process.starts == 1
