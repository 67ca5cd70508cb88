"""The coordinator: takes one Ferry from its first chunk to its hand-over, stage by stage. Runs in the main thread.

It alone writes checkpoints and decides on stages; the engine's threads do the moving. ``_tick`` is its heartbeat: raise
what a thread failed with, obey pause, stop and abort, store a checkpoint when one is due, tell the report.
"""

import logging
import time
from collections.abc import Callable

from ferry_core.api.choices import CreateTables
from ferry_core.api.report import Stage
from ferry_core.binlog.ending import end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.table_start import empty_tables, make_readable
from ferry_core.consistency.visibility import Visibility
from ferry_core.cutover.attempt import Handover
from ferry_core.cutover.gates import MissingGate
from ferry_core.cutover.outcome import Attempt
from ferry_core.cutover.source_lock import SourceLock
from ferry_core.cutover.unlocking import LeaseCorrector
from ferry_core.errors import (
    AmbiguousError,
    ConnectionLost,
    DataError,
    FerryError,
    Interrupted,
    LockConflict,
    RetriableError,
    Terminated,
)
from ferry_core.intent.desired_state import DesiredState
from ferry_core.intent.intent import Intent
from ferry_core.reasons import Reason
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.attempts import AttemptSeries, AttemptTimings, CaughtUp
from ferry_core.run.checkpoints import Checkpoints
from ferry_core.run.definitions import SINCE_THE_START, refuse_changed
from ferry_core.run.new_tables import NewTables
from ferry_core.run.setup import RunContext
from ferry_core.schema.counters import raise_counters
from ferry_core.schema.foreign_keys import add_foreign_keys
from ferry_core.throttle import Throttle
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.engine import Engine

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1
PAUSE_GRACE_SECONDS = 0.3
"""How long steps under way may end by themselves when a pause begins; the promise is no row write after a second."""


def aborted() -> Terminated:
    """How a run ends by an abort."""
    return Terminated(Reason.ABORTED, "aborted: copying has stopped, the target is kept as it is")


class Coordinator:
    """One run's way through the stages; ``run`` once."""

    def __init__(
        self,
        context: RunContext,
        fence: Fence,
        engine: Engine,
        visibility: Visibility,
        checkpoints: Checkpoints,
        verification: BackgroundVerifier | None,
        lock: Callable[[], SourceLock],
        throttle: Throttle,
        intent: Intent,
        reporter: StatusReporter,
        series: AttemptSeries,
    ) -> None:
        """``verification`` is None for verify.mode None; ``lock`` makes one with the credentials of now."""
        self._context = context
        self._fence = fence
        self._engine = engine
        self._visibility = visibility
        self._checkpoints = checkpoints
        self._verification = verification
        self._lock = lock
        self._used_lock: SourceLock | None = None
        self._throttle = throttle
        self._intent = intent
        self._reporter = reporter
        self._new_tables = NewTables(context, reporter)
        self._paused_since: float | None = None
        self._series = series
        self.started = False
        """Whether it copies chunks, or did: what fails earlier is retried by beginning again from the checkpoint."""
        self._corrector = LeaseCorrector(engine.suspend_writes)
        self._handed_over = 0
        self._applied: DesiredState | None = None

    def run(self) -> None:
        """Until handed over. Raises Terminated when stopped or aborted, else the error that ended the run."""
        self._start()
        self._copy()
        self._stream()
        self._watch()

    # -- stages ---------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        state = self._checkpoints.state
        reached = self._context.reached
        state.stage = reached.value
        self._enter(reached)
        fresh = [table for table in self._context.tables if not self._is_started(table.id)]
        if fresh:
            with self._context.connections.target() as session:
                deleted = empty_tables(self._fence, session, fresh, self._wait_while_paused)
            if deleted:
                log.info("deleted %d rows of an earlier, forgotten run from the target", deleted)
        self._engine.start_streaming()
        self._checkpoints.save(started=fresh)
        if not self._engine.chunks.all_done:
            with self._context.connections.source_control() as session:
                make_readable(
                    session,
                    self._visibility,
                    self._engine.buffer.processed,
                    self._streamed_to_the_end,
                    self._tick_then_stopping,
                    self._reporter.message,
                )
        self._tick()
        self.started = True
        log.info("%s from position %s", reached.value.lower(), state.position)

    def _is_started(self, table_id: str) -> bool:
        known = self._checkpoints.state.tables.get(table_id)
        return known is not None and known.started

    def _copy(self) -> None:
        began, left = time.monotonic(), not self._engine.chunks.all_done
        if left:
            self._reporter.message("copying rows")
        self._wait(self._copied)
        if left:
            rows = self._reporter.report().progress.rows_copied
            log.info("all rows are copied: %d, %.1f s in this run", rows, time.monotonic() - began)
        state = self._checkpoints.state
        creates = self._context.ferry.spec.schema_.create is CreateTables.IF_MISSING
        if creates and not state.foreign_keys_added:
            self._reporter.message("adding foreign keys")
            self._wait(self._add_foreign_keys)
            state.foreign_keys_added = True
        self._reporter.all_copied()
        self._checkpoints.save_if_due()

    def _add_foreign_keys(self) -> bool:
        """False while somebody on the target keeps a table in use."""
        connections = self._context.connections
        try:
            with connections.source_control() as source, connections.target() as target, self._reporter.long_step():
                for notice in add_foreign_keys(source, target, self._context.tables, self._fence):
                    log.warning("%s", notice)
        except (ConnectionLost, Interrupted):
            self._fence.read()  # a newer run may have killed it; if the target is away that is said instead
            return False
        except LockConflict as error:
            self._reporter.message(f"adding foreign keys: a table is in use on the target ({error.message})")
            return False
        return True

    def _copied(self) -> bool:
        """Looked at again and again; the wish for more workers may come at any time."""
        self._engine.start_copying()
        return self._engine.chunks.all_done

    def _stream(self) -> None:
        self._enter(Stage.STREAMING)
        self._new_tables.look()
        if self._verification is not None:
            self._engine.start("verify", self._verification.run)
        caught_up = CaughtUp(self._intent.now.directive.cutover.max_lag)
        while True:
            self._tick()
            cutover = self._intent.now.directive.cutover
            caught_up.max_lag = cutover.max_lag
            missing = self._missing_gates(caught_up)
            if not missing:
                self._look_for_new_tables()
            self._enter(Stage.STREAMING if missing else Stage.READY_FOR_CUTOVER)
            exhausted = cutover.permitted and self._series.kept.attempts >= cutover.max_attempts
            self._reporter.gates(missing, wanted=cutover.permitted, exhausted=exhausted)
            if not missing and self._intent.now.wants_cutover:
                if self._series.may_try(cutover.max_attempts):
                    if self._attempt().done:
                        return
                    caught_up.since = None
                elif exhausted:
                    self._reporter.attempts_exhausted(self._series.kept.attempts, cutover.mode)
            self._nap()

    def _look_for_new_tables(self) -> None:
        """Whatever comes to be ready says at once what it does not hold."""
        if self._reporter.stage is Stage.READY_FOR_CUTOVER:
            self._new_tables.look_if_due()
        else:
            self._new_tables.look()

    def _missing_gates(self, caught_up: CaughtUp) -> list[MissingGate]:
        lag = self._reporter.lag()
        missing = []
        if not caught_up.look(lag):
            reason = Reason.LAG_UNKNOWN if lag is None else Reason.LAG_ABOVE_THRESHOLD
            missing.append(MissingGate(reason, caught_up.missing(lag)))
        if self._verification is not None and not self._verification.passed.is_set():
            missing.append(MissingGate(Reason.VERIFICATION_PENDING, "the full pass is not done"))
        if self._throttle.pause.paused:
            missing.append(MissingGate(Reason.PAUSED_BY_USER, "paused"))
        return missing

    def _attempt(self) -> Attempt:
        self._new_tables.look()
        self._enter(Stage.CUTTING_OVER)
        number = self._series.begins()
        state = self._checkpoints.state
        state.stage = Stage.CUTTING_OVER.value
        log.info("cutover attempt %d begins", number)
        self._reporter.attempt_begins(number, float(self._intent.now.directive.cutover.max_lag))
        if not self._definitions_read():
            attempt = Attempt(Reason.DEFINITIONS_UNREAD, "the source could not be asked whether tables were altered", 0)
        elif self._checkpoints.save_now_if_possible():
            if self._verification is not None:
                self._verification.look_again(self._check_cancelled)
            handover, steps = self._handover(number)
            try:
                attempt = handover.attempt()
            except AmbiguousError:
                raise  # the source may stay locked, and that is what is to be seen
            except BaseException:
                state.stage = Stage.STREAMING.value
                self._enter(Stage.STREAMING)  # nothing is left to undo: a stop need not wait for a server any more
                raise
            finally:
                steps.log(number)
            self._used_lock = handover.lock
        else:
            # One that no successor knows of would not count: writes would be stopped oftener than was allowed.
            attempt = Attempt(Reason.CHECKPOINT_NOT_WRITTEN, "the attempt could not be recorded before it began", 0)
        self._series.ended(attempt.reason, attempt.blocked_milliseconds)
        if not attempt.done:
            log.warning(
                "cutover attempt %d failed; writes were blocked for %d ms and go on: %s: %s",
                number, attempt.blocked_milliseconds, attempt.reason, attempt.message,
            )  # fmt: skip
            state.stage = Stage.STREAMING.value
            self._enter(Stage.STREAMING)
        self._reporter.attempt_ended(attempt)
        if attempt.done:
            self._record_done(attempt)
        else:
            self._checkpoints.save_now_if_possible()
        return attempt

    def _definitions_read(self) -> bool:
        """The last look: DDL that its session kept out of the binlog is seen by no other. False if nobody answers."""
        context = self._context
        try:
            with context.connections.source_control() as source:
                refuse_changed(source, context.ferry.spec.tables, context.tables, SINCE_THE_START)
        except RetriableError as error:
            log.warning("definitions could not be read before the attempt: %s", error)
            return False
        return True

    def _handover(self, number: int) -> tuple[Handover, AttemptTimings]:
        steps = AttemptTimings()

        handover = Handover(
            fence=self._fence.by(self._context.connections.patient_lease),
            lock=self._lock(),
            control=self._context.connections.source_control,
            hurried=self._context.connections.hurried_lease,
            buffer=self._engine.buffer,
            prove=self._prove,
            check_cancelled=self._check_cancelled,
            corrector=self._corrector,
            stopped=lambda: self._reporter.writes_stopped(number),
            deadline_seconds=float(self._intent.now.directive.cutover.deadline),
            reached=steps.reached,
            doubt=self._reporter.doubt,
            may_replicate=self._context.may_replicate,
        )
        return handover, steps

    def _prove(self, deadline: float, check: Callable[[], None]) -> str | None:
        """Under the lock: what differs; if nothing does, new ids go on where the source's stopped."""
        differing = self._verification.prove(deadline, check) if self._verification is not None else None
        check()
        if differing is None:
            connections = self._context.connections
            with connections.source_control() as source, connections.target() as target:
                raise_counters(source, target, self._context.tables, self._fence)
        return differing

    def _record_done(self, attempt: Attempt) -> None:
        self._context.connections.forget_starts()  # what comes now is right after a restart as well
        state = self._checkpoints.state
        state.stage = Stage.COMPLETED.value
        state.completed_at = time.time()
        state.write_block_milliseconds = attempt.blocked_milliseconds
        self._handed_over = attempt.changes
        log.info("handed over; writes were blocked for %d ms", attempt.blocked_milliseconds)
        self._engine.stop_writing()
        try:
            self._checkpoints.save()
        except RetriableError as error:
            # The tombstone in the lease row is what counts; the next start reads it.
            log.warning("the state was not stored after the hand-over: %s", error)
        self._new_tables.look()
        self._reporter.completed(attempt.blocked_milliseconds)

    def _watch(self) -> None:
        """After the hand-over: report what the source still accepts."""
        self._keep_lock()
        watch_for = float(self._intent.now.directive.cutover.watch_for)
        log.info("watching the source for late writes for %g s", watch_for)
        until = time.monotonic() + watch_for
        while True:
            written = self._engine.buffer.changes - self._handed_over
            if written:  # looked at first: what came beside the record has ended a flush, and the engine with it
                self._reporter.source_written(written)
            try:
                self._engine.check()
            except DataError as error:
                self._reporter.source_changed(error)
                return
            except FerryError as error:
                log.warning("the source can no longer be watched for late writes: %s", error)
                return
            self._reporter.tick()
            if time.monotonic() >= until or self._intent.now.stopping:
                log.info("watched the source: %d changes since the hand-over", max(0, written))
                return
            self._nap()

    def _keep_lock(self) -> None:
        """Another Ferry of this source must not take part in a lock that is to stay."""
        if self._used_lock is not None:
            try:
                self._used_lock.keep(float(self._intent.now.directive.cutover.watch_for))
            except FerryError as error:
                log.warning("the source could not be told that its lock stays in use: %s", error)

    # -- the heartbeat --------------------------------------------------------------------------------------------

    def _wait(self, until: Callable[[], bool]) -> None:
        while not until():
            self._tick()
            self._nap()

    def _nap(self) -> None:
        self._intent.wait_changed(TICK_SECONDS)

    def _tick(self) -> None:
        self._check_cancelled()
        wanted = self._intent.now
        self._apply(wanted)
        self._obey_pause()
        self._keep_pause(wanted)
        self._keep_series(wanted)
        self._checkpoints.save_if_due()

    def _apply(self, wanted: DesiredState) -> None:
        """The one place where a change takes effect that threads do not pull themselves: one thread, one order."""
        if wanted is not self._applied:
            self._applied = wanted
            self._throttle.rate.set(wanted.directive.throttle.max_rows_per_second)
            self._engine.chunks.pace(wanted.directive.copy_, self._throttle.rate.largest_step)

    def _check_cancelled(self) -> None:
        self._engine.check()
        self._context.connections.refuse_restarted()
        wanted = self._intent.now
        if wanted.aborted:
            raise aborted()
        if wanted.stopping:
            raise Terminated(Reason.STOPPED, "stopped; started again it goes on from its checkpoint")
        self._reporter.tick()

    def _keep_pause(self, wanted: DesiredState) -> None:
        """Store a pause or resume verb at once: it survives a restart."""
        state = self._checkpoints.state
        if wanted.paused_by_verb != state.paused:
            state.paused, state.paused_over = wanted.paused_by_verb, wanted.spec_paused
            self._checkpoints.save_now_if_possible()

    def _keep_series(self, wanted: DesiredState) -> None:
        """Store at once what is said of attempts: a withdrawal lasts, and what began anew is not forgotten."""
        if self._series.follow(wanted.series, wanted.cutover_request):
            self._checkpoints.save_now_if_possible()

    def _obey_pause(self) -> None:
        if not self._throttle.pause.paused:
            self._paused_since = None
            return
        now = time.monotonic()
        if self._paused_since is None:
            self._paused_since = now
        elif now - self._paused_since > PAUSE_GRACE_SECONDS and self._engine.busy:
            self._engine.interrupt()

    def _wait_while_paused(self) -> None:
        self._wait(lambda: not self._throttle.pause.paused)

    def _tick_then_stopping(self) -> bool:
        self._tick()
        return False

    def _streamed_to_the_end(self) -> StreamMark | None:
        """Wait until the streamer has read what is in the source's binlog now."""
        with self._context.connections.source_control() as session:
            end = end_of_binlog(session)
        self._wait(lambda: self._engine.streamer.reached(end))
        return self._engine.buffer.processed

    def _enter(self, stage: Stage) -> None:
        self._reporter.enter(stage)
