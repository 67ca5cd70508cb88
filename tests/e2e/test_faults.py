"""Faults during a run, with the real command: it continues by itself, or stops with one clear line."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from hack.servers import Family
from tests.support.compare import assert_equal_tables
from tests.support.ferry_cli import Ended, FerryCli, FerryProcess
from tests.support.proxy import Proxy
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

# These tests take longer than all other end-to-end tests together: `make test-slow` runs them alone.
pytestmark = [pytest.mark.slow, pytest.mark.always]

ROWS = 12_000
SLOWLY = {"maxRowsPerSecond": 1000}
STREAMING = ("Streaming", "ReadyForCutover")


def fill(server: Server, schema: str, rows: int = ROWS, table: str = "t") -> None:
    server.execute(
        f"USE `{schema}`",
        f"CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(80), u INT UNIQUE) ENGINE=InnoDB",
        "SET @i = 0",
        f"INSERT INTO {table} WITH d AS (SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL"
        " SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9 UNION ALL SELECT 10)"
        f" SELECT @i := @i + 1, REPEAT('x', 60), @i FROM d a, d b, d c, d e, d f LIMIT {rows}",
    )


@pytest.fixture
def cli(tmp_path: Path, pair: Pair, schema: str) -> FerryCli:
    fill(pair.source, schema)
    return FerryCli(tmp_path / "ferry", pair, schema, cutover={"watchFor": "1s"})


@pytest.fixture
def running(cli: FerryCli) -> Iterator[FerryProcess]:
    """A run that is streaming."""
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        yield process


def write(cli: FerryCli, mark: str) -> None:
    """A few changes of every kind, some of which move a UNIQUE value."""
    with closing(cli.pair.source.connect(database=cli.schema)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT MIN(id), MAX(id) FROM t")
        low, high = cursor.fetchone() or (0, 0)
        cursor.execute("DELETE FROM t WHERE id = %s", [low])
        cursor.execute("INSERT INTO t VALUES (%s, %s, %s)", [high + 1, mark, low])
        cursor.execute("UPDATE t SET v = %s WHERE id IN (%s, %s)", [mark, low + 10, high])
    cli.writes += 3


def finish(cli: FerryCli, process: FerryProcess) -> None:
    """Cut over and compare."""
    process.post("throttle", {"maxRowsPerSecond": None})
    process.wait_stage(*STREAMING)
    process.post("cutover")
    process.succeed()
    name = f"{cli.schema}.t"
    compared = assert_equal_tables(cli.pair.source, cli.pair.target, name, name)
    print(f"{compared.rows} rows equal")


def stopped(process: FerryProcess) -> Ended:
    """How the run ended by itself."""
    code = process.wait_end()
    text = process.log.read_text()
    return Ended(code, "", text[text.rindex("--- start") :])


# -- what the source does ---------------------------------------------------------------------------------------------

DDL = {
    "alter": "ALTER TABLE t ADD COLUMN extra INT",
    "truncate": "TRUNCATE TABLE t",
    "rename": "RENAME TABLE t TO t_old",
    "drop": "DROP TABLE t",
}


@pytest.mark.parametrize("statement", DDL)
def test_ddl_on_a_selected_table(cli: FerryCli, running: FerryProcess, statement: str) -> None:
    cli.tell(running, DDL[statement])
    cli.pair.source.execute(f"USE `{cli.schema}`", DDL[statement])
    # The server rewrites a DROP when it logs it.
    words = DDL[statement].replace("TABLE t", "TABLE `t`") if statement == "drop" else DDL[statement]
    stopped(running).refused(65, "SchemaChanged", f"{cli.schema}.t", words)
    rows = cli.pair.target.value(f"SELECT COUNT(*) FROM `{cli.schema}`.t")
    assert (rows, cli.state.exists()) == (ROWS, True)


def test_ddl_on_other_tables_goes_unnoticed(cli: FerryCli) -> None:
    source = cli.pair.source
    source.execute(f"USE `{cli.schema}`", "CREATE TABLE other (id INT PRIMARY KEY)")
    cli.spec["tables"]["exclude"] = [f"{cli.schema}.other"]
    with cli.process() as process:
        process.start().wait_stage(*STREAMING)
        source.execute(
            f"USE `{cli.schema}`",
            *(
                "ALTER TABLE other ADD COLUMN t INT",
                "CREATE TABLE more (t INT PRIMARY KEY)",
                "INSERT INTO more VALUES (1)",
            ),
            *("TRUNCATE TABLE other", "RENAME TABLE other TO another", "DROP TABLE another, more"),
            *("CREATE VIEW v AS SELECT * FROM t", "DROP VIEW v", "ANALYZE TABLE t"),
        )
        write(cli, "after")
        finish(cli, process)


def test_a_session_that_logs_statements(cli: FerryCli, running: FerryProcess) -> None:
    statement, shown = "UPDATE t SET v = 'as a statement' WHERE id < 10", "UPDATE t SET v = ? WHERE id < ?"
    cli.tell(running, statement)
    cli.pair.source.execute(f"USE `{cli.schema}`", "SET SESSION binlog_format = 'STATEMENT'", statement)
    stopped(running).refused(65, "StatementFormat", f"{cli.schema}.t", shown)
    # The state is kept, and the event is still there: a restart must not skip it.
    again = cli.run()
    again.refused(65, "StatementFormat", shown)


def purged_to(source: Server, name: str) -> bool:
    """The server does not purge a file that a dump still reads, even if its client is gone."""
    source.execute(f"PURGE BINARY LOGS TO '{name}'")
    return [row[0] for row in source.query("SHOW BINARY LOGS")] == [name]


def test_binlog_purged_between_stop_and_resume(cli: FerryCli, running: FerryProcess) -> None:
    source = cli.pair.source
    cli.tell(running, "stopped")
    running.terminate()
    source.execute("FLUSH BINARY LOGS")
    write(cli, "lost")
    source.execute("FLUSH BINARY LOGS")
    if cli.pair.family is Family.MARIADB:
        # The next file's header still lists the last GTIDs of a purged file; after one more file they are unknown.
        write(cli, "lost too")
        source.execute("FLUSH BINARY LOGS")
    logs = [row[0] for row in source.query("SHOW BINARY LOGS")]
    wait_until(lambda: purged_to(source, logs[-1]))
    before = cli.stored()
    line = cli.run().refused(65, "SourceBinlogPurged", "source 127.0.0.1", logs[-1])
    assert re.search(r"its position is '[0-9a-f-]+:\d+-\d+|still has \d+-\d+-\d+, the last transaction", line), line
    after = cli.stored()
    assert (after["position"], after["tables"]) == (before["position"], before["tables"]), "nothing is forgotten"


# -- servers that go away ---------------------------------------------------------------------------------------------


def away(cli: FerryCli, server: Server, fault: str, process: FerryProcess, seconds: float = 2) -> None:
    """Unavailable for a while; the run must not end meanwhile."""
    how = server.kill if fault == "killed" else server.stop
    cli.tell(process, f"{server} {fault}")
    how()
    time.sleep(seconds)  # duration of the fault
    assert process.process is not None
    assert process.process.poll() is None, process.tail()
    server.start()


def wait_copied(process: FerryProcess, rows: int) -> None:
    process.wait_status(lambda status: status["progress"]["rowsCopied"] >= rows)


def copied(process: FerryProcess) -> int:
    return int(process.status()["progress"]["rowsCopied"])


@pytest.mark.parametrize("fault", ["killed", "restarted"])
def test_a_run_continues_when_the_target_is_back(cli: FerryCli, fault: str) -> None:
    target = cli.pair.target
    cli.spec["throttle"] = SLOWLY
    with cli.process() as process:
        wait_copied(process.start(), 1000)
        away(cli, target, fault, process)
        write(cli, "copying")
        assert process.status()["stage"] == "Copying"
        wait_copied(process, copied(process) + 1000)
        process.post("throttle", {"maxRowsPerSecond": None})
        process.wait_stage(*STREAMING)
        write(cli, "streaming")
        away(cli, target, fault, process)
        write(cli, "streaming on")
        finish(cli, process)
        assert process.starts == 1


@pytest.mark.parametrize("fault", ["killed", "restarted"])
def test_a_run_continues_when_the_source_is_back(cli: FerryCli, fault: str) -> None:
    source = cli.pair.source
    cli.spec["throttle"] = SLOWLY
    with cli.process() as process:
        wait_copied(process.start(), 1000)
        away(cli, source, fault, process)
        write(cli, "copying")
        process.post("throttle", {"maxRowsPerSecond": None})
        process.wait_stage(*STREAMING)
        away(cli, source, fault, process)
        write(cli, "streaming")
        finish(cli, process)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["source", "target"])
def test_a_network_outage_of_20_seconds(cli: FerryCli, end: str) -> None:
    """On one family packets vanish, on the other connections break; the code after that is the same."""
    how = "silent" if cli.pair.family is Family.MYSQL else "refused"
    server = cli.pair.source if end == "source" else cli.pair.target
    cli.spec["throttle"] = SLOWLY
    with Proxy(server.host, server.port) as proxy, closing(server.connect()):
        cli.spec[end]["port"] = proxy.port
        with cli.process() as process:
            wait_copied(process.start(), 1000)
            for mark in ("copying", "streaming"):
                cli.tell(process, f"{end} {how}")
                if how == "silent":
                    proxy.pause()
                else:
                    proxy.refuse()
                    proxy.cut()
                write(cli, mark)
                time.sleep(20)  # duration of the fault
                proxy.resume()
                proxy.accept()
                process.post("throttle", {"maxRowsPerSecond": None})
                process.wait_stage(*STREAMING)
            finish(cli, process)


def test_a_step_is_retried_for_the_configured_time(cli: FerryCli) -> None:
    """Then it exits with 75 and the cause; started again, it resumes."""
    target = cli.pair.target
    cli.spec["throttle"] = SLOWLY
    with cli.process("--retry-for", "3s") as process:
        wait_copied(process.start(), 1000)
        wait_until(lambda: sum(table["rows_copied"] for table in cli.stored()["tables"].values()) >= 1000)
        cli.tell(process, "target stopped")
        began = time.monotonic()
        target.stop()
        stopped(process).refused(75, "ServerUnreachable", "target 127.0.0.1", "refused")
        took = time.monotonic() - began
        assert 3 <= took < 60, took
        target.start()
        kept = process.start().wait_stage("Copying")["progress"]["rowsCopied"]
        assert kept >= 1000
        write(cli, "resumed")
        finish(cli, process)


# -- credentials ------------------------------------------------------------------------------------------------------


def put_secrets(cli: FerryCli, folder: Path, password: str) -> None:
    for role in ("source", "target"):
        secret = folder / f"orders-{role}"
        secret.mkdir(parents=True, exist_ok=True)
        (secret / "username").write_text("rotating")
        (secret / "password").write_text(password)
    cli.documents = cli.documents[:1]


def rotate(servers: Sequence[Server], password: str) -> None:
    """Change the password, and end all sessions with the old one."""
    for server in servers:
        server.execute(f"ALTER USER rotating@'%' IDENTIFIED BY '{password}'")
        server.kill_connections()


@pytest.mark.parametrize("first", ["secrets", "servers"])
@pytest.mark.parametrize("stage", ["Copying", "ReadyForCutover"])
def test_password_rotated(cli: FerryCli, tmp_path: Path, stage: str, first: str) -> None:
    """The new password never reaches both places at once: refused logins are retried meanwhile."""
    servers = (cli.pair.source, cli.pair.target)
    for server in servers:
        server.execute(
            "DROP USER IF EXISTS rotating@'%'",
            "CREATE USER rotating@'%' IDENTIFIED BY 'old'",
            "GRANT ALL ON *.* TO rotating@'%'",
        )
    cli.spec["throttle"] = SLOWLY if stage == "Copying" else {}
    put_secrets(cli, tmp_path / "secrets", "old")
    with cli.process("--secrets-dir", str(tmp_path / "secrets"), "--log-level", "debug") as process:
        wait_copied(process.start(), 1000)
        process.wait_stage(stage)
        cli.tell(process, "password rotated")
        if first == "secrets":
            put_secrets(cli, tmp_path / "secrets", "new")
            for server in servers:
                server.kill_connections()
        else:
            rotate(servers, "new")
        write(cli, "meanwhile")
        refused = re.compile(r"AccessDenied: (?:source|target)")
        wait_until(lambda: len(refused.findall(process.log.read_text())) >= 3)
        if first == "secrets":
            rotate(servers, "new")
        else:
            put_secrets(cli, tmp_path / "secrets", "new")
        write(cli, "afterwards")
        finish(cli, process)
        assert process.starts == 1
