"""The signals that ask servers, on real ones: each holds rows back, says why, and lets them go on."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ferry_core.api.spec import Throttle as Settings
from ferry_core.consistency.commit_probe import change_probe
from ferry_core.consistency.own_tables import DDL
from ferry_core.errors import ServerRole
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Purpose, Session
from ferry_core.throttle import Throttle, commit_latency, query, replica_lag, threads_running
from ferry_core.throttle.probe import Probe, UnknownValueError
from ferry_core.throttle.signal import Kind, Limited
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.replication import replicating
from tests.support.servers import Pair, Server, slow_commits
from tests.support.waits import wait_until

Ask = Callable[[Session, str], float]


class Watched:
    """A throttle with one signal, evaluated as often as a condition is looked at."""

    def __init__(self, kind: Kind, ask: Ask, endpoint: Endpoint, where: str = "") -> None:
        self.throttle = Throttle()
        connect = partial(Session, endpoint, Purpose.CONTROL, connect_timeout=30, read_timeout=30)
        self.throttle.watch([Limited(kind, Probe("test", connect, ask, 0.1), where)])

    def apply(self, **settings: Any) -> None:
        self.throttle.apply(Settings.model_validate(settings))

    def reason(self) -> str:
        """Empty while nothing is throttled, or the first answer is awaited."""
        self.throttle.evaluate()
        assert self.throttle._holding or not self.throttle._reported
        (reason,) = [hold.reason for name, hold in self.throttle._tracker._holds.items() if self._on(name)] or [""]
        return reason

    def _on(self, name: str) -> bool:
        return name in self.throttle._reported

    def wait(self, words: str) -> str:
        """Until it throttles with these words in its reason."""
        wait_until(lambda: words in self.reason(), f"throttled: {words}")
        return self.reason()

    def wait_free(self) -> None:
        def free() -> bool:
            return not self.reason() and not self.throttle._holding

        wait_until(free, "not throttled")


@pytest.fixture
def watch() -> Iterator[Callable[..., Watched]]:
    with ExitStack() as closed:

        def make(*given: Any) -> Watched:
            watched = Watched(*given)
            closed.callback(watched.throttle.close)
            return watched

        yield make


@pytest.fixture
def replica(pair: Pair, make_server: ServerFactory) -> Server:
    return make_server(pair.family.value)


def test_a_replica_that_lags(pair: Pair, replica: Server, schema: str, watch: Callable[..., Watched]) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    replica.execute(f"CREATE DATABASE {schema}", f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    privilege = "REPLICATION CLIENT" if pair.family is Family.MYSQL else "REPLICA MONITOR"
    replica.execute("CREATE USER watcher IDENTIFIED BY 'own-password'", f"GRANT {privilege} ON *.* TO watcher")
    endpoint = replace(replica.endpoint("replica"), user="watcher", password="own-password")
    watched = watch(replica_lag.KIND, replica_lag.ask, endpoint, endpoint.address)
    watched.apply(maxReplicaLag="1s")
    assert "it does not replicate from any server" in watched.wait("replica-lag unknown > 1s")
    with replicating(pair.source, replica) as replication:
        watched.wait_free()
        with replication.held_up():
            pair.source.execute(f"INSERT INTO {schema}.t VALUES (1)")
            reason = watched.wait("s > 1s")
            assert reason.startswith("replica-lag ")
            assert reason.endswith(f"({endpoint.address})")
            watched.apply(maxReplicaLag="24h")
            watched.wait_free()
            watched.apply(maxReplicaLag="1s")
            watched.wait("s > 1s")
        watched.wait_free()
        replication.stop_applying()
        assert "is not running" in watched.wait("replica-lag unknown")
        replication.apply_again()
        watched.wait_free()
    replica.stop()
    watched.wait("replica-lag unknown")
    watched.apply()
    watched.wait_free()


def test_threads_running(pair: Pair, watch: Callable[..., Watched]) -> None:
    watched = watch(threads_running.kind(ServerRole.SOURCE), threads_running.ask, pair.source.endpoint(), "source")
    watched.apply(maxThreadsRunning={"target": 1})
    watched.wait_free()
    watched.apply(maxThreadsRunning={"source": 30})
    watched.wait_free()
    with ExitStack() as opened:
        for _ in range(40):
            connection = opened.enter_context(closing(pair.source.connect()))
            connection._execute_command(3, "DO SLEEP(600)")  # type: ignore[attr-defined]
            ident = connection.thread_id()  # type: ignore[no-untyped-call]
            opened.callback(pair.source.execute, f"KILL {ident}")
        assert watched.wait("> 30").startswith("threads-running ")
        assert watched.reason().endswith("(source)")
    watched.wait_free()


def test_a_query(pair: Pair, schema: str, watch: Callable[..., Watched]) -> None:
    pair.source.execute(f"CREATE TABLE {schema}.gate (busy INT)", f"INSERT INTO {schema}.gate VALUES (0)")
    watched = watch(query.KIND, query.ask, pair.source.endpoint())
    watched.apply(query=f"SELECT busy FROM {schema}.gate")
    watched.wait_free()
    pair.source.execute(f"UPDATE {schema}.gate SET busy = 1")
    watched.wait("query true > false")
    pair.source.execute(f"UPDATE {schema}.gate SET busy = 0")
    watched.wait_free()
    for statement, why in (
        ("SELECT NULL", "it returned NULL"),
        ("SELECT 1, 2", "it must return one value"),
        ("SELECT 'yes'", "it must return a number"),
        (f"SELECT busy FROM {schema}.gate WHERE busy > 5", "it must return one value"),
        (f"SELECT busy FROM {schema}.missing", "missing"),
        (f"INSERT INTO {schema}.gate VALUES (1)", ""),
        ("SELECT SLEEP(600) + 1 FROM information_schema.tables", ""),
    ):
        watched.apply(query=statement)
        assert why in watched.wait("query unknown > false")
    assert pair.source.value(f"SELECT COUNT(*) FROM {schema}.gate") == 1
    watched.apply(query="SELECT 0")
    watched.wait_free()


def test_a_query_that_hangs_is_asked_once_at_a_time(pair: Pair, schema: str, watch: Callable[..., Watched]) -> None:
    """A table that somebody has locked must not collect the questions about it."""
    source = pair.source
    source.execute(f"CREATE TABLE {schema}.gate (busy INT)", f"INSERT INTO {schema}.gate VALUES (0)")
    watched = watch(query.KIND, query.ask, source.endpoint())
    text = f"SELECT busy FROM {schema}.gate WHERE 'hanging' = 'hanging'"
    listed = f"SELECT COUNT(*) FROM information_schema.processlist WHERE info = {string(text)}"
    watched.apply(query=text)
    watched.wait_free()
    with closing(source.connect()) as connection:
        connection.cursor().execute(f"LOCK TABLES {schema}.gate WRITE")
        watched.wait("query unknown > false")
        most, asked_until = 0, time.monotonic() + 8
        while time.monotonic() < asked_until:
            most = max(most, int(source.value(listed)))
            assert watched.throttle._holding
        assert most <= 1
    watched.wait_free()
    wait_until(lambda: int(source.value(listed)) == 0, "no question is left")


def test_a_query_reads_no_whole_table_into_memory(pair: Pair, schema: str) -> None:
    values = ", ".join(f"({number})" for number in range(1000))
    pair.source.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)", f"INSERT INTO {schema}.t VALUES {values}")
    with Session(pair.source.endpoint(), Purpose.CONTROL) as session:
        with pytest.raises(UnknownValueError):
            query.ask(session, f"SELECT id FROM {schema}.t")
        assert len(session.fetched()) == 0, "the transaction is over"
        assert session.number("SELECT @@SESSION.sql_select_limit") == 2


def test_commit_latency_slows_the_copy_down_before_it_stops_it(pair: Pair, watch: Callable[..., Watched]) -> None:
    target = pair.target
    target.execute(*DDL)
    latency = commit_latency.CommitLatency(partial(change_probe, uid="test-commit-latency"))
    watched = watch(commit_latency.KIND, latency.ask, target.endpoint("target"))

    def speed() -> float:
        watched.reason()
        return watched.throttle.observed().speed

    try:
        target.execute(*slow_commits(target, 900))
        watched.apply(maxCommitLatency="1500ms")
        wait_until(lambda: speed() < 1, "the copy is slower")
        assert watched.throttle.workers(8) < 8
        watched.apply(maxCommitLatency="100ms")
        assert watched.wait("> 100ms").startswith("commit-latency ")
    finally:
        target.execute(*slow_commits(target, 0))
    watched.apply(maxCommitLatency="1m")
    watched.wait_free()
    wait_until(lambda: speed() == 1, "the copy is as fast as before")
    assert watched.throttle.workers(8) == 8
