"""Moves that start while others continue: one joins, one starts over with another definition, also across a kill -9."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from ferry_core.api.selection import Tables
from ferry_core.checkpoint.sqlite import SqliteStore
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.table_start import empty_tables
from ferry_core.errors import FerryError
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import parse_position
from ferry_core.run.checkpoints import Checkpoints, Stored, counted_from
from ferry_core.run.definitions import SINCE_VALIDATION, refuse_changed
from ferry_core.schema.create import create_missing
from ferry_core.tables.discovery import discover
from ferry_core.tables.table import KeyRange, KeySet, Selector, Table
from ferry_core.workers.starting import MoveStarter, StartSteps
from tests.support.engine_in_process import COPIED, EngineInProcess, Limits, StartState, stalled
from tests.support.servers import Pair
from tests.support.table_pair import make_table
from tests.support.waits import PATIENCE_SECONDS, meanwhile, wait_until

COLUMNS = "id INT NOT NULL PRIMARY KEY, v INT"


class Run(EngineInProcess):
    """With the coordinator's steps for a move that starts."""

    checkpoints: Checkpoints | None = None

    @property
    def starter(self) -> MoveStarter:
        steps = StartSteps(self._save, self.engine.check, self._empty, self._compare, lambda _move: None)
        return MoveStarter(self.engine, steps)

    def start_over(self, move: TableMove, table: Table) -> TableMove:
        self.starter.stop([move])
        new = self.moves.replace(move, table)
        self._make(table)
        self.starter.begin(new)
        return new

    def join(self, table: Table) -> TableMove:
        move = self.moves.join(table)
        self._make(table)
        self.starter.begin(move)
        return move

    def _empty(self, move: TableMove) -> None:
        with self.connections.target() as session:
            empty_tables(self.fence, session, [move], self.engine.check)

    def _save(self, started: Iterable[TableMove]) -> None:
        if self.checkpoints is not None:
            self.checkpoints.save(started)

    def _make(self, table: Table) -> None:
        self.pair.target.execute(f"DROP TABLE IF EXISTS {table.target.sql}")
        with self.connections.source_control() as source, self.connections.target_control() as target:
            create_missing(source, target, [table], self.fence)

    def _compare(self, table: Table) -> None:
        with self.connections.source_control() as source:
            refuse_changed(source, Tables(include=[f"{self.schema}.*"]), [table], SINCE_VALIDATION)

    def named(self, name: str) -> TableMove:
        return next(move for move in self.moves if move.table.source.name == name)

    def found(self, name: str) -> Table:
        """The table as it is on the source now."""
        with self.connections.source_control() as source:
            (table,) = discover(source, Tables(include=[f"{self.schema}.{name}"]))
        return table

    def let_go(self, name: str) -> TableMove:
        """As if the stream had seen a DDL statement after which the table must be copied again."""
        move = self.named(name)
        seen = self.moves.unfollow(move)
        wait_until(lambda: self.sound() and self.moves.wait_seen(seen, 0.1), "the stream has let go")
        return move

    def alike(self, name: str) -> None:
        schema = self.schema
        rows = [
            server.query(f"SELECT * FROM `{schema}`.`{name}` ORDER BY id")
            for server in (self.pair.source, self.pair.target)
        ]
        assert rows[0] == rows[1]


def writing(pair: Pair, *statements: str) -> AbstractContextManager[None]:
    """Runs statements containing ``{n}`` all the time, in turn."""

    def run(over: threading.Event) -> None:
        number = 1000
        while not over.wait(0.002):
            number += 1
            pair.source.execute(*(statement.format(n=number) for statement in statements))

    return meanwhile(run)


def test_a_table_joins_a_running_set_and_is_copied(pair: Pair, schema: str) -> None:
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2)", name="a")
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2), (3, 3)", name="b")
    with Run(pair, schema, include=[f"{schema}.a"]) as run:
        run.go()
        run.quiet()
        wait_until(lambda: not run.engine._workers, "the copy workers are gone")
        changes = [f"INSERT INTO `{schema}`.{name} VALUES ({{n}}, 1)" for name in "ab"]
        changes += [f"UPDATE `{schema}`.{name} SET v = {{n}} WHERE id = 2" for name in "ab"]
        changes += [f"DELETE FROM `{schema}`.{name} WHERE id = {{n}} - 3" for name in "ab"]
        with writing(pair, *changes):
            wait_until(lambda: run.buffer.changes > 20, "a is written to")
            move = run.join(run.found("b"))
            before = run.buffer.changes
            wait_until(lambda: run.sound() and move.copied, "b is copied")
            wait_until(lambda: run.buffer.changes > before + 20, "both are written to")
        run.quiet()
        assert [one.id for one in run.moves] == [f"{schema}.a", f"{schema}.b"]
        assert move.counts_from is not None
        run.alike("a")
        run.alike("b")


def test_a_move_that_starts_over_is_copied_while_the_others_continue(pair: Pair, schema: str) -> None:
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2)", name="a")
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2), (3, 3)", name="b")
    with Run(pair, schema, limits=Limits(workers=2)) as run:
        run.go()
        run.quiet()
        with writing(pair, f"UPDATE `{schema}`.a SET v = {{n}}", f"INSERT INTO `{schema}`.a VALUES ({{n}}, 0)"):
            move = run.let_go("b")
            pair.source.execute(
                f"UPDATE `{schema}`.b SET v = 7 WHERE id = 1",
                f"ALTER TABLE `{schema}`.b ADD w VARCHAR(9) DEFAULT 'new' FIRST",
                f"DELETE FROM `{schema}`.b WHERE id = 2",
            )
            before = run.buffer.changes
            move = run.start_over(move, run.found("b"))
            pair.source.execute(
                f"INSERT INTO `{schema}`.b VALUES ('x', 9, 9)", f"DELETE FROM `{schema}`.b WHERE id = 3"
            )
            wait_until(lambda: run.sound() and move.copied, "b is copied again")
            wait_until(lambda: run.buffer.changes > before + 10, "a goes on")
        run.quiet()
        assert [column.name for column in move.table.columns] == ["w", "id", "v"]
        run.alike("a")
        run.alike("b")


def test_a_chunk_that_was_handed_out_before_the_move_started_over_is_void(pair: Pair, schema: str) -> None:
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2)", name="b")
    with Run(pair, schema) as run:
        run.engine.start_streaming()
        assert run.make_readable()
        sessions = run.engine._pair()
        found = run.engine._next_chunk(sessions)
        assert found is not None
        move = run.let_go("b")
        pair.source.execute(f"ALTER TABLE `{schema}`.b DROP v")
        run.start_over(move, run.found("b"))
        run.engine._copy_chunk(sessions, *found)  # the columns that it speaks of are gone
        run.quiet()
        run.alike("b")


def test_keys_of_an_undecided_xa_transaction_are_read_by_the_new_copy(pair: Pair, schema: str) -> None:
    """Prepared before the move starts over, decided meanwhile: no event contains its rows."""
    make_table(pair, schema, COLUMNS, "(1, 1)", name="b")
    with Run(pair, schema) as run:
        run.go()
        run.quiet()
        pair.source.execute("XA START 'x'", f"INSERT INTO `{schema}`.b VALUES (5, 5)", "XA END 'x'", "XA PREPARE 'x'")
        wait_until(lambda: run.sound() and run.buffer.prepared_xids(), "the PREPARE is streamed")
        start = threading.Thread(target=lambda: run.start_over(move, run.found("b")))
        move = run.let_go("b")
        start.start()
        wait_until(
            lambda: run.sound() and move.started is False and move.state is MoveState.RESTARTING, "it starts over"
        )
        start.join(1.5)
        assert start.is_alive(), "it did not wait for the decision"
        pair.source.decide_xa("XA COMMIT 'x'")
        start.join(PATIENCE_SECONDS)
        assert not start.is_alive()
        run.quiet()
        run.alike("b")


# -- over a kill -9 -----------------------------------------------------------------------------------------------


class NoReport:
    """Receives notices of checkpoints, and reports nothing."""

    json_changed = 0

    def checkpointed(self, ok: bool) -> None:
        assert ok

    def failed(self, error: FerryError) -> None:
        raise AssertionError(error)


def recorded(run: Run, path: Path) -> None:
    """Give the run a state file."""
    state = RunState(ferry_uid=run.uid, ferry_name="t/t", source_id="s", selection="{}", foreign_keys_added=True)
    stored = Stored(SqliteStore(path), run.fence.epoch)
    run.checkpoints = Checkpoints(stored, state, run.chunks, run.buffer, NoReport())


def dies_while_one_starts_over(pair: Pair, schema: str, path: Path, copying: Event) -> None:
    """The child process: b starts over while keys of a cannot be flushed; its first chunk is read and never written."""
    patch = pytest.MonkeyPatch()

    def of(name: str, kind: type) -> Callable[[Table, Selector], bool]:
        return lambda table, selector: table.source.name == name and isinstance(selector, kind)

    states = {f"{schema}.a": COPIED, f"{schema}.b": COPIED}
    run = Run(pair, schema, StartState(states, uid="killed"))
    recorded(run, path)
    run.engine.start_streaming()
    assert run.checkpoints is not None
    run.checkpoints.save(run.moves)
    with stalled(patch, of("a", KeySet)) as slow:
        pair.source.execute(f"UPDATE `{schema}`.a SET v = 100 WHERE id = 1")
        slow.wait()
        pair.source.execute(f"UPDATE `{schema}`.b SET v = 7 WHERE id = 1")
        run.streamed()
        move = run.let_go("b")
        pair.source.execute(
            f"INSERT INTO `{schema}`.b VALUES (4, 4)",
            f"ALTER TABLE `{schema}`.b ADD w INT DEFAULT 5 FIRST",
            f"UPDATE `{schema}`.a SET v = 200 WHERE id = 2",
        )
        with stalled(patch, of("b", KeyRange)) as never:
            run.start_over(move, run.found("b"))
            never.wait()
            run.checkpoints.save([])
            copying.set()
            threading.Event().wait(2 * PATIENCE_SECONDS)


def test_a_run_that_is_killed_while_a_move_starts_over_resumes_it_at_its_own_position(
    pair: Pair, schema: str, tmp_path: Path
) -> None:
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2)", name="a", on_target=True)
    make_table(pair, schema, COLUMNS, "(1, 1), (2, 2), (3, 3)", name="b", on_target=True)
    fork = multiprocessing.get_context("fork")
    copying = fork.Event()
    path = tmp_path / "state.db"
    child = fork.Process(target=dies_while_one_starts_over, args=(pair, schema, path, copying))
    child.start()
    try:
        assert copying.wait(PATIENCE_SECONDS)
    finally:
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
    pair.source.execute(f"DELETE FROM `{schema}`.b WHERE id = 2", f"INSERT INTO `{schema}`.b VALUES (6, 6, 6)")
    state = SqliteStore(path).load()
    assert state is not None
    assert state.position is not None
    b = state.tables[f"{schema}.b"]
    assert b.started
    assert (b.counts_from_place is not None) is (pair.flavor is Flavor.MARIADB)
    began, resumes = counted_from(b, pair.flavor), parse_position(pair.flavor, state.position)
    assert began is not None
    assert began.position.contains(resumes)
    assert not resumes.contains(began.position), "the run resumes behind the move's start: nothing to tell apart"
    with Run(
        pair, schema, StartState(state.tables, start=resumes, counts_from={f"{schema}.b": began}, uid="killed")
    ) as run:
        run.go()
        run.quiet()
        assert run.named("a").counts_from is None
        run.alike("a")
        run.alike("b")


def test_without_its_own_position_the_resumed_run_meets_the_old_definition(pair: Pair, schema: str) -> None:
    """Shows why it is stored: events from before the ALTER, and the ALTER itself, are after the run's position."""
    make_table(pair, schema, COLUMNS, "(1, 1)", name="b", on_target=True)
    with Run(pair, schema, StartState({f"{schema}.b": COPIED})) as run:
        start = run.start.position
    pair.source.execute(f"UPDATE `{schema}`.b SET v = 7", f"ALTER TABLE `{schema}`.b ADD w INT")
    pair.target.execute(f"ALTER TABLE `{schema}`.b ADD w INT")
    with Run(pair, schema, StartState({f"{schema}.b": COPIED}, start=start)) as run:
        run.stream()
        wait_until(lambda: run.engine._failure, "the stream refuses")
    with Run(pair, schema, StartState({f"{schema}.b": COPIED})) as run:
        later = run.start
    with Run(pair, schema, StartState({f"{schema}.b": COPIED}, start=start, counts_from={f"{schema}.b": later})) as run:
        run.stream()
        run.streamed()
        assert not run.buffer.pending_keys()
        pair.source.execute(f"UPDATE `{schema}`.b SET v = 8")
        run.pending(1)


def test_a_table_keeps_the_place_of_its_start_where_gtids_are_out_of_order(mariadb_pair: Pair, schema: str) -> None:
    """The last transaction before its start has a lower number than the run's position."""
    pair, state = mariadb_pair, {f"{schema}.b": COPIED}
    make_table(pair, schema, COLUMNS, "(1, 1)", name="b", on_target=True)
    with Run(pair, schema, StartState(state)) as run:
        start = run.start.position
    pair.source.execute("SET GLOBAL gtid_strict_mode = OFF")
    try:
        pair.source.execute(f"UPDATE `{schema}`.b SET v = 7")
        pair.source.execute("SET SESSION gtid_seq_no = 1", f"ALTER TABLE `{schema}`.b ADD w INT")
        pair.target.execute(f"ALTER TABLE `{schema}`.b ADD w INT")
        with Run(pair, schema, StartState(state)) as run:
            later = run.start
        with Run(pair, schema, StartState(state, start=start, counts_from={f"{schema}.b": later})) as run:
            pair.source.execute(f"UPDATE `{schema}`.b SET v = 8")  # else the source would refuse the run's position
            run.stream()
            run.pending(1)
    finally:
        pair.source.execute("SET GLOBAL gtid_strict_mode = ON")
