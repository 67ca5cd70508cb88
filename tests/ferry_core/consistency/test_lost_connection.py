"""A target connection breaks while its COMMIT may still succeed: its window stays open until it is proven ended."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ferry_core.consistency import table_locks
from ferry_core.consistency.gate import TableGate
from ferry_core.errors import ConnectionLost, ResourceExhausted, TooLarge
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.retries import Retries
from ferry_core.rows.copier import RowCopier
from ferry_core.tables.table import KeySet, TableName
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.proxy import Proxy
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.tables import simple_table
from tests.support.waits import Background, wait_until

TABLE = "id INT NOT NULL PRIMARY KEY, v INT"
ROWS = "(1, 10), (2, 20), (3, 30)"

SETTINGS = 1
"""Statements containing COMMIT that a new session sends before its first one: the isolation level's name."""
THROUGH_PROXY = threading.local()


@pytest.fixture
def proxy(pair: Pair) -> Iterator[Proxy]:
    with Proxy(pair.target.host, pair.target.port) as proxy:
        yield proxy


def run_through(proxy: Proxy, pair: Pair, schema: str, state: StartState | None = None) -> EngineInProcess:
    """Threads that set ``THROUGH_PROXY.on`` reach the target through the proxy, all others directly."""
    direct = pair.target.endpoint("target")
    proxied = Endpoint(direct.role, proxy.host, proxy.port, direct.user, direct.password, trusts_public_key=True)
    return EngineInProcess(
        pair,
        schema,
        state,
        target=lambda: proxied if getattr(THROUGH_PROXY, "on", False) else direct,
    )


def by_proxy(body: Callable[[], object]) -> Background:
    def run() -> None:
        THROUGH_PROXY.on = True
        body()

    return Background(run)


def chunk_by_proxy(run: EngineInProcess) -> Background:
    def body() -> None:
        pair = run.engine._pair()
        while not run.chunks.all_done:  # one that waits for a session gives way to a flush, and is copied after it
            if (chunk := run.engine._next_chunk(pair)) is not None:
                run.engine._copy_chunk(pair, *chunk)

    return by_proxy(body)


FATES = pytest.mark.parametrize("lands", [True, False], ids=["the commit lands", "the commit is dropped"])


@FATES
def test_a_chunk_whose_commit_may_still_succeed(pair: Pair, schema: str, proxy: Proxy, lands: bool) -> None:
    make_table(pair, schema, TABLE, ROWS)
    with run_through(proxy, pair, schema) as run:
        run.stream()
        assert run.make_readable()
        proxy.hold(b"COMMIT", skip=SETTINGS)
        chunk = chunk_by_proxy(run)
        proxy.wait_held()
        pair.source.execute(f"DELETE FROM {run.table.source.sql} WHERE id = 2")
        run.pending(1)
        proxy.refuse()  # nobody can find out yet how the commit ended
        proxy.cut_clients()
        flush = run.flush()
        assert flush.stays(), "the window was closed although the commit may still land"
        assert chunk.running
        assert run.rows() == []
        if lands:
            proxy.release()
            wait_until(lambda: len(run.rows()) == 3, "the held commit lands, with the deleted row")
            assert flush.stays(0.5), "the window was closed before it was known how the commit ended"
        proxy.accept()
        chunk.join()
        flush.join()
        if not lands:
            proxy.release()  # to a connection that was killed
        assert any(isinstance(error, ConnectionLost) for error in run.errors)
        assert run.buffer.pending_keys() == 0
        assert run.chunks.all_done
        run.equal()


@FATES
def test_a_batch_whose_commit_may_still_succeed(pair: Pair, schema: str, proxy: Proxy, lands: bool) -> None:
    name = make_table(pair, schema, TABLE, ROWS, on_target=True)
    with run_through(proxy, pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        pair.source.execute(f"UPDATE {name} SET v = v + 1")
        run.pending(3)
        before = run.buffer.checkpoint_mark()
        proxy.hold(b"COMMIT", skip=SETTINGS)
        copy = run.engine._copy_keys

        def copy_by_proxy(*arguments: object) -> bool:
            THROUGH_PROXY.on = True
            return copy(*arguments)  # type: ignore[arg-type]

        flush = Background(lambda: run.flusher(copy_by_proxy).flush(run.move))
        proxy.wait_held()
        pair.source.execute(f"DELETE FROM {name} WHERE id = 2")
        run.pending(4)
        proxy.refuse()
        proxy.cut_clients()
        later = run.flush()
        assert later.stays(), "the next generation began although the commit may still land"
        assert run.buffer.checkpoint_mark() == before
        if lands:
            proxy.release()
            wait_until(lambda: run.rows("v") == [(11,), (21,), (31,)], "the held commit lands")
            assert later.stays(0.5)
        proxy.accept()
        flush.join()
        later.join()
        if not lands:
            proxy.release()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == [(1, 11), (3, 31)]
        run.equal()


def test_a_window_that_cannot_be_proven_ended_stays_shut_when_its_thread_gives_up(
    pair: Pair, schema: str, proxy: Proxy
) -> None:
    """The run ends then; until it has ended, nobody may write what that window read."""
    make_table(pair, schema, TABLE, ROWS)
    with run_through(proxy, pair, schema) as run:
        run.engine._step._retries = Retries(0.5, run.engine.ending)
        run.stream()
        assert run.make_readable()
        proxy.hold(b"COMMIT", skip=SETTINGS)
        chunk = chunk_by_proxy(run)
        proxy.wait_held()
        pair.source.execute(f"DELETE FROM {run.table.source.sql} WHERE id = 2")
        run.pending(1)
        flush = run.flush()
        proxy.refuse()
        proxy.cut_clients()
        with pytest.raises(ConnectionLost):
            chunk.join()
        assert flush.stays(), "the gate was opened although the commit may still land"
        proxy.release()
        wait_until(lambda: len(run.rows()) == 3, "the held commit lands")
        left = run.checkpoint()
        run.engine.ending.cancel()
        flush.join()
    with EngineInProcess(pair, schema, left) as resumed:
        resumed.go()
        resumed.quiet()
        assert resumed.rows() == [(1, 10), (3, 30)]
        resumed.equal()


def test_only_the_holder_of_a_slot_is_killed(pair: Pair, schema: str) -> None:
    """After a restart of the server the id of a lost connection belongs to another one."""
    make_table(pair, schema, TABLE, ROWS)
    with EngineInProcess(pair, schema) as run, run.connections.target() as innocent, run.connections.target() as lost:
        slot = run.fence.enrol(lost)
        run.fence.prove_ended(innocent.connection_id, slot)
        assert innocent.number("SELECT 1") == 1
        run.fence.prove_ended(lost.connection_id, slot)
        with pytest.raises(ConnectionLost):
            lost.number("SELECT 1")


def test_a_killed_connections_slot_is_not_given_to_the_next_one_while_the_server_holds_it(
    pair: Pair, schema: str
) -> None:
    make_table(pair, schema, TABLE, ROWS)
    with EngineInProcess(pair, schema) as run, run.connections.target() as lost, run.connections.target() as next_one:
        slot = run.fence.enrol(lost)
        run.fence.leave(slot)  # by a copier that has closed its end
        assert run.fence.enrol(next_one) != slot


def test_a_target_that_refuses_connections_keeps_the_window_open(pair: Pair, schema: str) -> None:
    """``recover`` fails with retriable errors: it is retried, and the step continues afterwards."""
    make_table(pair, schema, TABLE, ROWS)
    with EngineInProcess(pair, schema) as run:
        run.stream()
        assert run.make_readable()
        refusals = [
            ResourceExhausted(Reason.SERVER_RESOURCE_EXHAUSTED, "1040"),
            ConnectionLost(Reason.CONNECTION_LOST, "2003"),
        ] * 2
        prove = run.fence.prove_ended
        proven: list[int] = []

        def refused(connection_id: int, slot: int) -> None:
            if refusals:
                raise refusals.pop()
            prove(connection_id, slot)
            proven.append(connection_id)

        run.fence.prove_ended = refused  # type: ignore[method-assign]
        once = [ConnectionLost(Reason.CONNECTION_LOST, "2013")]
        commit = Session.commit

        def lost_commit(session: Session) -> None:
            if once and session.purpose is Purpose.TARGET and threading.current_thread().name.startswith("copy-"):
                error = once.pop()
                session.close()
                raise error
            commit(session)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Session, "commit", lost_commit)
            run.engine.start_copying()
            wait_until(lambda: run.sound() and run.chunks.all_done, "the chunk is copied")
        assert proven
        assert not refusals
        run.equal()


def test_a_lost_source_connection_while_a_chunk_is_split(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_table(pair, schema, "id INT NOT NULL PRIMARY KEY, v VARCHAR(100)", "(1, 'a'), (2, 'b'), (3, 'c'), (4, 'd')")
    copy = RowCopier.copy
    too_large = [TooLarge(Reason.ROWS_TOO_LARGE, "1301")]

    def copy_or_not(copier: RowCopier, *arguments: object) -> object:
        if too_large and not isinstance(arguments[1], KeySet):
            raise too_large.pop()
        return copy(copier, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(RowCopier, "copy", copy_or_not)
    with EngineInProcess(pair, schema) as run:
        run.stream()
        assert run.make_readable()
        split = run.chunks.split
        lost = [ConnectionLost(Reason.CONNECTION_LOST, "2013")]

        def split_or_not(*arguments: object) -> None:
            if lost:
                raise lost.pop()
            split(*arguments)  # type: ignore[arg-type]

        run.chunks.split = split_or_not  # type: ignore[method-assign,assignment]
        run.engine.start_copying()
        wait_until(lambda: run.sound() and run.chunks.all_done, "all chunks copied")
        assert not too_large
        assert not lost
        run.equal()


def test_an_exception_keeps_the_gate_shut() -> None:
    for name in ("chunk", "flush"):
        gate = TableGate()
        with pytest.raises(ZeroDivisionError), getattr(gate, name)(lambda: False):
            raise ZeroDivisionError
        with gate.flush(lambda: True) as entered:
            assert not entered, name


def test_a_frozen_run_keeps_no_table_locked(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stopped between LOCK TABLES and UNLOCK TABLES: writers of a table without transactions wait for it."""
    pair.source.execute(f"CREATE TABLE `{schema}`.t (id INT) ENGINE=MyISAM")
    table = replace(simple_table(), source=TableName(schema, "t"), engine="MyISAM")
    with Session(pair.source.endpoint("source"), Purpose.CONTROL) as session:
        execute = session.execute

        def frozen(statement: str) -> int:
            if statement == "UNLOCK TABLES":
                pair.source.execute("SET SESSION lock_wait_timeout = 30", f"INSERT INTO `{schema}`.t VALUES (1)")
            return execute(statement)

        monkeypatch.setattr(session, "execute", frozen)
        with pytest.raises(ConnectionLost):
            table_locks._wait_for_statements(session, [table], lambda: False)
