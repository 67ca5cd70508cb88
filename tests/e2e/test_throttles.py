"""What throttles a whole run: a real replica that lags, each signal while the run goes on; and what none throttles."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.e2e.test_directive import put
from tests.support.compare import assert_equal_schemas
from tests.support.ferry_cli import FerryCli, FerryProcess, ferry
from tests.support.replication import replicating
from tests.support.servers import Pair, Server, slow_commits
from tests.support.waits import wait_until

ROWS = 100


def lag(replica: Server) -> float:
    statement = "SHOW REPLICA STATUS" if replica.family is Family.MYSQL else "SHOW SLAVE STATUS"
    return float(replica.query(statement)[0][32] or 0)


def test_a_replica_that_lags_holds_the_copy_back(
    pair: Pair, schema: str, make_server: ServerFactory, tmp_path: Path
) -> None:
    replica = make_server(pair.family.value)
    privilege = "REPLICATION CLIENT" if pair.family is Family.MYSQL else "REPLICA MONITOR"
    replica.execute("CREATE USER watcher IDENTIFIED BY 'own-password'", f"GRANT {privilege} ON *.* TO watcher")
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    replica.execute(f"CREATE DATABASE {schema}", f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover={"mode": "Automatic", "watchFor": "0s"})
    # The test's MariaDB has no certificate.
    tls = {"mode": "Required" if pair.family is Family.MYSQL else "Disabled"}
    own = {"credentialsSecretRef": {"name": "watcher"}, "tls": tls}
    cli.spec["source"]["replicas"] = [{"host": replica.host, "port": replica.port} | own]
    cli.spec["throttle"] = {"maxReplicaLag": "2s"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "watcher", "namespace": "tests"}}
    cli.documents = (*cli.documents, secret | {"stringData": {"username": "watcher", "password": "own-password"}})
    with replicating(pair.source, replica) as replication, cli.process("--log-level", "debug") as process:
        with replication.held_up():
            values = ", ".join(f"({number})" for number in range(ROWS))
            pair.source.execute(f"INSERT INTO {schema}.t VALUES {values}")
            wait_until(lambda: lag(replica) > 2, "the replica lags")
            process.start()
            status = process.wait_status(lambda status: status["throttle"]["active"])
            print(json.dumps(status["throttle"]))
            assert status["throttle"]["reason"].startswith("replica-lag ")
            assert "> 2s" in status["throttle"]["reason"]
            (condition,) = [one for one in status["conditions"] if one["type"] == "Throttled"]
            assert (condition["status"], condition["reason"]) == ("True", "ReplicaLag")
            assert pair.target.value(f"SELECT COUNT(*) FROM {schema}.t") == 0
        process.succeed()
    assert "own-password" not in process.tail(10_000)
    assert_equal_schemas(pair.source, pair.target, schema)


OUTSIDE = datetime.now(UTC) + timedelta(hours=3)
HOURS = f"{OUTSIDE:%H:%M}-{OUTSIDE + timedelta(hours=3):%H:%M} UTC"


@contextmanager
def busy(server: Server, threads: int) -> Iterator[None]:
    """While entered, that many threads of the server do something."""
    with ExitStack() as opened:
        for _ in range(threads):
            connection = opened.enter_context(closing(server.connect()))
            connection._execute_command(3, "DO SLEEP(3600)")  # type: ignore[attr-defined]
            opened.callback(server.execute, f"KILL {connection.thread_id()}")  # type: ignore[no-untyped-call]
        yield


def throttled_by(process: FerryProcess, throttle: dict[str, Any], words: str) -> None:
    """Send a directive, as the operator does after ``kubectl patch``, and wait for the reason that it leads to."""
    put(process, {"generation": 2, "throttle": throttle, "cutover": {"mode": "Automatic", "watchFor": "0s"}})
    status = process.wait_status(lambda status: words in (status["throttle"]["reason"] or ""))
    print(status["throttle"]["reason"], "|", status["message"])


def test_each_signal_can_be_changed_during_a_run(pair: Pair, schema: str, tmp_path: Path) -> None:
    values = ", ".join(f"({number})" for number in range(ROWS))
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)", f"INSERT INTO {schema}.t VALUES {values}")
    cli = FerryCli(tmp_path / "ferry", pair, schema, throttle={"query": "SELECT 1"})
    with ExitStack() as slowed, cli.process() as process:
        status = process.start().wait_status(lambda status: status["throttle"]["active"])
        assert status["throttle"]["reason"] == "query true > false"
        for_ever = not int(pair.source.value("SELECT @@GLOBAL.binlog_expire_logs_seconds"))
        kept = "" if for_ever else "; source keeps binlogs for another "
        process.wait_status(lambda status: status["message"].startswith(f"throttled by query true > false{kept}"))
        throttled_by(process, {"activeHours": HOURS}, f" outside {HOURS}")
        throttled_by(process, {"maxReplicaLag": "1s"}, "replica-lag unknown > 1s")
        with busy(pair.source, 20):
            throttled_by(process, {"maxThreadsRunning": {"source": 15}}, "> 15 (source)")
        with busy(pair.target, 20):
            throttled_by(process, {"maxThreadsRunning": {"target": 15}}, "> 15 (target)")
        slowed.callback(pair.target.execute, *slow_commits(pair.target, 0))
        pair.target.execute(*slow_commits(pair.target, 300))
        throttled_by(process, {"maxCommitLatency": "100ms"}, "> 100ms")
        assert process.status()["progress"]["rowsCopied"] == 0
        assert pair.target.value(f"SELECT COUNT(*) FROM {schema}.t") == 0
        slowed.close()
        put(process, {"generation": 2, "cutover": {"mode": "Automatic", "watchFor": "0s"}})
        process.succeed()
    assert_equal_schemas(pair.source, pair.target, schema)
    log = process.tail(500)
    assert log.count("throttled: query true > false") == 1, "each decision is logged once"


def test_a_cutover_attempt_is_not_throttled(pair: Pair, schema: str, tmp_path: Path) -> None:
    """Writes on the source would wait for the throttle to end."""
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)", f"INSERT INTO {schema}.t VALUES (0)")
    cutover = {"maxLag": "10m", "watchFor": "0s"}
    cli = FerryCli(tmp_path / "ferry", pair, schema, cutover=cutover)
    with cli.process() as process:
        process.start_streaming()
        server = f"http://127.0.0.1:{process.port}"
        told = ferry("throttle", "--server", server, "--active-hours", HOURS, cwd=tmp_path).stdout
        assert told == f"no limit of rows/s; activeHours {HOURS}\n"
        process.wait_status(lambda status: status["throttle"]["active"])
        pair.source.execute(*(f"INSERT INTO {schema}.t VALUES ({number})" for number in range(1, ROWS)))
        process.wait_status(lambda status: status["replication"]["pendingKeys"] == ROWS - 1)
        assert pair.target.value(f"SELECT COUNT(*) FROM {schema}.t") == 1
        print(process.cut_over())
    assert_equal_schemas(pair.source, pair.target, schema)
    assert pair.target.value(f"SELECT COUNT(*) FROM {schema}.t") == ROWS
