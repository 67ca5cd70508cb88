"""The coordinator's actions on threads and servers, for one start of a run. Made by ``startup``."""

import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ferry_core.api.report import Phase
from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.changes.whole_tables import too_slow
from ferry_core.checkpoint.state import ObjectsState
from ferry_core.consistency.table_start import make_readable
from ferry_core.cutover.attempt import STREAMED, VERIFIED, CutoverAttempt
from ferry_core.cutover.outcome import AttemptOutcome
from ferry_core.cutover.unlocking import LeaseCorrector
from ferry_core.cutover.window import refuse_outside
from ferry_core.errors import ConnectionLost, DataError, FerryError, Interrupted, LockConflict, RetriableError
from ferry_core.intent.desired_state import DesiredState
from ferry_core.moves.move import MoveState, TableMove
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.attempts import AttemptTimings
from ferry_core.run.claim import empty_unrecorded, writes_begin
from ferry_core.run.copy_again import with_children
from ferry_core.run.definitions import SINCE_THE_START, refuse_changed
from ferry_core.run.early_counters import raise_early
from ferry_core.run.in_place import InPlace
from ferry_core.run.last_checks import LastChecks
from ferry_core.run.late_objects import LateWork
from ferry_core.run.late_writes import LateWrites, WatchedEnd
from ferry_core.run.locks import source_lock
from ferry_core.run.new_tables import NewTables
from ferry_core.run.objects import Save, TargetObjects
from ferry_core.run.operations import WaitUntil
from ferry_core.run.parts import Parts
from ferry_core.run.primary import end_of_writes, primary_of
from ferry_core.run.rebuilds import Rebuilds
from ferry_core.schema.foreign_keys import add_foreign_keys
from ferry_core.tables.table import TableName
from ferry_core.workers.index_builds import IndexBuilds
from ferry_core.workers.orphans import suspect_orphans

if TYPE_CHECKING:
    from ferry_core.cutover.source_lock import SourceLock
    from ferry_core.run.started import Checkpointing

log = logging.getLogger(__name__)

STOPPING_SESSIONS = 3
"""Of an attempt on the source until writes are stopped, besides its session for short statements: that of the mutex,
the one that stops writes and the one that ends it.
"""


class DataOperations:
    """See ``Operations``. Used in the coordinator's thread only."""

    def __init__(self, parts: Parts, reporter: StatusReporter, closing: Callable[[], None]) -> None:
        """``closing`` is called after the threads have ended."""
        self._parts = parts
        self._connections = parts.context.connections
        self._engine = parts.engine
        self._fence = parts.fence
        self._reporter = reporter
        self._copy = parts.context.ferry.spec.copy_
        self._closing = closing
        self._new_tables = NewTables(parts.context, reporter, lambda: parts.engine.streamer.definitions)
        self._objects = TargetObjects(
            parts.context.ferry.spec, parts.context.tables, parts.context.connections, parts.fence
        )
        self._corrector = LeaseCorrector(parts.engine.suspend_writes)
        self._used_lock: SourceLock | None = None
        self.blocked_milliseconds = 0
        self._rebuilds = Rebuilds(parts.engine.moves)
        pause, building = parts.throttle.pause, self._connections.target_building
        self._indexes = IndexBuilds(parts.engine, building, lambda: self._copy.workers, lambda: pause.paused)
        self._orphans_suspected = threading.Event()
        text = partial(self._connections.source, text=True)
        self._late = LateWrites(self._engine.buffer, self._engine.streamer.late, text)

    # -- threads --------------------------------------------------------------------------------------------------

    @property
    def all_copied(self) -> bool:
        return all(move.copied for move in self._engine.moves)

    @property
    def proven(self) -> bool:
        verifier = self._parts.verifier
        return self._orphans_suspected.is_set() and (verifier is None or verifier.proven)

    def late_changes(self, since: int) -> int:
        return self._late.changes(since, self._engine.moves)

    def check(self) -> None:
        self._engine.check()
        self._connections.refuse_restarted()

    def pace(self, wanted: DesiredState) -> None:
        self._parts.throttle.apply(wanted.directive.throttle)
        self._copy = wanted.directive.copy_

    def adapt(self) -> None:
        throttle = self._parts.throttle
        throttle.evaluate()
        self._engine.chunks.pace(throttle.slowed(self._copy), throttle.rate.largest_step)

    def interrupt(self) -> None:
        if self._engine.busy:
            self._engine.interrupt()

    def start_streaming(self) -> None:
        writes_begin(self._fence, [move.table.target for move in self._engine.moves])
        self._engine.start_streaming()

    def start_copying(self) -> None:
        self._engine.start_copying()

    def start_alone(self, error: DataError, checkpoints: "Checkpointing", tick: Callable[[], None]) -> bool:
        building = self._indexes.is_building
        return InPlace(self._parts, checkpoints, self._reporter, tick, building, self._note_built).start(error)

    def _note_built(self, move: TableMove) -> None:
        """If that fails, the table is compared again before the first attempt."""
        with contextlib.suppress(RetriableError), self._connections.source_control() as source:
            self._rebuilds.note(source, [move])

    def start_verifying(self) -> None:
        for move in self._engine.moves:
            if move.state is MoveState.FINISHING:
                move.state = MoveState.FOLLOWING
        if self._parts.verifier is not None:
            # If that fails, the tables are compared again before the first attempt.
            with contextlib.suppress(RetriableError), self._connections.source_control() as source:
                self._rebuilds.note(source)
        self._engine.start("verify", self._verify)

    def _verify(self) -> None:
        """In a thread of its own."""
        engine = self._engine
        suspect_orphans(engine.moves, engine.buffer, self._connections.target, engine.ending)
        self._orphans_suspected.set()
        if self._parts.verifier is not None:
            self._parts.verifier.run()

    def stop_writing(self) -> None:
        self._connections.forget_starts()  # what follows is correct after a restart as well
        self._engine.stop_writing()

    def stop(self) -> None:
        self._indexes.end()
        self._engine.stop()

    def close(self) -> None:
        self._engine.stop()
        if self._used_lock is not None:
            self._used_lock.end()  # the cutover mutex must be released with this run, not only with the process
        self._closing()

    # -- servers --------------------------------------------------------------------------------------------------

    def empty_fresh_tables(self, started: frozenset[str], wait_while_paused: Callable[[], None]) -> Sequence[TableMove]:
        fresh = [move for move in self._engine.moves if move.id not in started]
        if fresh:
            with self._connections.target() as session:
                empty_unrecorded(self._fence, session, fresh, wait_while_paused)
        return fresh

    def make_readable(self, wait_until: WaitUntil, tick: Callable[[], None]) -> None:
        def stopping() -> bool:
            tick()
            return False

        with self._connections.source_control() as session:
            make_readable(
                session,
                self._parts.visibility,
                self._parts.context.tables,
                self._engine.buffer.processed,
                partial(self._streamed_to_the_end, wait_until),
                stopping,
                self._reporter.message,
            )

    def _streamed_to_the_end(self, wait_until: WaitUntil) -> StreamMark | None:
        """Wait until the streamer has read everything that is in the source's binlog now."""
        with self._connections.source_control() as session:
            end = end_of_binlog(session)
        wait_until(lambda: self._engine.streamer.reached(end))
        return self._engine.buffer.processed

    def add_indexes(self) -> bool:
        done = self._indexes.advance()
        if not done and self.all_copied:
            self._reporter.message(self._indexes.progress)
        return done

    def add_foreign_keys(self) -> bool:
        connections, tables = self._connections, self._parts.context.tables
        try:
            with connections.source_control() as source, connections.target() as target, self._reporter.long_step():
                for notice in add_foreign_keys(source, target, tables, self._fence):
                    log.warning("%s", notice)
        except (ConnectionLost, Interrupted):
            self._fence.read()  # a newer run may have killed it; if the target is unreachable, report that instead
            return False
        except LockConflict as error:
            self._reporter.message(f"adding foreign keys: a table is in use on the target ({error.message})")
            return False
        return True

    def too_slow(self, deadline: float) -> str:
        return too_slow(self._engine.whole_tables.seconds_under_lock(self._engine.moves), deadline)

    def look_for_new_tables(self, *, if_due: bool = False, cut_over: bool = False) -> None:
        if if_due:
            self._new_tables.look_if_due()
        else:
            self._new_tables.look(cut_over=cut_over)

    def new_tables_known(self, *, after_ddl: bool = False) -> bool:
        if after_ddl:
            self._new_tables.refuse_after_ddl()
            return True
        return self._new_tables.refuse()

    def definitions_read(self) -> bool:
        """The last check before an attempt: it finds DDL that its session kept out of the binlog."""
        context = self._parts.context
        try:
            with self._connections.source_control() as source:
                refuse_changed(source, context.ferry.spec.tables, context.tables, SINCE_THE_START)
                rebuilt = self._rebuilds.look(source)
        except RetriableError as error:
            log.warning("definitions could not be read: %s", error)
            return False
        if self._parts.verifier is not None:
            for move in rebuilt:
                log.warning("%s was rebuilt, repaired or checked on the source: it is compared again", move.id)
                self._parts.verifier.rebuilt(move)
        return True

    def bring_objects(self, kept: ObjectsState, save: Save) -> None:
        with self._reporter.long_step():
            self._objects.bring(kept, save)

    # -- the cutover ----------------------------------------------------------------------------------------------

    def attempt(self, number: int, wanted: DesiredState, check_cancelled: Callable[[], None]) -> AttemptOutcome:
        context, timings, verifier = self._parts.context, AttemptTimings(), self._parts.verifier
        checks = LastChecks(self._parts, self._objects, self._new_tables)
        self._engine.moves.allow_letting_go(False)  # DDL of a selected table ends the attempt
        check_cancelled()
        if verifier is not None:
            verifier.stand_aside(check_cancelled)
            verifier.look_again(check_cancelled)
        raise_early(self._connections, context.tables, self._fence, check_cancelled)
        whole = self._engine.whole_tables.attempt()

        def reached(step: str) -> None:
            timings.reached(step)
            leave(2 if step == VERIFIED else 1)  # the mutex; then a look at what is stopped, too
            if step == STREAMED:
                whole.copy_at_once()

        cutover = CutoverAttempt(
            fence=self._fence.by(self._connections.patient_lease),
            lock=source_lock(context.ferry, self._connections, context.flavor, context.uid, self._source_tables),
            control=self._connections.source_control,
            hurried=self._connections.hurried_lease,
            buffer=self._engine.buffer,
            stream=self._engine.streamer,
            prove=checks.prove,
            streamed=checks.refuse_news,
            connected=checks.connected,
            check_cancelled=check_cancelled,
            corrector=self._corrector,
            confirm=lambda: refuse_outside(wanted.directive.cutover),
            stopped=lambda: self._reporter.writes_stopped(number),
            deadline_seconds=float(wanted.directive.cutover.deadline),
            reached=reached,
            doubt=self._reporter.doubt,
            may_replicate=context.may_replicate,
            replicated=self._parts.replicated,
            primary=primary_of(context),
        )
        self._late.listen()
        try:
            with self._engine.flow.reader.rows.room(STOPPING_SESSIONS) as leave:
                outcome = cutover.run()
        finally:
            whole.over()
            timings.log(number)
            self._used_lock = cutover.lock
            self.blocked_milliseconds = cutover.lock.block.milliseconds
        if not outcome.done:
            self._late.stop()
            self.blocked_milliseconds = 0
            self._engine.moves.allow_letting_go(context.ferry.spec.schema_.copies_again)
            if verifier is not None:
                verifier.go_on()
        return outcome

    def finish_objects(self, stopping: Callable[[], bool]) -> int:
        reporter = self._reporter
        return LateWork(self._objects, reporter.tick, stopping, reporter.objects_missing).finish()

    def keep_lock(self, seconds: float) -> None:
        if self._used_lock is not None:
            try:
                self._used_lock.keep(seconds)
            except FerryError as error:
                log.warning("the session that holds the source's lock could not be kept open: %s", error)

    def late_rows(self) -> list[str]:
        return self._late.rows()

    @property
    def lock_lost(self) -> bool:
        return self._used_lock is not None and self._used_lock.lost

    def stop_keeping_lock(self) -> list[str]:
        return [] if self._used_lock is None else self._used_lock.stop_keeping()

    def _source_tables(self) -> list[TableName]:
        return [move.table.source for move in self._engine.moves]

    def watched_end(self) -> WatchedEnd:
        streamer = self._engine.streamer
        return WatchedEnd(partial(end_of_writes, self._parts.context), streamer.reached, streamer.status)

    def depending_on(self, tables: Collection[str]) -> Collection[str]:
        return with_children(tables, self._engine.moves.cascades)

    def record_aborted(self) -> None:
        self._fence.record(phase=Phase.ABORTED.value)
