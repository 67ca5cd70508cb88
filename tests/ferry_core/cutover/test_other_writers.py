"""Replication that begins on the source after preflight: asked again under the lock."""

import contextlib
from collections.abc import Iterator

import pytest

from hack.servers import Family
from tests.support.attempts import Bench
from tests.support.engine import wait_until
from tests.support.servers import Server

NOWHERE = "'127.0.0.1'"


@contextlib.contextmanager
def replicating(server: Server, channel: str, threads: str) -> Iterator[None]:
    """From a primary that does not answer: its threads run all the same."""
    if server.family is Family.MYSQL:
        of = f" FOR CHANNEL '{channel}'"
        setup = f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = {NOWHERE}, SOURCE_PORT = 1, SOURCE_USER = 'nobody'{of}"
        start, stop = f"START REPLICA {threads}{of}", f"STOP REPLICA{of}"
        forget = f"RESET REPLICA ALL{of}"
    else:
        setup = f"CHANGE MASTER '{channel}' TO MASTER_HOST = {NOWHERE}, MASTER_PORT = 1, MASTER_USER = 'nobody'"
        start, stop = f"START SLAVE '{channel}' {threads}", f"STOP SLAVE '{channel}'"
        forget = f"RESET SLAVE '{channel}' ALL"
    server.execute(setup, start)
    try:
        yield
    finally:
        server.execute(stop, forget)


@pytest.mark.parametrize("channel", ["", "second"])
@pytest.mark.parametrize("threads", ["IO_THREAD", "SQL_THREAD"])
def test_replication_that_runs_on_the_source_by_now_refuses_the_attempt(
    bench: Bench, channel: str, threads: str
) -> None:
    with replicating(bench.pair.source, channel, threads):
        tried = bench.handover().attempt()
        assert tried.reason == "SourceIsReplica"
        assert "STOP REPLICA" in tried.message
        assert not bench.read_only()
    assert bench.handover().attempt().done


def test_replication_that_starts_under_the_lock_refuses_the_attempt(bench: Bench) -> None:
    """After the first look: the second one is right before the record."""
    with contextlib.ExitStack() as stack:
        bench.steps["proving"] = lambda: stack.enter_context(replicating(bench.pair.source, "", "SQL_THREAD"))
        assert bench.handover().attempt().reason == "SourceIsReplica"
    wait_until(lambda: not bench.read_only(), "writes are allowed again")
