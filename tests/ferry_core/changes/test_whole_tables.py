"""Tables without a key: when they are copied again, and that nothing is lost whenever a change comes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.changes.whole_tables import RECENTLY_SECONDS, WholeTables, too_slow
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.rows.whole import WholeCopier
from ferry_core.tables.table import ALL_ROWS_RAW, NO_KEY
from ferry_core.workers import engine
from tests.support.engine_in_process import COPIED, EngineInProcess, Stall, StartState
from tests.support.keyless import assert_same_rows
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.tables import decode, mark, move_of, simple_table
from tests.support.waits import wait_until

ROWS = ("(1, 'a'), (1, 'a'), (2, 'b')",)
KEYLESS = "n INT, note VARCHAR(20)"


# -- when: without a server -------------------------------------------------------------------------------------------


def keyless_move(name: str = "t", rows: int = 0) -> TableMove:
    move = move_of(replace(simple_table(name), key=NO_KEY, rows_estimated=rows))
    move.flushed_at, move.state = time.monotonic(), MoveState.FOLLOWING
    return move


@pytest.fixture
def buffer() -> ChangeBuffer:
    return ChangeBuffer(mark(0))


def changed(buffer: ChangeBuffer, move: TableMove, at: int = 1) -> None:
    buffer.begin(mark(at - 1), mark(at), None)
    buffer.changed(move, [b"1" if move.table.key.columns else ALL_ROWS_RAW], decode)
    buffer.end(mark(at), 1000.0)


def test_a_quiet_one_is_copied_again_at_once_and_a_busy_one_rests(buffer: ChangeBuffer) -> None:
    whole, move = WholeTables(buffer), keyless_move()
    changed(buffer, move)
    move.copy_seconds = 5.0
    assert whole.due([move]) == []
    move.pending.changed_at -= 5
    assert whole.due([move]) == [move]
    move.pending.changed_at += 5
    move.flushed_at -= 49
    assert whole.due([move]) == []
    move.flushed_at -= 1
    assert whole.due([move]) == [move]


def test_none_is_copied_again_before_its_first_copy_is_done(buffer: ChangeBuffer) -> None:
    whole, move = WholeTables(buffer), keyless_move()
    changed(buffer, move)
    move.flushed_at, move.state = 0.0, MoveState.COPYING
    assert whole.due([move]) == []
    move.state = MoveState.FINISHING
    assert whole.due([move]) == [move]


def test_a_slow_one_is_copied_alone(buffer: ChangeBuffer) -> None:
    whole = WholeTables(buffer)
    slow, quick, another, keyed = keyless_move("a"), keyless_move("b"), keyless_move("c"), move_of()
    for move in (slow, quick, another, keyed):
        changed(buffer, move)
        move.flushed_at -= 1000
    slow.copy_seconds = 30.0
    assert whole.due([slow, quick, another, keyed]) == [quick, another]
    assert whole.due([slow, keyed]) == [slow]


def test_a_large_one_is_slow_also_before_its_first_copy_since_the_start(buffer: ChangeBuffer) -> None:
    whole, small = WholeTables(buffer), keyless_move("small")
    large = [keyless_move(name, rows=100_000_000) for name in "abcd"]
    for move in (small, *large):
        changed(buffer, move)
        move.pending.changed_at -= 1_000_000
    assert whole.due([small, *large]) == [small]
    assert whole.due(large) == large[:1]


def test_none_begins_while_an_attempt_does_and_all_do_once_writes_are_stopped(buffer: ChangeBuffer) -> None:
    whole, slow, quick = WholeTables(buffer), keyless_move("a"), keyless_move("b")
    slow.copy_seconds = 30.0
    for move in (slow, quick):
        changed(buffer, move)
    during = whole.attempt()
    quick.flushed_at = slow.flushed_at = 0.0
    assert whole.due([slow, quick]) == []
    during.copy_at_once()
    assert whole.due([slow, quick]) == [slow, quick]
    during.over()
    assert whole.due([slow, quick]) == [quick]
    during.copy_at_once()  # by a thread of the attempt that a hanging server held up
    assert whole.due([slow, quick]) == [quick]


def test_what_an_attempt_would_take_is_known_before(buffer: ChangeBuffer) -> None:
    whole, still, slow, quick = WholeTables(buffer), keyless_move("still"), keyless_move("log"), keyless_move("quick")
    still.copy_seconds, slow.copy_seconds, quick.copy_seconds = 100.0, 40.0, 1.0
    still.pending.changed_at = time.monotonic() - RECENTLY_SECONDS - 1
    for move in (slow, quick):
        changed(buffer, move)
    slow.compare_seconds = 9.0
    found = whole.seconds_under_lock([still, quick, slow, move_of()])
    assert [(move.id, seconds) for move, seconds in found] == [("shop.log", 49.0), ("shop.quick", 1.0)]
    said = too_slow(found, 30)
    assert (
        "shop.log and 1 other tables that are copied whole need about 50 s under the lock; cutover.deadline is 30 s"
        in said
    )
    assert "ALTER TABLE `shop`.`log` ADD" in said
    assert too_slow(found, 60) == ""
    assert buffer.take(slow, 1) is not None  # a copy is under way: it has to end before the one that counts
    assert dict(whole.seconds_under_lock([slow])) == {slow: 89.0}


def test_neither_lag_nor_checkpoint_wait_for_them(buffer: ChangeBuffer) -> None:
    whole, keyed = keyless_move(), move_of(simple_table("keyed"))
    changed(buffer, whole, 1)
    assert (buffer.checkpoint_mark(), buffer.oldest_commit()) == (mark(1), None)
    changed(buffer, keyed, 2)
    assert (buffer.checkpoint_mark(), buffer.oldest_commit()) == (mark(1), 1000.0)
    assert buffer.pending_keys(whole) == 1


# -- nothing is lost: on real servers ---------------------------------------------------------------------------------


@contextmanager
def stalled_copy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stall]:
    """Stop the first copy of a whole table when the source has been read and nothing of it is on the target."""
    stall = Stall(lambda _table, _selector: True)
    proceed = WholeCopier._load

    def stalling(copier: WholeCopier, statements: Any, part: Any, **options: Any) -> Any:
        stall.pass_through(statements.table, None)  # type: ignore[arg-type]
        return proceed(copier, statements, part, **options)

    with monkeypatch.context() as patched:
        patched.setattr(WholeCopier, "_load", stalling)
        try:
            yield stall
        finally:
            stall.release()


def on_source(pair: Pair, schema: str, *statements: str) -> None:
    pair.source.execute(f"USE `{schema}`", "BEGIN", *statements, "COMMIT")


CHANGES = ("INSERT INTO t VALUES (3, 'c'), (1, 'a')", "DELETE FROM t WHERE n = 2", "UPDATE t SET note = 'x' LIMIT 1")


@pytest.mark.parametrize("change", CHANGES, ids=["insert", "delete", "update"])
def test_a_change_while_its_first_copy_is_under_way(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    make_table(pair, schema, KEYLESS, *ROWS)
    with EngineInProcess(pair, schema) as run, stalled_copy(monkeypatch) as stall:
        run.stream()
        assert run.make_readable()
        chunk = run.chunk()
        stall.wait()
        on_source(pair, schema, change)
        run.pending(1)
        flush = run.flush()
        assert flush.stays(), "the table was copied again while its first copy was under way"
        stall.release()
        chunk.join()
        flush.join()
        assert (run.chunks.all_done, run.buffer.pending_keys()) == (True, 0)
        assert_same_rows(pair.source, pair.target, schema, "t")


def test_a_change_while_it_is_copied_again(pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = make_table(pair, schema, KEYLESS, *ROWS, on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run, stalled_copy(monkeypatch) as stall:
        run.stream()
        on_source(pair, schema, CHANGES[0])
        run.pending(1)
        flush = run.flush()
        stall.wait()  # it has read the first change
        on_source(pair, schema, CHANGES[1])
        run.pending(2)  # the first one under way, the second one not forgotten with it
        stall.release()
        flush.join()
        run.pending(1)
        run.flush().join()
        run.pending(0)
        assert_same_rows(pair.source, pair.target, schema, "t")


def test_a_rolled_back_and_a_committed_xa_transaction(pair: Pair, schema: str) -> None:
    name = make_table(pair, schema, KEYLESS, *ROWS, on_target=True)
    with EngineInProcess(pair, schema, StartState({name: COPIED})) as run:
        run.stream()
        for xid, ending in (("'one'", "ROLLBACK"), ("'two'", "COMMIT")):
            change = f"INSERT INTO t VALUES (7, {xid})"
            pair.source.execute(f"USE `{schema}`", f"XA START {xid}", change, f"XA END {xid}", f"XA PREPARE {xid}")
            wait_until(lambda: run.sound() and run.buffer.prepared_xids(), "it is prepared")
            assert run.buffer.checkpoint_mark() < run.buffer.processed, "a checkpoint would pass the XA PREPARE"
            pair.source.execute(f"XA {ending} {xid}")
            run.pending(int(ending == "COMMIT"))
        run.flush().join()
        run.pending(0)
        assert assert_same_rows(pair.source, pair.target, schema, "t") == 4


def test_their_own_thread_copies_them_while_another_table_is_flushed(
    pair: Pair, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = make_table(pair, schema, KEYLESS, *ROWS, on_target=True)
    keyed = make_table(pair, schema, "id INT PRIMARY KEY", "(1)", on_target=True, name="k")
    states = {name: COPIED, keyed: COPIED}
    monkeypatch.setattr(engine, "FLUSH_WORKERS", 1)  # as many as there are tables without a key that take long
    with EngineInProcess(pair, schema, StartState(states)) as run, stalled_copy(monkeypatch) as stall:
        run.engine.start_streaming()
        on_source(pair, schema, CHANGES[0])
        stall.wait()
        on_source(pair, schema, "INSERT INTO k VALUES (2)")
        wait_until(
            lambda: run.sound() and pair.target.value(f"SELECT COUNT(*) FROM `{schema}`.k") == 2, "row 2 is there"
        )
        run.pending(1)  # that of the table without a key
        stall.release()
        run.quiet()
        assert_same_rows(pair.source, pair.target, schema, "t")
