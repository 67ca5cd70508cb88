"""The coordinator: the bodies of the phases of ``phases``, in the main thread. Called by ``ferry``.

Only it changes the phase and writes checkpoints; other threads move the rows. ``tick`` is its heartbeat: raise the
error of a thread that failed, apply the desired state, save a checkpoint when one is due, update the report.
``decisions`` contains its decisions, ``operations`` the actions.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from ferry_core.api.report import Stage
from ferry_core.cutover.gates import MissingGate
from ferry_core.cutover.outcome import AttemptOutcome
from ferry_core.errors import AmbiguousError, DataError, ExitCode, FerryError, RetriableError, Terminated
from ferry_core.intent.desired_state import DesiredState
from ferry_core.intent.intent import Intent
from ferry_core.reasons import Reason
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run import decisions
from ferry_core.run.attempts import AttemptSeries
from ferry_core.run.copy_again import changes_named, to_copy_again
from ferry_core.run.decisions import Next
from ferry_core.run.phases import Exit, exit_by, follow
from ferry_core.run.readiness import missing_gates
from ferry_core.run.restart_policy import RestartPolicy
from ferry_core.run.started import Started, Startup
from ferry_core.run.watch import Watch

log = logging.getLogger(__name__)

TICK_SECONDS = 0.1


class Coordinator:
    """``run`` once."""

    def __init__(
        self,
        startup: Startup,
        intent: Intent,
        reporter: StatusReporter,
        restarts: RestartPolicy,
        series: AttemptSeries,
    ) -> None:
        self._startup = startup
        self._intent = intent
        self._reporter = reporter
        self._restarts = restarts
        self._series = series
        self._started: Started | None = None
        self._wanted = intent.now
        self._paced: DesiredState | None = None
        self._paused_since: float | None = None

    def run(self) -> ExitCode:
        """Run until cut over, or until an error ends the run. Restarts after errors that allow it."""
        while True:
            self._started = self._paced = self._paused_since = None
            try:
                return self._run_once()
            except FerryError as error:
                if not self._may_begin_again(error):
                    raise
                self._reporter.begins_again(error, from_checkpoint=not self._startup.start_undone)
            self._restarts.wait(self._intent)

    def _may_begin_again(self, error: FerryError) -> bool:
        if self._intent.now.stopping or not exit_by(error).begins_again:
            return False
        return self._restarts.allow(
            error,
            under_way=self._under_way,
            let_in=self._startup.let_in,
            start_undone=self._startup.start_undone,
            changed=to_copy_again(error, self._startup, self._started),
        )

    @property
    def _under_way(self) -> bool:
        return self._started is not None and self._started.under_way

    def _run_once(self) -> ExitCode:
        try:
            with changes_named(self._startup, lambda: self._started):
                return follow(self)
        except BaseException as error:
            self._leave(error)
            raise
        finally:
            if self._started is not None:
                self._started.operations.close()

    def _leave(self, error: BaseException) -> None:
        """Stop the threads, then save the state. Raises Terminated if the run was aborted."""
        row = exit_by(error)
        recorded = self._started is not None and self._started.recorded
        if row.unlocks and not recorded and self._reporter.stage is Stage.CUTTING_OVER:
            self.enter(Stage.STREAMING)  # nothing is left to undo: a stop no longer needs to wait for a server
        if self._started is None:
            return
        operations = self._started.operations
        if recorded:  # who waits for a lock that ends with this run writes to the source
            self._reporter.writers_waited(operations.stop_keeping_lock)
        elif isinstance(error, AmbiguousError):
            error.add(self._reporter.writers_in_doubt(operations.stop_keeping_lock))
        operations.stop()
        learnt = self._started.checkpoints.learns(error)
        changed = to_copy_again(error, self._startup, self._started) if self._started.streams else ()
        if changed:
            self._restarts.copied(self._started.checkpoints.state)
            self._started.checkpoints.copy_again(operations.depending_on(changed))
        if row.stores_checkpoint or changed or learnt:
            self._started.checkpoints.save_now_if_possible()
        if isinstance(error, DataError) and not self._under_way:
            self._startup.undo_start(error)
        if self._intent.now.aborted and not recorded and isinstance(error, Terminated | RetriableError):
            operations.record_aborted()
            raise decisions.aborted() from error

    # -- the phases' bodies: ``phases.PHASES`` ----------------------------------------------------------------------

    def enter(self, stage: Stage) -> None:
        """The only place where the phase changes: first in the checkpoint's state, then in the report.

        The lease records CuttingOver, Completed and Aborted, each in the transaction that makes it true (``cutover``).
        """
        if self._started is not None:
            state = self._started.checkpoints.state
            # Readiness lasts only seconds: a restart determines it again.
            state.stage = (Stage.STREAMING if stage is Stage.READY_FOR_CUTOVER else stage).value
            if stage is Stage.COMPLETED:
                self._store_completed()
        if stage is not Stage.VALIDATING or not self._startup.has_run:
            self._reporter.enter(stage)

    def validate(self) -> Exit:
        self._started = started = self._startup.start(self._series)
        self._wanted = self._intent.now
        if started is None:
            return Exit.ALREADY_CUT_OVER
        return Exit.ALL_COPIED if started.reached is Stage.STREAMING else Exit.ROWS_MISSING

    def copy(self) -> Exit:
        run = self._begin_tracking()
        began, left = time.monotonic(), not run.operations.all_copied
        if left:
            self._reporter.message("copying rows")
        self._wait_until(self._copied)
        if left:
            rows = self._reporter.report().progress.rows_copied
            log.info("all rows are copied: %d, %.1f s in this run", rows, time.monotonic() - began)
        self._wait_until(run.operations.add_indexes)
        if run.creates_tables and not run.checkpoints.state.foreign_keys_added:
            self._reporter.message("adding foreign keys")
            self._wait_until(run.operations.add_foreign_keys)
            run.checkpoints.state.foreign_keys_added = True
        self._reporter.all_copied()
        run.checkpoints.save_if_due()
        return Exit.ALL_COPIED

    def _begin_tracking(self) -> Started:
        """Start each table (R2), once per start of the run, in the first phase after validation."""
        run = self._run
        if run.streams:
            return run
        run.streams = True
        operations, checkpoints = run.operations, run.checkpoints
        fresh = operations.empty_fresh_tables(checkpoints.state.started, self._wait_while_paused)
        # In this order: if a run ends in between, the next one refuses the rows that others write until then.
        checkpoints.save(started=fresh)
        self.tick()  # a throttle holds from the first row on
        operations.start_streaming()
        if not operations.all_copied:
            operations.make_readable(self._wait_until, self.tick)
        self.tick()
        run.under_way = True
        log.info("%s from position %s", run.reached.value.lower(), checkpoints.state.position)
        return run

    def _copied(self) -> bool:
        """Whether all rows are copied. Polled, and starts more workers if more are wanted."""
        self._run.operations.start_copying()
        self._run.operations.add_indexes()
        return self._run.operations.all_copied

    def stream(self) -> Exit:
        run = self._begin_tracking()
        run.checkpoints.save_now_if_possible()  # records that a failed attempt is over
        if not run.follows:
            run.operations.look_for_new_tables()
            self._bring_objects()
            run.operations.start_verifying()
            run.follows = True
        while True:
            self.tick()
            missing = self._missing_gates()
            if not missing:
                run.operations.look_for_new_tables()  # report left-out tables together with readiness
                return Exit.GATES_PASSED
            self._report_gates(missing)
            self._nap()

    def wait_for_approval(self) -> Exit:
        run = self._run
        while True:
            if self._missing_gates():
                return Exit.GATE_MISSING
            run.operations.look_for_new_tables(if_due=True)
            self._report_gates([])
            wanted, attempts = self._wanted, self._series.kept.attempts
            following = decisions.next_after_gates(wanted, attempts, self._series.seconds_to_next())
            if following is Next.ATTEMPT:
                run.operations.look_for_new_tables()
                return Exit.ATTEMPT_DUE
            if following is Next.ASK_A_PERSON:
                self._reporter.attempts_exhausted(attempts, wanted.directive.cutover.mode)
            self._nap()
            self.tick()

    def cut_over(self) -> Exit:
        run, number = self._run, self._series.begins()
        log.info("cutover attempt %d begins", number)
        self._reporter.attempt_begins(number, float(self._wanted.directive.cutover.max_lag))
        try:
            attempt = self._attempt(run, number)
        except FerryError as error:
            if exit_by(error).begins_again:
                self._attempt_ended(AttemptOutcome(error.reason, error.message, run.operations.blocked_milliseconds))
            raise
        if attempt.done:
            run.recorded, run.checkpoints.state.stage = True, Stage.COMPLETED.value
            attempt = replace(attempt, blocked_milliseconds=attempt.blocked_milliseconds + self._finish_objects())
        self._attempt_ended(attempt)
        if not attempt.done:
            log.warning(
                "cutover attempt %d failed; writes were blocked for %d ms and are allowed again: %s: %s",
                number, attempt.blocked_milliseconds, attempt.reason, attempt.message,
            )  # fmt: skip
            run.caught_up.reset()
            return Exit.ATTEMPT_FAILED
        state = run.checkpoints.state
        state.completed_at, state.write_block_milliseconds = time.time(), attempt.blocked_milliseconds
        run.handed_over = attempt.changes
        log.info("cut over; writes were blocked for %d ms", attempt.blocked_milliseconds)
        return Exit.CUT_OVER

    def _attempt_ended(self, attempt: AttemptOutcome) -> None:
        self._series.ended(attempt.reason, attempt.blocked_milliseconds)
        self._reporter.attempt_ended(attempt)

    def _attempt(self, run: Started, number: int) -> AttemptOutcome:
        if not (run.operations.definitions_read() and run.operations.new_tables_known()):
            return AttemptOutcome(
                Reason.DEFINITIONS_UNREAD, "the source could not be asked which tables were altered or created", 0
            )
        run.checkpoints.state.watched = False
        if not run.checkpoints.save_now_if_possible():
            # An attempt that no successor knows of would not be counted, and writes would be stopped more often than
            # allowed.
            return AttemptOutcome(Reason.CHECKPOINT_NOT_WRITTEN, "the attempt could not be recorded beforehand", 0)
        try:
            self._bring_objects()
        except RetriableError as error:
            return AttemptOutcome(
                Reason.DEFINITIONS_UNREAD, f"views and routines are not up to date: {error.message}", 0
            )
        return run.operations.attempt(number, self._wanted, self.check_cancelled)

    def _bring_objects(self) -> None:
        """Recorded before they are created: whoever comes after a kill knows whose they are."""
        checkpoints = self._run.checkpoints
        self._run.operations.bring_objects(checkpoints.state.objects, checkpoints.save)

    def _finish_objects(self) -> int:
        took = self._run.operations.finish_objects(lambda: self._intent.now.stopping)
        objects = self._run.checkpoints.state.objects
        objects.finished, objects.late = True, None
        return took

    def _store_completed(self) -> None:
        run = self._run
        run.operations.stop_writing()
        try:
            run.checkpoints.save()
        except RetriableError as error:
            # The tombstone in the lease row decides; the next start reads it.
            log.warning("the state was not stored after the cutover: %s", error)
        run.operations.look_for_new_tables(cut_over=True)

    def watch(self) -> Exit:
        return Watch(self._run, self._reporter, self._intent, self._nap).follow()

    def start_alone(self, error: DataError) -> bool:
        run = self._started
        while run is not None and run.under_way and not self._intent.now.stopping:
            if not self._allows_copy(error):
                return False
            self.enter(Stage.COPYING)
            self._reporter.tables_start(error)
            run.caught_up.reset()
            try:
                return run.operations.start_alone(error, run.checkpoints, self.tick)
            except DataError as again:
                if again is error or not (again.changed or again.appeared):
                    raise
                error = again
        return False

    def _allows_copy(self, error: DataError) -> bool:
        changed = to_copy_again(error, self._startup, self._started)
        self._restarts.copied(self._run.checkpoints.state)
        return bool(changed) and self._restarts.allow(error, under_way=True, let_in=True, changed=changed)

    # -- gates ------------------------------------------------------------------------------------------------------

    def _missing_gates(self) -> list[MissingGate]:
        return missing_gates(self._run, self._reporter, self._wanted, paused=self._paused)

    def _report_gates(self, missing: list[MissingGate]) -> None:
        exhausted = decisions.exhausted(self._wanted, self._series.kept.attempts)
        self._reporter.gates(missing, wanted=self._wanted.wants_cutover, exhausted=exhausted)

    # -- the heartbeat ----------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Called many times a second, wherever the coordinator waits."""
        self.check_cancelled()
        wanted = self._wanted = self._intent.now
        operations = self._run.operations
        if wanted is not self._paced:
            self._paced = wanted
            operations.pace(wanted)
        operations.adapt()
        if decisions.must_interrupt(self._paused_for()):
            operations.interrupt()
        self._keep(wanted)
        operations.new_tables_known(after_ddl=True)
        self._run.checkpoints.save_if_due()

    def check_cancelled(self) -> None:
        """Raise what ends the run: a thread's error, a server's restart, an abort, a stop."""
        self._run.operations.check()
        ended = decisions.cancelled(self._intent.now)
        if ended is not None:
            raise ended
        self._reporter.tick()

    def _keep(self, wanted: DesiredState) -> None:
        """Save requests by people at once: a pause and a withdrawal survive the process."""
        state = self._run.checkpoints.state
        news = self._series.follow(wanted.series, wanted.cutover_request)
        if wanted.paused_by_verb != state.paused:
            state.paused, state.paused_over = wanted.paused_by_verb, wanted.spec_paused
            news = True
        if news:
            self._run.checkpoints.save_now_if_possible()

    @property
    def _paused(self) -> bool:
        return bool(decisions.paused_by(self._reporter.stage, self._intent.now))

    def _paused_for(self) -> float | None:
        """Seconds since this thread saw the pause; None: not paused."""
        now = time.monotonic()
        self._paused_since = (self._paused_since or now) if self._paused else None
        return None if self._paused_since is None else now - self._paused_since

    @property
    def _run(self) -> Started:
        assert self._started is not None, "validated"
        return self._started

    def _wait_until(self, until: Callable[[], bool]) -> None:
        while not until():
            self.tick()
            self._nap()

    def _wait_while_paused(self) -> None:
        self._wait_until(lambda: not self._paused)

    def _nap(self) -> None:
        self._intent.wait_changed(TICK_SECONDS)
