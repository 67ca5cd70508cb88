"""R1 for MyISAM and Aria on real servers: a statement is stalled after its commit. Its events are in the binlog and its
GTID is executed, but other sessions cannot read a row that it inserted.
"""

import uuid
from collections.abc import Iterator

import pytest

from ferry_core.consistency import table_locks
from ferry_core.errors import DataError
from hack.servers import Family
from tests.conftest import ServerFactory
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState
from tests.support.server_faults import StalledCommits
from tests.support.servers import Pair, Server, ServerPool, schema_name
from tests.support.table_pair import make_table
from tests.support.waits import Background, wait_until

ENGINES = [(Family.MYSQL, "MyISAM"), (Family.MARIADB, "MyISAM"), (Family.MARIADB, "Aria")]
INSERT = "INSERT INTO t VALUES (2, 22)"
OLD, NEW = [(1, 10)], [(1, 10), (2, 22)]


@pytest.fixture(scope="module", params=ENGINES, ids=lambda param: "-".join(param).lower())
def stalling(
    request: pytest.FixtureRequest, make_module_server: ServerFactory, server_pool: ServerPool
) -> tuple[Pair, str]:
    """A source for this module alone, whose commits can be stalled, and an engine."""
    family, engine = request.param
    return Pair(make_module_server(family.value), server_pool.pair(family).target), engine


@pytest.fixture
def schema(request: pytest.FixtureRequest, stalling: tuple[Pair, str]) -> Iterator[str]:
    pair, _ = stalling
    name = schema_name(request.node.name, uuid.uuid4().hex[:6])
    pair.source.execute(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
    yield name
    for server in (pair.source, pair.target):
        server.drop_schemas(name)


def table_of(pair: Pair, schema: str, engine: str, *, on_target: bool = False) -> str:
    name = make_table(pair, schema, "id INT NOT NULL PRIMARY KEY, v INT", "(1, 10)", on_target=on_target)
    for server in (pair.source, pair.target) if on_target else (pair.source,):
        server.execute(f"ALTER TABLE `{schema}`.t ENGINE = {engine}")
    return name


def writing(server: Server, schema: str) -> Background:
    return Background(lambda: server.execute(f"USE `{schema}`", INSERT))


def binlog_size(server: Server) -> int:
    return int(server.query("SHOW BINARY LOGS")[-1][1])


def test_a_flush_waits_until_an_inserted_row_can_be_read(stalling: tuple[Pair, str], schema: str) -> None:
    pair, engine = stalling
    name = table_of(pair, schema, engine, on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        with StalledCommits(pair.source, committed=True) as stalled:
            statement = writing(pair.source, schema)
            run.pending(1)
            flush = run.flush()
            assert flush.stays(), "the flush read while the statement held its table lock"
            stalled.release()
            flush.join()
            statement.join()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == NEW
        run.equal()


def test_a_flush_that_does_not_wait_for_the_statement_loses_the_row(
    stalling: tuple[Pair, str], schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows why: the wait for GTIDs or snapshots ends, the read finds no row, and the key is never read again."""
    pair, engine = stalling
    if engine == "Aria":
        pytest.skip("Aria shows the row as soon as it is committed")
    name = table_of(pair, schema, engine, on_target=True)
    monkeypatch.setattr(table_locks, "_wait", lambda *_: True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        with StalledCommits(pair.source, committed=True) as stalled:
            statement = writing(pair.source, schema)
            run.pending(1)
            run.flush().join()
            stalled.release()
            statement.join()
        run.streamed()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == OLD != run.rows(source=True), "the row should have been lost"


def test_chunks_wait_for_a_statement_that_began_before_the_stream(stalling: tuple[Pair, str], schema: str) -> None:
    pair, engine = stalling
    table_of(pair, schema, engine)
    before = binlog_size(pair.source)
    with StalledCommits(pair.source, committed=True) as stalled:
        statement = writing(pair.source, schema)
        wait_until(lambda: binlog_size(pair.source) > before, "the statement is in the binlog")
        with EngineInProcess(pair, schema) as run:
            run.stream()

            def copy() -> None:
                assert run.make_readable()
                run.chunk().join()

            copying = Background(copy)
            assert copying.stays(), "a chunk was read while the statement held its table lock"
            stalled.release()
            copying.join()
            statement.join()
            assert run.rows() == NEW
            run.equal()


def test_a_batch_that_half_applies_on_the_target_is_written_again(stalling: tuple[Pair, str], schema: str) -> None:
    """Without transactions nothing takes back the rows before the one that the target refuses."""
    pair, engine = stalling
    name = table_of(pair, schema, engine, on_target=True)
    table = f"`{schema}`.t"
    for server in (pair.source, pair.target):
        server.execute(f"INSERT INTO {table} VALUES (2, 20), (3, 30)")
    refusing = "IF NEW.v = 32 THEN SIGNAL SQLSTATE '45000'; END IF"
    pair.target.execute(
        f"USE `{schema}`", f"CREATE TRIGGER refused BEFORE INSERT ON t FOR EACH ROW BEGIN {refusing}; END"
    )
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        pair.source.execute(f"DELETE FROM {table} WHERE id = 1", f"UPDATE {table} SET v = v + 2")
        run.pending(3)
        with pytest.raises(DataError):
            run.flush().join()
        assert run.rows() == [(2, 22), (3, 30)], "the batch was not applied by half"
        assert run.buffer.pending_keys() == 3
        begun = run.start.position
    pair.source.execute(f"UPDATE {table} SET v = 99 WHERE id = 2")
    pair.target.execute(f"DROP TRIGGER `{schema}`.refused")
    with EngineInProcess(pair, schema, StartState({name: COPIED}, start=begun)) as successor:
        successor.stream()
        successor.streamed()
        successor.flush().join()
        assert successor.rows() == [(2, 99), (3, 32)]
        successor.equal()
