"""The fence on real servers: after a new epoch nothing of an older run commits, however late it wakes up."""

import dataclasses
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from ferry_core.consistency.epochs import Epochs
from ferry_core.consistency.fence import Fence, read_lease
from ferry_core.errors import ConnectionLost, Fenced, FerryError, ServerRestarted, ServerRole
from ferry_core.mysql.identity import KnownServer
from ferry_core.mysql.session import Purpose, Session
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.waits import PATIENCE_SECONDS


@pytest.fixture
def connect(pair: Pair) -> Callable[[], Session]:
    return lambda: Session(pair.target.endpoint("target"), Purpose.TARGET)


@pytest.fixture
def uid() -> str:
    return str(uuid.uuid4())


def take(connect: Callable[[], Session], uid: str) -> Fence:
    return Fence.take(connect, uid, "shop/orders", "source-1")[0]


def test_each_run_takes_the_next_epoch_and_reads_the_last_runs_lease(connect: Callable[[], Session], uid: str) -> None:
    first = take(connect, uid)
    first.record(phase="Copying", tables=["shop.orders"])
    second, lease = Fence.take(connect, uid, "shop/orders", "source-1")
    assert second.epoch == first.epoch + 1
    assert (lease.phase, lease.tables, lease.source_id) == ("Copying", ["shop.orders"], "source-1")


def test_helper_tables_that_another_ferrys_cleanup_drops_are_created_again(
    connect: Callable[[], Session], uid: str, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute, drops = Session.execute, iter(["once"])

    def execute_after_a_drop(session: Session, statement: str | bytes) -> int:
        if isinstance(statement, str) and statement.startswith("INSERT IGNORE"):
            for _ in drops:
                pair.target.execute("DROP TABLE mysql_ferry.checkpoint, mysql_ferry.lease")
        return execute(session, statement)

    monkeypatch.setattr(Session, "execute", execute_after_a_drop)
    fence = take(connect, uid)
    assert list(drops) == []
    assert fence.read().epoch == fence.epoch


def test_an_older_run_cannot_commit_after_its_successor(connect: Callable[[], Session], uid: str, schema: str) -> None:
    old = take(connect, uid)
    with connect() as session:
        session.execute(f"CREATE DATABASE IF NOT EXISTS {schema}")
        session.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
        with old.transaction(session):
            session.execute(f"INSERT INTO {schema}.t VALUES (1)")
        take(connect, uid)
        with pytest.raises(Fenced, match="newer run"), old.transaction(session):
            session.execute(f"INSERT INTO {schema}.t VALUES (2)")
        assert session.number(f"SELECT COUNT(*) FROM {schema}.t") == 1
        with pytest.raises(Fenced):
            old.record(phase="Completed")
        lease = read_lease(session, uid)
        assert lease is not None
        assert lease.phase == "New"


def test_a_run_that_starts_again_leaves_a_newer_run_alone(connect: Callable[[], Session], uid: str) -> None:
    """Otherwise it would fence off a run that somebody has started since."""
    ours = Epochs()
    for _ in range(2):
        own, _ = Fence.take(connect, uid, "shop/orders", "source-1", ours)
    newer = take(connect, uid)
    with pytest.raises(Fenced, match="newer run"):
        Fence.take(connect, uid, "shop/orders", "source-1", ours)
    with pytest.raises(Fenced, match="newer run"):
        own.refuse_newer(ours)
    assert newer.read().epoch == newer.epoch


@pytest.mark.parametrize("committed", [True, False])
def test_an_epoch_whose_answer_was_lost_is_not_a_newer_runs(pair: Pair, uid: str, *, committed: bool) -> None:
    """A start that does not know whether it has taken an epoch goes on, and gives way only to another process."""
    ours = Epochs()
    with Proxy(pair.target.host, pair.target.port) as proxy:
        endpoint = dataclasses.replace(pair.target.endpoint("target"), host=proxy.host, port=proxy.port)
        first, _ = Fence.take(lambda: Session(endpoint, Purpose.TARGET), uid, "shop/orders", "source-1", ours)

        def lose_the_answer() -> None:
            proxy.hold(b"\x03COMMIT")
            with ThreadPoolExecutor(1) as pool:
                taking = pool.submit(Fence.take, first._connect, uid, "shop/orders", "source-1", ours)
                proxy.wait_held()
                proxy.cut_clients() if committed else proxy.cut()
                proxy.release()
                with pytest.raises(ConnectionLost):
                    taking.result(PATIENCE_SECONDS)

        lose_the_answer()
        first.refuse_newer(ours)
        second, before = Fence.take(first._connect, uid, "shop/orders", "source-1", ours)
        assert (before.epoch, second.epoch) == ((2, 3) if committed else (1, 2))
        lose_the_answer()
        take(lambda: Session(pair.target.endpoint("target"), Purpose.TARGET), uid)
        with pytest.raises(Fenced, match="newer run"):
            Fence.take(first._connect, uid, "shop/orders", "source-1", ours)


def test_after_a_restart_of_the_target_everything_but_the_cutover_still_works(pair: Pair, uid: str) -> None:
    """The source must be unlocked even then, but earlier proofs may no longer hold."""
    known = KnownServer(ServerRole.TARGET, 60)
    endpoint = dataclasses.replace(pair.target.endpoint("target"), known=known, any_start=True)
    fence = take(lambda: Session(endpoint, Purpose.TARGET), uid)
    with Session(endpoint, Purpose.CONTROL) as session:
        known.learn(session.identity._replace(start="an earlier one"))
    fence.record(phase="CuttingOver")
    with pytest.raises(ServerRestarted):
        fence.complete()
    assert not fence.completed()
    fence.record(phase="Streaming")
    assert fence.read().phase == "Streaming"


def test_a_transaction_under_way_is_killed_by_the_successor(
    connect: Callable[[], Session], uid: str, schema: str
) -> None:
    old = take(connect, uid)
    with connect() as other:
        other.execute(f"CREATE DATABASE IF NOT EXISTS {schema}")
        other.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
    session = connect()
    old.enrol(session)
    opened = threading.Event()
    overtaken = threading.Event()
    outcome: list[FerryError] = []

    def zombie() -> None:
        try:
            with old.transaction(session):
                session.execute(f"INSERT INTO {schema}.t VALUES (1)")
                opened.set()
                overtaken.wait(PATIENCE_SECONDS)
        except FerryError as error:
            outcome.append(error)

    thread = threading.Thread(target=zombie)
    thread.start()
    assert opened.wait(PATIENCE_SECONDS)
    take(connect, uid)
    overtaken.set()
    thread.join(PATIENCE_SECONDS)
    assert isinstance(outcome[0], ConnectionLost)
    with connect() as other:
        assert other.number(f"SELECT COUNT(*) FROM {schema}.t") == 0


def test_a_lost_connection_is_proven_ended_before_anything_is_retried(
    connect: Callable[[], Session], uid: str, schema: str
) -> None:
    fence = take(connect, uid)
    with connect() as other:
        other.execute(f"CREATE DATABASE IF NOT EXISTS {schema}")
        other.execute(f"CREATE TABLE {schema}.t (id INT PRIMARY KEY)")
        orphan = connect()
        slot = fence.enrol(orphan)
        transaction = fence.transaction(orphan)
        transaction.__enter__()
        orphan.execute(f"INSERT INTO {schema}.t VALUES (1)")
        fence.prove_ended(orphan.connection_id, slot)
        with pytest.raises(ConnectionLost):
            orphan.commit()
        assert other.number(f"SELECT COUNT(*) FROM {schema}.t") == 0


def test_a_removed_lease_row_means_fenced(connect: Callable[[], Session], uid: str) -> None:
    fence = take(connect, uid)
    with connect() as session:
        session.execute(f"DELETE FROM mysql_ferry.lease WHERE ferry_uid = '{uid}'")
        with pytest.raises(Fenced, match="gone"), fence.transaction(session):
            raise AssertionError("must not get here")


def test_a_run_kills_only_its_own_statements(connect: Callable[[], Session], uid: str) -> None:
    older = take(connect, uid)

    def wait() -> None:
        with connect() as session, older.hold(session):
            session.query("SELECT SLEEP(600)")

    with ThreadPoolExecutor(1) as pool, connect() as looking:
        waiting = pool.submit(wait)
        while not looking.query("SELECT id FROM information_schema.processlist WHERE info = 'SELECT SLEEP(600)'"):
            assert not waiting.done(), waiting.exception()
            time.sleep(0.05)
        older.end_statements()
        assert isinstance(waiting.exception(PATIENCE_SECONDS), FerryError)
    take(connect, uid)
    with pytest.raises(Fenced):
        older.end_statements()


def test_a_new_epoch_waits_for_running_ddl(connect: Callable[[], Session], uid: str) -> None:
    fence = take(connect, uid)
    successor: list[Fence] = []
    with connect() as working, fence.hold(working):
        thread = threading.Thread(target=lambda: successor.append(take(connect, uid)))
        thread.start()
        thread.join(1.0)
        assert not successor, "the bump did not wait"
    thread.join(PATIENCE_SECONDS)
    assert successor[0].epoch == fence.epoch + 1
