"""R1 on real servers: a commit is stalled between the binlog and InnoDB, where its event can be read and its row
cannot.
"""

import uuid
from collections.abc import Iterator

import pytest

from ferry_core.consistency.visibility import LockingVisibility, Visibility, furthest_place
from ferry_core.errors import RetriableError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import GtidSet, MariaDbGtids, Position
from ferry_core.mysql.session import Purpose, Session
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.keyless import assert_same_rows
from tests.support.server_faults import StalledCommits
from tests.support.servers import Pair, Server, ServerPool, decide_xa, schema_name
from tests.support.table_pair import make_table
from tests.support.waits import Background, wait_until

TABLE = "id INT NOT NULL PRIMARY KEY, v INT"
CHANGES = (
    "INSERT INTO t VALUES (2, 22)",
    "UPDATE t SET v = 11 WHERE id = 1",
    "DELETE FROM t WHERE id = 3",
    "UPDATE t SET id = -4 WHERE id = 4",
)
ROWS = "(1, 10), (3, 30), (4, 40)"
KEYS = 5
OLD = [(1, 10), (3, 30), (4, 40)]
NEW = [(-4, 40), (1, 11), (2, 22)]


@pytest.fixture(scope="module", params=[family.value for family in Family])
def stalling(request: pytest.FixtureRequest, make_module_server: ServerFactory, server_pool: ServerPool) -> Pair:
    """A source for this module alone, whose commits can be stalled."""
    return Pair(make_module_server(request.param), server_pool.pair(Family(request.param)).target)


@pytest.fixture
def schema(request: pytest.FixtureRequest, stalling: Pair) -> Iterator[str]:
    name = schema_name(request.node.name, uuid.uuid4().hex[:6])
    stalling.source.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    yield name
    for server in (stalling.source, stalling.target):
        server.drop_schemas(name)


@pytest.fixture(params=["wait", "lock"])
def visibility(request: pytest.FixtureRequest) -> Visibility | None:
    """The family's own wait, and the locking reads that work on any source."""
    return LockingVisibility() if request.param == "lock" else None


def committing(server: Server, schema: str, *statements: str) -> Background:
    """One transaction that stalls at its COMMIT; without statements it makes all of ``CHANGES``."""
    return Background(lambda: server.execute(f"USE `{schema}`", "BEGIN", *(statements or CHANGES), "COMMIT"))


def binlog_end(server: Server) -> Position:
    """What can be read from the binlog, visible or not."""
    if server.flavor is Flavor.MARIADB:
        return MariaDbGtids.parse(server.value("SELECT @@gtid_binlog_pos"))
    return GtidSet.parse(server.query("SHOW BINARY LOG STATUS")[0][4])


def binlog_size(server: Server) -> int:
    return int(server.query("SHOW BINARY LOGS")[-1][1])


def test_a_flush_waits_for_a_stalled_commit(stalling: Pair, schema: str, visibility: Visibility | None) -> None:
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    with EngineInProcess(stalling, schema, StartState({name: COPIED}), visibility=visibility) as run:
        run.stream()
        with StalledCommits(stalling.source) as stalled:
            commit = committing(stalling.source, schema)
            run.pending(KEYS)  # the event is in our stream,
            assert run.rows(source=True) == OLD, "the commit was not stalled"  # and a naive re-read sees the old row
            flush = run.flush()
            assert flush.stays(), "the flush read a row that was not visible yet"
            assert run.rows() == OLD
            stalled.release()
            flush.join()
            commit.join()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == NEW
        run.equal()


def test_a_table_without_a_key_waits_for_a_stalled_commit(
    stalling: Pair, schema: str, visibility: Visibility | None
) -> None:
    name = make_table(stalling, schema, "n INT, v INT", "(1, 10), (1, 10), (3, 30)", on_target=True)
    changes = ("INSERT INTO t VALUES (1, 10), (2, 22)", "DELETE FROM t WHERE n = 3")
    with EngineInProcess(stalling, schema, StartState({name: COPIED}), visibility=visibility) as run:
        run.stream()
        with StalledCommits(stalling.source) as stalled:
            commit = committing(stalling.source, schema, *changes)
            run.pending(1)
            flush = run.flush()
            assert flush.stays(), "the table was read while its change was not visible yet"
            stalled.release()
            flush.join()
            commit.join()
        assert run.buffer.pending_keys() == 0
        assert assert_same_rows(stalling.source, stalling.target, schema, "t") == 4


def test_a_flush_without_r1_loses_the_update(stalling: Pair, schema: str) -> None:
    """Shows why the rule exists: reading at once writes the old row, and the key is never read again."""
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    with EngineInProcess(stalling, schema, StartState({name: COPIED})) as run:
        run.engine._make_visible = lambda *_: True  # type: ignore[method-assign]
        run.visibility.lock_clause = ""
        run.stream()
        with StalledCommits(stalling.source) as stalled:
            commit = committing(stalling.source, schema)
            run.pending(KEYS)
            run.flush().join()
            stalled.release()
            commit.join()
        run.streamed()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == OLD != run.rows(source=True), "the change should have been lost"


def test_chunks_wait_for_commits_that_were_stalled_at_the_start(
    stalling: Pair, schema: str, visibility: Visibility | None
) -> None:
    """The stream begins after the stalled transaction, so only the chunks can copy its rows."""
    make_table(stalling, schema, TABLE, ROWS)
    before = binlog_size(stalling.source)
    with StalledCommits(stalling.source) as stalled:
        commit = committing(stalling.source, schema)
        wait_until(lambda: binlog_size(stalling.source) > before, "the transaction is in the binlog")
        start = after_the_stall(stalling.source)
        assert stalling.source.query(f"SELECT * FROM `{schema}`.t") == OLD, "the commit was not stalled"
        with EngineInProcess(stalling, schema, StartState(start=start), visibility=visibility) as run:
            run.stream()

            def copy() -> None:
                assert run.make_readable()
                run.chunk().join()

            copying = Background(copy)
            assert copying.stays(), "a chunk was read while rows before its start were not visible"
            stalled.release()
            copying.join()
            commit.join()
            assert run.buffer.pending_keys() == 0
            assert run.rows() == NEW
            run.equal()


def after_the_stall(server: Server) -> Position:
    """The position after the one transaction that stalls."""
    if server.flavor is Flavor.MARIADB:
        return binlog_end(server)
    executed = server.value("SELECT @@gtid_executed")
    own = server.value("SELECT @@server_uuid")
    position = GtidSet.parse(executed)
    return position.add(own, position.intervals[own][-1][1] + 1)


def test_chunks_without_r1_lose_commits_stalled_at_the_start(stalling: Pair, schema: str) -> None:
    make_table(stalling, schema, TABLE, ROWS)
    before = binlog_size(stalling.source)
    with StalledCommits(stalling.source) as stalled:
        commit = committing(stalling.source, schema)
        wait_until(lambda: binlog_size(stalling.source) > before, "the transaction is in the binlog")
        with EngineInProcess(stalling, schema, StartState(start=after_the_stall(stalling.source))) as run:
            run.visibility.lock_clause = ""
            run.chunk().join()
            stalled.release()
            commit.join()
            run.stream()
            run.streamed()
            assert run.buffer.pending_keys() == 0
            assert run.rows() == OLD != run.rows(source=True), "the change should have been lost"


def test_a_new_run_begins_at_a_visible_position(stalling: Pair, schema: str) -> None:
    """The start that it chooses leaves a stalled transaction to the stream."""
    make_table(stalling, schema, TABLE, ROWS)
    before = binlog_size(stalling.source)
    with StalledCommits(stalling.source) as stalled:
        commit = committing(stalling.source, schema)
        wait_until(lambda: binlog_size(stalling.source) > before, "the transaction is in the binlog")
        with EngineInProcess(stalling, schema) as run:
            assert not run.start.position.contains(after_the_stall(stalling.source))
            run.stream()
            run.pending(KEYS)
            stalled.release()
            commit.join()
            assert run.make_readable()
            run.chunk().join()
            run.flush().join()
            run.equal()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["decided here", "decided elsewhere"])
def test_a_flush_waits_for_a_stalled_xa_commit(
    stalling: Pair, schema: str, visibility: Visibility | None, elsewhere: bool
) -> None:
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    xid = f"'{schema[-20:]}'"
    prepare = ("XA START {0}", *CHANGES, "XA END {0}", "XA PREPARE {0}")
    with EngineInProcess(stalling, schema, StartState({name: COPIED}), visibility=visibility) as run:
        run.stream()
        connection = stalling.source.connect(database=schema)
        with connection.cursor() as cursor:
            for statement in prepare:
                cursor.execute(statement.format(xid))
        if elsewhere:
            connection.close()
            wait_until(lambda: stalling.source.query("XA RECOVER"), "the transaction is prepared")
            connection = stalling.source.connect()
        with StalledCommits(stalling.source) as stalled:
            commit = Background(lambda: decide_xa(connection, f"XA COMMIT {xid}"))
            run.pending(KEYS)
            assert run.rows(source=True) == OLD, "the XA COMMIT was not stalled"
            flush = run.flush()
            assert flush.stays(), "the flush read a row that was not visible yet"
            stalled.release()
            flush.join()
            commit.join()
        connection.close()
        assert run.rows() == NEW


def test_other_engines_commits_do_not_overtake_a_stalled_one(stalling: Pair, schema: str) -> None:
    """A row of MyISAM is visible before its event: its place in the binlog must not stand for earlier transactions."""
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    stalling.source.execute(f"CREATE TABLE `{schema}`.other (id INT PRIMARY KEY) ENGINE = MyISAM")
    with EngineInProcess(stalling, schema, StartState({name: COPIED}), include=[name]) as run:
        run.stream()
        with StalledCommits(stalling.source) as stalled:
            commit = committing(stalling.source, schema)
            run.pending(KEYS)
            other = committing(stalling.source, schema, "INSERT INTO other VALUES (1)")
            # Its event is logged and stalls too; on MariaDB even SHOW BINARY LOGS hangs after it.
            assert other.stays()
            flush = run.flush()
            assert flush.stays(), "the flush read a row that was not visible yet"
            stalled.release()
            for each in (flush, commit, other):
                each.join()
        run.equal()


def test_a_stop_ends_the_wait_and_keeps_the_keys(stalling: Pair, schema: str) -> None:
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    with EngineInProcess(stalling, schema, StartState({name: COPIED})) as run:
        run.stream()
        with StalledCommits(stalling.source):
            commit = committing(stalling.source, schema)
            run.pending(KEYS)
            before = run.buffer.checkpoint_mark()
            flush = run.flush()
            assert flush.stays(0.5)
            run.engine.ending.cancel()
            flush.join()
            assert run.buffer.pending_keys() == KEYS
            assert run.buffer.checkpoint_mark() == before
        commit.join()


def test_an_endless_wait_fails_and_names_the_position(
    stalling: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ferry_core.consistency.visibility.DEADLINE_SECONDS", 0.2)
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    with (
        EngineInProcess(stalling, schema, StartState({name: COPIED})) as run,
        run.connections.source_control() as session,
    ):
        run.stream()
        with StalledCommits(stalling.source):
            commit = committing(stalling.source, schema)
            run.pending(KEYS)
            generation = run.buffer.take(run.move, 10)
            assert generation is not None
            with pytest.raises(RetriableError, match="were not visible to reads") as raised:
                run.visibility.wait(session, generation.seen, lambda: False)
            assert str(generation.seen.position) in raised.value.message
        commit.join()


def test_a_place_beyond_four_bytes_is_refused_at_the_start(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """No dump can be requested from there. The server goes on to the next file."""
    monkeypatch.setattr("ferry_core.consistency.visibility.DUMPABLE", 4)
    with (
        Session(pair.source.endpoint(), Purpose.CONTROL) as session,
        pytest.raises(RetriableError, match=r"BinlogUnreadable: .* FLUSH BINARY LOGS"),
    ):
        furthest_place(session)
