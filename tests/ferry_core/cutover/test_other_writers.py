"""Replication that begins on the source after preflight: asked again under the lock."""

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.cutover_in_process import CutoverInProcess
from tests.support.replication import replicate
from tests.support.servers import Pair, Server
from tests.support.waits import wait_until

NOWHERE = "'127.0.0.1'"
PATIENT = 120.0
"""No attempt here ends by its deadline."""


@contextlib.contextmanager
def replicating(server: Server, channel: str, threads: str | None) -> Iterator[None]:
    """From a primary that does not answer: its threads run all the same. Without ``threads`` it is set up only."""
    if server.family is Family.MYSQL:
        of = f" FOR CHANNEL '{channel}'"
        setup = f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = {NOWHERE}, SOURCE_PORT = 1, SOURCE_USER = 'nobody'{of}"
        start, stop = f"START REPLICA {threads}{of}", f"STOP REPLICA{of}"
        forget = f"RESET REPLICA ALL{of}"
    else:
        setup = f"CHANGE MASTER '{channel}' TO MASTER_HOST = {NOWHERE}, MASTER_PORT = 1, MASTER_USER = 'nobody'"
        start, stop = f"START SLAVE '{channel}' {threads}", f"STOP SLAVE '{channel}'"
        forget = f"RESET SLAVE '{channel}' ALL"
    server.execute(setup, *([start] if threads is not None else []))
    try:
        yield
    finally:
        server.execute(stop, forget)


@pytest.mark.parametrize("channel", ["", "second"])
@pytest.mark.parametrize("threads", ["IO_THREAD", "SQL_THREAD"])
def test_replication_running_on_the_source_fails_the_attempt(
    cutover: CutoverInProcess, channel: str, threads: str
) -> None:
    with replicating(cutover.pair.source, channel, threads):
        tried = cutover.attempt(PATIENT).run()
        assert tried.reason == "SourceIsReplica"
        assert "STOP REPLICA" in tried.message
        assert not cutover.read_only()
    assert cutover.attempt(PATIENT).run().done


def test_replication_that_starts_under_the_lock_fails_the_attempt(cutover: CutoverInProcess) -> None:
    """After the first look: the second one is right before the record."""
    with contextlib.ExitStack() as stack:
        cutover.steps["proving"] = lambda: stack.enter_context(replicating(cutover.pair.source, "", "SQL_THREAD"))
        assert cutover.attempt(PATIENT).run().reason == "SourceIsReplica"
    wait_until(lambda: not cutover.read_only(), "writes are allowed again")


@contextlib.contextmanager
def replica(make_server: ServerFactory, pair: Pair, schema: str, *, logs: bool) -> Iterator[CutoverInProcess]:
    """The source is not a replica when the run starts. ``logs``: whether it logs what it applies later."""
    setting = "log_replica_updates" if pair.family is Family.MYSQL else "log_slave_updates"
    source = make_server(pair.family, **{setting: logs})
    accounts = [f"'clerk'@'{host}'" for host in ("localhost", "%")]
    source.execute(
        f"CREATE DATABASE `{schema}`", *(f"CREATE USER {account} IDENTIFIED BY 'pw'" for account in accounts)
    )
    source.execute(*(f"GRANT INSERT ON `{schema}`.* TO {account}" for account in accounts))
    with CutoverInProcess(Pair(source, pair.target), schema, "clerk") as cutover:
        yield cutover


def test_unlogged_replication_fails_the_attempt_even_when_stopped(
    make_server: ServerFactory, pair: Pair, schema: str
) -> None:
    """It was set up after preflight: what it may have written is in no event."""
    with replica(make_server, pair, schema, logs=False) as cutover:
        with replicating(cutover.pair.source, "", None):
            tried = cutover.attempt(PATIENT).run()
            assert tried.reason == "ReplicaChangesNotLogged", tried
            assert "start over with a fresh copy" in tried.message
            assert not cutover.read_only()
        assert cutover.attempt(PATIENT).run().done


@pytest.fixture(scope="module")
def primary(pair: Pair, make_module_server: ServerFactory) -> Server:
    """On MariaDB it has its own domain, because gtid_strict_mode refuses numbers lower than the replica's."""
    return make_module_server(pair.family, **({} if pair.family is Family.MYSQL else {"gtid_domain_id": 7}))


@pytest.mark.parametrize("logs", [False, True], ids=["not logged", "logged"])
def test_unlogged_replication_fails_the_attempt_even_when_removed(
    make_server: ServerFactory, pair: Pair, primary: Server, schema: str, logs: bool
) -> None:
    """The server lists no channel any more, and a row that was already compared has changed."""
    with replica(make_server, pair, schema, logs=logs) as cutover:
        rows = f"`{schema}`.t"
        primary.execute("SET sql_log_bin = 0", f"CREATE DATABASE `{schema}`")
        primary.execute("SET sql_log_bin = 0", f"CREATE TABLE {rows} (id INT PRIMARY KEY, v INT)")
        primary.execute("SET sql_log_bin = 0", f"INSERT INTO {rows} VALUES (1, 1)")
        replicate(primary, cutover.pair.source, f"UPDATE {rows} SET v = 9 WHERE id = 1")
        if logs:
            cutover.run.quiet()
        tried = cutover.attempt(PATIENT).run()
        assert cutover.pair.target.value(f"SELECT v FROM {rows} WHERE id = 1") == (9 if logs else 1)
        if logs:
            assert tried.done, tried
        else:
            known = pair.family is Family.MYSQL
            assert tried.reason == ("SourceBinlogPurged" if known else "ReplicaChangesNotLogged"), tried
            assert "start over with a fresh copy" in tried.message
            assert not cutover.read_only()


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
def test_transactions_that_no_binlog_holds_fail_the_attempt_at_once(cutover: CutoverInProcess) -> None:
    """As after a dump with its GTIDs was loaded into the source: the stream would be waited for until the deadline."""
    cutover.pair.source.execute(f"SET GLOBAL gtid_purged = '+{uuid.uuid4()}:1-7'")
    tried = cutover.attempt(PATIENT).run()
    assert tried.reason == "SourceBinlogPurged", tried
    assert ":1-7" in tried.message
    assert tried.blocked_milliseconds < PATIENT * 1000 / 2
    assert not cutover.read_only()
