"""R2 and R5 on real servers: XA transactions that were prepared before the run began."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ferry_core.consistency import prepared, table_start
from ferry_core.consistency.table_start import empty_tables
from ferry_core.errors import DataError, Interrupted, KeyUnusable
from ferry_core.reasons import Reason
from tests.conftest import ServerFactory
from tests.support.compare import assert_equal_tables
from tests.support.engine_in_process import COPIED, EngineInProcess, StartState, chunks_of
from tests.support.ferry_cli import FerryProcess
from tests.support.replication import Exact
from tests.support.server_faults import StalledLog
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.tables import decode, mark, simple_table
from tests.support.waits import Background, wait_until

if TYPE_CHECKING:
    from pymysql.connections import Connection
    from pymysql.cursors import Cursor

    from ferry_core.tables.table import Table

TABLE = "id INT NOT NULL PRIMARY KEY, v INT"
ROWS = "(1, 10), (3, 30)"
OLD = [(1, 10), (3, 30)]
CHANGES = ("INSERT INTO t VALUES (2, 22)", "UPDATE t SET v = 11 WHERE id = 1", "DELETE FROM t WHERE id = 3")
NEW = [(1, 11), (2, 22)]


class Prepared:
    """An XA transaction with these changes, prepared and detached from its connection."""

    def __init__(self, pair: Pair, schema: str, changes: Sequence[str] = CHANGES) -> None:
        self._pair = pair
        self._xid = f"'{schema[-12:]}','b'"
        self.shown = f"1,{schema[-12:].encode().hex()},{b'b'.hex()}"
        connection: Connection[Cursor] = pair.source.connect(database=schema)
        with contextlib.closing(connection), connection.cursor() as cursor:
            for statement in (f"XA START {self._xid}", *changes, f"XA END {self._xid}", f"XA PREPARE {self._xid}"):
                cursor.execute(statement)

    def decide(self, decision: str) -> None:
        self._pair.source.decide_xa(f"XA {decision} {self._xid}")


@pytest.fixture
def table(pair: Pair, schema: str) -> str:
    return make_table(pair, schema, TABLE, ROWS)


DECISIONS = pytest.mark.parametrize(("decision", "rows"), [("COMMIT", NEW), ("ROLLBACK", OLD)])


@DECISIONS
def test_the_first_chunk_waits_for_transactions_prepared_before_the_start(
    pair: Pair, schema: str, table: str, decision: str, rows: list[tuple[int, int]]
) -> None:
    """Their XA COMMIT contains no keys, so only the chunks can copy their rows."""
    del table
    transaction = Prepared(pair, schema)
    said: list[str] = []
    with EngineInProcess(pair, schema) as run:
        run.stream()
        waiting = Background(lambda: run.make_readable(said.append))
        wait_until(lambda: said, "it says what it waits for")
        assert waiting.stays(), "chunks may be read although a transaction is undecided"
        assert transaction.shown in said[0]
        transaction.decide(decision)
        waiting.join()
        run.chunk().join()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == rows
        run.equal()


def test_without_the_wait_for_prepared_transactions_rows_are_lost(pair: Pair, schema: str, table: str) -> None:
    del table
    transaction = Prepared(pair, schema)
    with EngineInProcess(pair, schema) as run:
        run.visibility.lock_clause = ""
        run.stream()
        run.chunk().join()
        transaction.decide("COMMIT")
        run.streamed()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == OLD != run.rows(source=True), "the rows should have been lost"


@pytest.mark.parametrize("waits", [True, False])
def test_the_first_chunk_waits_for_a_prepare_that_the_disk_holds_up(
    mariadb_pair: Pair,
    make_server: ServerFactory,
    schema: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    waits: bool,
) -> None:
    """MariaDB and MySQL 5.7 write it to the binlog, and list it in XA RECOVER only once InnoDB's log is flushed."""
    server = make_server("mariadb", sync_binlog=0, innodb_flush_log_at_trx_commit=1)
    if not waits:
        monkeypatch.setattr(table_start, "wait_for_prepares", lambda *_: True)
    with StalledLog(server, tmp_path) as log, contextlib.ExitStack() as disk:
        pair = Pair(server, mariadb_pair.target)
        server.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
        make_table(pair, schema, TABLE, ROWS)
        disk.enter_context(log.stalled())
        transactions: list[Prepared] = []
        preparing = Background(lambda: transactions.append(Prepared(pair, schema)))
        events = "SHOW BINLOG EVENTS IN '{}'".format(server.query("SHOW MASTER STATUS")[0][0])
        wait_until(lambda: "XA END" in str(server.query(events)), "the PREPARE is in the binlog")
        with EngineInProcess(pair, schema) as run:
            said: list[str] = []
            run.stream()
            readable = Background(lambda: run.make_readable(said.append))
            if waits:
                wait_until(lambda: said, "it says what it waits for")
                assert "until XA PREPARE of connections" in said[0]
            else:
                readable.join()
                run.chunk().join()
            disk.close()
            preparing.join()
            transactions[0].decide("COMMIT")
            if waits:
                readable.join()
                run.chunk().join()
            run.streamed()
            assert run.buffer.pending_keys() == 0
            assert run.rows() == (NEW if waits else OLD)
            assert run.rows(source=True) == NEW


def test_the_first_chunk_waits_for_a_prepare_of_a_replica_that_the_disk_holds_up(
    mariadb_pair: Pair, make_server: ServerFactory, schema: str, tmp_path: Path
) -> None:
    """The process list shows no statement of it."""
    primary = mariadb_pair.source
    replica = make_server("mariadb", sync_binlog=0, innodb_flush_log_at_trx_commit=1, log_slave_updates=True)
    with StalledLog(replica, tmp_path) as log, contextlib.ExitStack() as disk:
        replica.execute(f"CREATE DATABASE `{schema}` CHARACTER SET utf8mb4")
        exact = Exact(primary, replica)
        make_table(mariadb_pair, schema, TABLE, ROWS)
        exact.wait_applied()
        disk.enter_context(log.stalled())
        transaction = Prepared(mariadb_pair, schema)
        events = "SHOW BINLOG EVENTS IN '{}'".format(replica.query("SHOW MASTER STATUS")[0][0])
        wait_until(lambda: "XA END" in str(replica.query(events)), "the PREPARE is in the binlog")
        with EngineInProcess(Pair(replica, mariadb_pair.target), schema) as run:
            said: list[str] = []
            run.stream()
            readable = Background(lambda: run.make_readable(said.append))
            wait_until(lambda: said, "it says what it waits for")
            assert "has applied replicated transactions" in said[0]
            disk.close()
            wait_until(lambda: transaction.shown in said[-1], "it waits for the decision")
            transaction.decide("COMMIT")
            exact.wait_applied()
            readable.join()
            run.chunk().join()
            run.streamed()
            assert run.rows() == NEW == run.rows(source=True)


NULLABLE = "id INT UNIQUE, v INT"
PREPARED_NULL = ("INSERT INTO t VALUES (NULL, 22)",)


def test_null_is_looked_for_once_rows_are_readable(pair: Pair, schema: str) -> None:
    """The start of the run does not see the prepared row, and the event of its XA COMMIT does not show it."""
    make_table(pair, schema, NULLABLE, ROWS)
    transaction = Prepared(pair, schema, PREPARED_NULL)
    said: list[str] = []
    with EngineInProcess(pair, schema) as run:
        assert run.table.key.nullable
        run.stream()
        waiting = Background(lambda: run.make_readable(said.append))
        wait_until(lambda: said, "it says what it waits for")
        transaction.decide("COMMIT")
        with pytest.raises(KeyUnusable):
            waiting.join()


def test_without_looking_for_null_rows_are_lost(pair: Pair, schema: str) -> None:
    make_table(pair, schema, NULLABLE, ROWS)
    transaction = Prepared(pair, schema, PREPARED_NULL)
    chunks = chunks_of("2")
    first_one_first = replace(chunks, unfinished=chunks.unfinished[::-1])
    with EngineInProcess(pair, schema, StartState({f"{schema}.t": first_one_first})) as run:
        run.stream()
        run.chunk().join()
        transaction.decide("COMMIT")
        run.chunk().join()
        run.streamed()
        assert run.buffer.pending_keys() == 0
        assert run.rows() == OLD, "the rows should have been lost"
        assert len(run.rows(source=True)) == 3


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE t SET id = NULL WHERE id = 3"],
        ["INSERT INTO t VALUES (4, 44), (NULL, 4)"],
        ["SET SESSION binlog_row_image = MINIMAL", "INSERT INTO t (v) VALUES (4)"],
    ],
)
def test_null_in_an_event_ends_the_stream(pair: Pair, schema: str, statements: Sequence[str]) -> None:
    """So the position never passes that event, and whoever resumes meets it again."""
    make_table(pair, schema, NULLABLE, ROWS)
    with EngineInProcess(pair, schema) as run:
        run.stream()
        rolled_back = "START TRANSACTION", "UPDATE t SET id = NULL", "ROLLBACK"
        pair.source.execute(f"USE `{schema}`", "UPDATE t SET v = 31 WHERE id = 3", *rolled_back)
        run.streamed()
        before = run.buffer.checkpoint_mark()
        pair.source.execute(f"USE `{schema}`", *statements)
        wait_until(lambda: run.engine._failure, "the event is read")
        with pytest.raises(KeyUnusable):
            run.engine.check()
        assert run.buffer.checkpoint_mark() == before


def test_a_transaction_that_stays_undecided_is_named(
    pair: Pair, schema: str, table: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del table
    monkeypatch.setattr(table_start, "XA_SECONDS", 0.3)
    transaction = Prepared(pair, schema)
    with EngineInProcess(pair, schema) as run:
        run.stream()
        with pytest.raises(DataError, match="stayed prepared") as raised:
            run.make_readable()
        assert raised.value.reason == "XaUndecided"
        assert transaction.shown in raised.value.message
    transaction.decide("ROLLBACK")


@pytest.fixture
def waiting_ferry(pair: Pair, schema: str, tmp_path: Path) -> Iterator[FerryProcess]:
    with FerryProcess(tmp_path, pair, tables={"include": [f"{schema}.*"]}) as ferry:
        yield ferry


def test_a_resumed_run_with_unread_chunks_waits_again(
    pair: Pair, schema: str, table: str, waiting_ferry: FerryProcess
) -> None:
    ferry = waiting_ferry
    transaction = Prepared(pair, schema)

    def waits(status: dict[str, object]) -> bool:
        return transaction.shown in str(status.get("message"))

    ferry.start().wait_status(waits)
    ferry.kill()
    ferry.start().wait_status(waits)
    assert pair.target.query(f"SELECT * FROM {table}") == []
    transaction.decide("COMMIT")
    ferry.wait_stage("Streaming", "ReadyForCutover")
    assert pair.target.query(f"SELECT * FROM {table} ORDER BY id") == NEW
    assert_equal_tables(pair.source, pair.target, table)
    ferry.terminate()


@DECISIONS
def test_a_transaction_prepared_in_one_run_and_decided_before_the_next(
    pair: Pair, schema: str, decision: str, rows: list[tuple[int, int]]
) -> None:
    """R5: the checkpoint stays before the PREPARE, however much was flushed since."""
    name = make_table(pair, schema, TABLE, ROWS, on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as first:
        first.engine.start_streaming()
        before = first.buffer.processed.position
        transaction = Prepared(pair, schema)
        pair.source.execute(f"INSERT INTO {name} VALUES (100, 1)")
        first.quiet()
        assert first.rows() == [*OLD, (100, 1)]
        assert len(first.buffer.prepared_xids()) == 1
        left = first.checkpoint()
        assert before.contains(first.resumes_at), "the checkpoint passed an undecided PREPARE"
    transaction.decide(decision)
    with EngineInProcess(pair, schema, left) as second:
        second.engine.start_streaming()
        second.quiet()
        assert second.rows() == [*rows, (100, 1)]
        second.equal()
        assert not second.buffer.prepared_xids()
        assert not before.contains(second.resumes_at)


def test_a_decided_transaction_holds_the_checkpoint_until_its_keys_are_on_the_target(pair: Pair, schema: str) -> None:
    name = make_table(pair, schema, TABLE, ROWS, on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as first:
        first.stream()
        before = first.buffer.processed.position
        Prepared(pair, schema).decide("COMMIT")
        first.pending(3)
        first.streamed()
        left = first.checkpoint()
        assert before.contains(first.resumes_at)
    with EngineInProcess(pair, schema, left) as second:
        second.engine.start_streaming()
        second.quiet()
        assert second.rows() == NEW
        second.equal()


def test_keys_of_a_prepared_transaction_in_an_uncopied_range(pair: Pair, schema: str) -> None:
    """Prepared after the start, decided after the restart, while its chunk is still unread."""
    name = make_table(pair, schema, TABLE, ROWS)
    with EngineInProcess(pair, schema, StartState({name: chunks_of("1")})) as first:
        first.stream()
        assert first.make_readable()
        transaction = Prepared(pair, schema)
        wait_until(first.buffer.prepared_xids, "the PREPARE was streamed")
        first.chunk().join()
        left = first.checkpoint()
    with EngineInProcess(pair, schema, left) as second:
        second.engine.start_streaming()
        waiting = Background(second.make_readable)
        assert waiting.stays(), "a resumed run must wait for what is prepared when it starts"
        transaction.decide("COMMIT")
        waiting.join()
        second.engine.start_copying()
        second.quiet()
        assert second.rows() == NEW
        second.equal()


def test_a_pause_in_the_middle_of_emptying_leaves_no_ghosts(pair: Pair, schema: str) -> None:
    make_table(pair, schema, TABLE, ROWS)
    with EngineInProcess(pair, schema) as run, run.connections.target() as session:
        pair.target.execute(f"INSERT INTO {run.table.target.sql} VALUES (1, 1), (2, 2), (7, 7)")
        asked: list[int] = []

        def paused_before_the_commit() -> None:
            asked.append(1)
            if len(asked) == 2:
                raise Interrupted(Reason.PAUSED, "paused")

        run.fence.writes_allowed = paused_before_the_commit
        assert empty_tables(run.fence, session, list(run.moves), lambda: None) == 3
        assert run.rows() == []


def test_undecided_transactions_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared, "LIMIT_KEYS", 10)
    held: prepared.PreparedTransactions[Table] = prepared.PreparedTransactions()
    table = simple_table()
    for number in range(3):
        held.begin(f"1,{number},", mark(number))
        keys = [b"%d" % key for key in range(4)]
        if number < 2:
            held.add(f"1,{number},", table, keys, decode)
    with pytest.raises(DataError, match="1,0,, 1,1,, 1,2,"):
        held.add("1,2,", table, keys, decode)
