"""R1 on a MySQL source without GTIDs: what is in its binlog and not yet visible is waited for by locks."""

import uuid
from collections.abc import Iterator

import pytest

from ferry_core.mysql.file_position import FilePosition
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.server_faults import StalledCommits, binlog_end
from tests.support.servers import Pair, ServerPool, schema_name
from tests.support.table_pair import make_table
from tests.support.waits import Background, wait_until

TABLE = "id INT NOT NULL PRIMARY KEY, v INT"
ROWS = "(1, 10), (3, 30), (4, 40)"
CHANGES = (
    "INSERT INTO t VALUES (2, 22)",
    "UPDATE t SET v = 11 WHERE id = 1",
    "DELETE FROM t WHERE id = 3",
    "UPDATE t SET id = -4 WHERE id = 4",
)
OLD = [(1, 10), (3, 30), (4, 40)]
NEW = [(-4, 40), (1, 11), (2, 22)]


@pytest.fixture(scope="module")
def stalling(make_module_server: ServerFactory, server_pool: ServerPool) -> Pair:
    """A source whose commits can be stalled."""
    source = make_module_server("mysql", gtid_mode=False, enforce_gtid_consistency=False)
    return Pair(source, server_pool.pair(Family.MYSQL).target)


@pytest.fixture
def schema(request: pytest.FixtureRequest, stalling: Pair) -> Iterator[str]:
    name = schema_name(request.node.name, uuid.uuid4().hex[:6])
    stalling.source.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    yield name
    for server in (stalling.source, stalling.target):
        server.drop_schemas(name)


def committing(pair: Pair, schema: str) -> Background:
    return Background(lambda: pair.source.execute(f"USE `{schema}`", "BEGIN", *CHANGES, "COMMIT"))


def test_a_flush_waits_for_a_stalled_commit(stalling: Pair, schema: str) -> None:
    name = make_table(stalling, schema, TABLE, ROWS, on_target=True)
    with EngineInProcess(stalling, schema, StartState({name: COPIED})) as run:
        assert isinstance(run.start.position, FilePosition)
        run.stream()
        with StalledCommits(stalling.source) as stalled:
            commit = committing(stalling, schema)
            run.pending(5)
            assert run.rows(source=True) == OLD, "the commit was not stalled"
            flush = run.flush()
            assert flush.stays(), "the flush read a row that was not visible yet"
            assert run.rows() == OLD
            stalled.release()
            flush.join()
            commit.join()
        assert run.rows() == NEW
        run.equal()


@pytest.mark.parametrize("locks", [True, False])
def test_chunks_wait_for_commits_that_were_stalled_at_the_start(stalling: Pair, schema: str, locks: bool) -> None:
    """The stream begins after the stalled transaction. Without the locks its rows would be lost."""
    make_table(stalling, schema, TABLE, ROWS)
    before = binlog_end(stalling.source)
    with StalledCommits(stalling.source) as stalled:
        commit = committing(stalling, schema)
        wait_until(lambda: binlog_end(stalling.source) > before, "the transaction is in the binlog")
        with EngineInProcess(stalling, schema) as run:
            assert run.start.position == FilePosition(*binlog_end(stalling.source)), "it begins before the transaction"
            if not locks:
                run.visibility.lock_clause = ""
            copying = Background(lambda: run.chunk().join())
            assert copying.stays() is locks
            stalled.release()
            copying.join()
            commit.join()
            run.stream()
            assert run.make_readable()
            assert run.buffer.pending_keys() == 0
            assert run.rows() == (NEW if locks else OLD)
