"""Replication that begins on the source after preflight: asked again under the lock."""

import contextlib
import uuid
from collections.abc import Callable, Iterator

import pytest

from hack.servers import Family
from tests.support.cutover_in_process import CutoverInProcess
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


def test_unlogged_replication_fails_the_attempt_even_when_stopped(
    make_server: Callable[..., Server], pair: Pair, schema: str
) -> None:
    """It was set up after preflight: what it may have written is in no event."""
    logs = "log_replica_updates" if pair.family is Family.MYSQL else "log_slave_updates"
    source = make_server(pair.family, **{logs: False})
    accounts = [f"'clerk'@'{host}'" for host in ("localhost", "%")]
    source.execute(
        f"CREATE DATABASE `{schema}`", *(f"CREATE USER {account} IDENTIFIED BY 'pw'" for account in accounts)
    )
    source.execute(*(f"GRANT INSERT ON `{schema}`.* TO {account}" for account in accounts))
    with CutoverInProcess(Pair(source, pair.target), schema, "clerk") as cutover:
        with replicating(source, "", None):
            tried = cutover.attempt(PATIENT).run()
            assert tried.reason == "ReplicaChangesNotLogged", tried
            assert "start over with a fresh copy" in tried.message
            assert not cutover.read_only()
        assert cutover.attempt(PATIENT).run().done


@pytest.mark.parametrize("pair", ["mysql"], indirect=True)
def test_transactions_that_no_binlog_holds_fail_the_attempt_at_once(cutover: CutoverInProcess) -> None:
    """As after a dump with its GTIDs was loaded into the source: the stream would be waited for until the deadline."""
    cutover.pair.source.execute(f"SET GLOBAL gtid_purged = '+{uuid.uuid4()}:1-7'")
    tried = cutover.attempt(PATIENT).run()
    assert tried.reason == "SourceBinlogPurged", tried
    assert ":1-7" in tried.message
    assert tried.blocked_milliseconds < PATIENT * 1000 / 2
    assert not cutover.read_only()
