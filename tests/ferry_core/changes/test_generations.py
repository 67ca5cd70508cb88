"""R3 and R4 on real servers: each interleaving that loses a row is forced, with and without the rule."""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from ferry_core.changes import flusher
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.changes.flusher import Flusher, FlushResult
from ferry_core.consistency.gate import TableGate
from ferry_core.errors import LockConflict
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Reason
from ferry_core.rows.copier import CopyResult, RowCopier
from ferry_core.tables.table import Selector, Table
from ferry_core.workers import sessions
from tests.support.engine_in_process import (
    COPIED,
    EngineInProcess,
    Limits,
    StartState,
    any_chunk,
    chunks_of,
    keys_of,
    stalled,
)
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.tables import decode, mark, move_of, simple_table
from tests.support.waits import Background, wait_until

UNIQUE = "id INT NOT NULL PRIMARY KEY, u INT, v INT NOT NULL DEFAULT 0, UNIQUE (u)"


class NoGate(TableGate):
    """Disables R3: everybody enters at once."""

    @contextlib.contextmanager
    def chunk(self, cancelled: Callable[[], bool]) -> Iterator[bool]:
        yield not cancelled()

    @contextlib.contextmanager
    def flush(self, cancelled: Callable[[], bool]) -> Iterator[bool]:
        yield not cancelled()


def batch_of(key: str) -> Callable[[Table, Selector], bool]:
    return lambda _, selector: keys_of(selector) == [key]


def on_source(pair: Pair, schema: str, *statements: str) -> None:
    """One transaction."""
    pair.source.execute("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", f"USE `{schema}`", "BEGIN", *statements, "COMMIT")


# -- two batches of one generation ------------------------------------------------------------------------------------


@pytest.fixture
def unique(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineInProcess]:
    """Rows 1 and 2 on both servers, one key per batch, the stream running, flushes by hand."""
    monkeypatch.setattr(flusher, "BATCH_KEYS", 1)
    name = make_table(pair, schema, UNIQUE, "(1, 5, 0), (2, 6, 0)", on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        yield run


def move_unique_value(run: EngineInProcess) -> None:
    """Move u = 5 from row 1 to row 2."""
    on_source(run.pair, run.schema, "UPDATE t SET u = NULL WHERE id = 1", "UPDATE t SET u = 5 WHERE id = 2")


def test_a_unique_value_that_moves_between_two_batches_of_a_generation(
    unique: EngineInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = unique
    on_source(run.pair, run.schema, "UPDATE t SET v = 1")
    run.pending(2)
    with stalled(monkeypatch, batch_of("1")) as stall:
        first = run.flush()
        stall.wait()  # batch {1} has read u = 5
        wait_until(lambda: run.rows("v")[1] == (1,), "batch {2} has committed")
        move_unique_value(run)
        run.pending(4)  # both keys in flight, and both again
        second = run.flush()
        assert second.stays(), "a generation ended while another one of its table was in flight"
        assert [keys_of(step) for step in stall.steps] in ([["1"], ["2"]], [["2"], ["1"]])
        stall.release()
        first.join()
        second.join()
    assert run.buffer.pending_keys() == 0
    assert run.rows("id, u") == [(1, None), (2, 5)]
    run.equal()


def test_without_generations_a_moved_unique_value_loses_a_row(
    unique: EngineInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows why the rule exists: the same with a flusher that handles each key independently."""
    run = unique
    copy = run.engine._copy_keys
    on_source(run.pair, run.schema, "UPDATE t SET v = 1 WHERE id = 1")
    run.pending(1)
    with stalled(monkeypatch, batch_of("1")) as stall:
        slow = Background(lambda: copy(run.move, (("1",),)))
        stall.wait()
        move_unique_value(run)
        run.streamed()
        # Key 2 is read, written and forgotten; key 1, which changed again, waits for the running batch.
        copy(run.move, (("2",),))
        assert run.rows("id, u") == [(2, 5)]
        stall.release()
        slow.join()
        copy(run.move, (("1",),))
    assert run.rows("id, u") == [(1, None)], "row 2 should have been lost"


def test_a_generation_whose_batch_fails_is_returned_whole(unique: EngineInProcess) -> None:
    run = unique
    on_source(run.pair, run.schema, "UPDATE t SET v = 1")
    run.pending(2)
    before = run.buffer.checkpoint_mark()
    copy = run.engine._copy_keys

    def failing(move: TableMove, keys: tuple[tuple[str, ...], ...]) -> bool:
        if keys == (("1",),):
            raise ZeroDivisionError
        return copy(move, keys)

    with pytest.raises(ZeroDivisionError):
        run.flusher(failing).flush(run.move)
    assert run.buffer.pending_keys() == 2
    assert run.buffer.checkpoint_mark() == before, "the checkpoint passed keys that are not on the target"


def test_a_table_with_few_changes_is_not_starved_by_a_busy_one() -> None:
    busy, quiet = move_of(simple_table("busy")), move_of(simple_table("quiet"))
    buffer = ChangeBuffer(mark(0))
    number = itertools.count(1)

    def change(move: TableMove, *keys: bytes) -> None:
        at = next(number)
        buffer.begin(mark(at - 1), mark(at), None)
        buffer.changed(move, keys, decode)
        buffer.end(mark(at), None)

    def flushed(result: FlushResult) -> None:
        order.append(result.move)
        change(busy, b"1", b"2", b"3")

    order: list[TableMove] = []
    with ThreadPoolExecutor(1) as pool:
        flusher = Flusher(
            buffer,
            pool,
            lambda _move, _keys: False,
            lambda _: True,
            lambda: len(order) >= 4,
            flushed,
        )
        change(busy, b"1", b"2", b"3")
        change(quiet, b"1")
        flusher.run()
    assert quiet in order[:2]


def test_batches_that_deadlock_each_other_take_turns_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches deadlock in the first generation and in the last one; in between they must not even try in
    parallel.
    """
    monkeypatch.setattr(flusher, "BATCH_KEYS", 1)
    monkeypatch.setattr(flusher, "CALM_GENERATIONS", 3)
    move = move_of()
    buffer = ChangeBuffer(mark(0))
    under_way = 0
    most: list[int] = []
    lock = threading.Lock()
    both = threading.Barrier(2)

    def copy(_move: TableMove, _keys: object) -> bool:
        nonlocal under_way
        with lock:
            under_way += 1
            most[-1] = max(most[-1], under_way)
        if len(most) in (1, 5):
            both.wait(180)
        with lock:
            under_way -= 1
        return len(most) == 1

    with ThreadPoolExecutor(2) as pool:
        one = Flusher(
            buffer,
            pool,
            copy,
            lambda _: True,
            lambda: False,
            lambda _: None,
        )
        for number in range(1, 6):
            most.append(0)
            buffer.begin(mark(number - 1), mark(number), None)
            buffer.changed(move, [b"1", b"2"], decode)
            buffer.end(mark(number), None)
            one.flush(move)
    assert most == [2, 1, 1, 1, 2]


def test_a_lock_conflict_is_reported_and_idle_sessions_are_replaced(
    unique: EngineInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, copy = unique, RowCopier.copy
    conflicts = [LockConflict(Reason.LOCK_CONFLICT, "1213")]

    def copy_or_not(copier: RowCopier, *arguments: Any) -> CopyResult:
        if conflicts:
            raise conflicts.pop()
        return copy(copier, *arguments)

    monkeypatch.setattr(RowCopier, "copy", copy_or_not)
    assert run.engine._copy_keys(run.move, (("1",),)) is True
    assert run.engine._copy_keys(run.move, (("1",),)) is False
    (pair,) = run.engine._pairs
    before = pair.copier(run.table)
    assert pair.copier(run.table) is before
    monkeypatch.setattr(sessions, "IDLE_SECONDS", -1.0)
    assert pair.copier(run.table) is not before
    run.errors.clear()
    run.engine._copy_keys(run.move, (("1",),))
    assert not run.errors


# -- chunks and flushes -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def chunk_under_way(run: EngineInProcess, monkeypatch: pytest.MonkeyPatch, *, gated: bool = True) -> Iterator[None]:
    """Inside the block a chunk has been read and not yet written; afterwards it is written and everything is flushed.

    Changes made in the block are flushed before the chunk is written, unless something blocks the flush.
    """
    if not gated:
        run.move.gate = NoGate()
    with stalled(monkeypatch, any_chunk) as stall:
        chunk = run.chunk()
        stall.wait()
        before = run.buffer.changes
        yield
        wait_until(lambda: run.buffer.changes > before, "the changes were streamed")
        run.streamed()
        flush = run.flush()
        if gated:
            assert flush.stays(), "a flush went past an open chunk window"
        else:
            flush.join()
        stall.release()
        chunk.join()
        flush.join()
    settle(run)


def settle(run: EngineInProcess) -> None:
    while not run.chunks.all_done:
        run.chunk().join()
    run.streamed()
    while run.buffer.pending_keys():
        run.flush().join()


def started(run: EngineInProcess) -> EngineInProcess:
    run.stream()
    assert run.make_readable()
    return run


GATED = pytest.mark.parametrize("gated", [True, False], ids=["gate", "no gate"])


@GATED
def test_a_row_deleted_between_a_chunks_read_and_its_write(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, gated: bool
) -> None:
    make_table(pair, schema, "id INT NOT NULL PRIMARY KEY, v INT", "(1, 1), (2, 2), (3, 3)")
    with EngineInProcess(pair, schema) as run:
        with chunk_under_way(started(run), monkeypatch, gated=gated):
            on_source(pair, schema, "DELETE FROM t WHERE id = 2")
        if gated:
            run.equal()
        else:
            assert run.rows("id") == [(1,), (2,), (3,)], "row 2 should have come back as a ghost"


@GATED
def test_a_unique_value_that_leaves_a_chunk_being_copied(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, gated: bool
) -> None:
    """The chunk has read u = 5 of row 9; u = 5 moves to row 1, which is flushed; writing the chunk removes row 1 by
    REPLACE.
    """
    name = make_table(pair, schema, UNIQUE, "(1, 4, 0), (9, 5, 0)")
    with EngineInProcess(pair, schema, StartState({name: chunks_of("5")})) as run:
        started(run)
        run.move.chunks.redo.reverse()
        run.chunk().join()  # the range with row 1 is on the target
        with chunk_under_way(run, monkeypatch, gated=gated):
            on_source(pair, schema, "UPDATE t SET u = NULL WHERE id = 9", "UPDATE t SET u = 5 WHERE id = 1")
        if gated:
            run.equal()
        else:
            assert run.rows("id, u") == [(9, 5)], "row 1 should have been replaced away"


@pytest.mark.parametrize(
    "changes",
    [
        ["UPDATE t SET id = -3 WHERE id = 7", "UPDATE t SET id = 7 WHERE id = -3"],
        ["UPDATE t SET id = -3, v = 70 WHERE id = 7"],
        ["UPDATE t SET id = 6 WHERE id = -5", "UPDATE t SET id = -5, v = 50 WHERE id = 6"],
        ["DELETE FROM t WHERE id = 7", "INSERT INTO t VALUES (7, 700)"],
        ["DELETE FROM t WHERE id IN (0, -5)", "INSERT INTO t VALUES (0, 1000)"],
        ["UPDATE t SET id = -2147483648 WHERE id = 0"],
    ],
    ids=["there and back", "into the copied range", "out and back", "reinserted", "zero and below", "the lowest"],
)
def test_keys_that_move_while_a_chunk_is_being_copied(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, changes: list[str]
) -> None:
    """The range up to 0 is copied, the next one is read and not written; each change is a transaction."""
    name = make_table(pair, schema, "id INT NOT NULL PRIMARY KEY, v INT", "(-5, 5), (0, 0), (3, 3), (7, 7)")
    with EngineInProcess(pair, schema, StartState({name: chunks_of("0")})) as run:
        started(run)
        run.move.chunks.redo.reverse()
        run.chunk().join()
        with chunk_under_way(run, monkeypatch):
            for change in changes:
                on_source(pair, schema, change)
        run.equal()


def nth_step(wanted: int) -> Callable[[Table, Selector], bool]:
    steps = itertools.count()
    return lambda _table, _selector: next(steps) == wanted


def test_collation_equal_keys_in_two_batches_of_a_generation(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """'a' becomes 'A': two keys by their bytes, one row. Each of the two batches is the late one once."""
    monkeypatch.setattr(flusher, "BATCH_KEYS", 1)
    columns = "k VARCHAR(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci PRIMARY KEY, v INT"
    name = make_table(pair, schema, columns, "('a', 1), ('b', 2)", on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        for late, change in ((0, "k = 'A', v = 2"), (1, "k = 'a', v = 3"), (0, "k = 'A', v = 4"), (1, "v = 5")):
            on_source(pair, schema, f"UPDATE t SET {change} WHERE k = 'a'")
            run.streamed()
            keys = run.buffer.pending_keys()
            with stalled(monkeypatch, nth_step(late)) as stall:
                flush = run.flush()
                if late < keys:
                    stall.wait()
                    on_source(pair, schema, "DELETE FROM t WHERE k = 'A'", "INSERT INTO t VALUES ('a', 100)")
                stall.release()
                flush.join()
            settle(run)
            run.equal()


# -- back-pressure ----------------------------------------------------------------------------------------------------


def test_a_huge_transaction_streams_through_a_small_buffer(pair: Pair, schema: str) -> None:
    capacity, rows = 2 << 20, 300_000
    name = make_table(pair, schema, "id BIGINT NOT NULL PRIMARY KEY, v INT")
    digits = (
        "(SELECT 0 n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5"
    )
    digits += " UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)"
    tables = ", ".join(f"{digits} d{place}" for place in range(6))
    number = "+".join(f"d{place}.n*{10**place}" for place in range(6))
    with EngineInProcess(pair, schema, StartState({name: COPIED}), limits=Limits(buffer_bytes=capacity)) as run:
        fullest = 0.0
        run.engine.start_streaming()
        insert = f"INSERT INTO t SELECT {number} AS i, 1 FROM {tables} HAVING i < {rows}"
        on_source(pair, schema, insert)

        def looked() -> bool:
            nonlocal fullest
            fullest = max(fullest, run.buffer.fullness)
            run.engine.check()
            return run.streamer.status().row_changes >= rows

        wait_until(looked, "the transaction was streamed", 300)
        run.quiet(300)
        print(f"{rows} rows, buffer at most {fullest:.2f} full, {len(run.flushes)} generations")
        assert 0.5 < fullest < 1.1  # one row event may be added to a buffer that is not full
        assert len(run.flushes) > 2
        run.equal()
