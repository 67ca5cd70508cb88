"""The Validating phase: from a manifest to threads that are ready to run. Called by the coordinator, once per start.

A process starts a run again when a server was restarted, or became unreachable before the first chunk. It does so as a
new process would: definitions are read again, the waits of a table's start are repeated, nothing counts as verified,
and the next epoch is taken, so that nothing of the previous start can still write.
"""

import logging
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from ferry_core.api.choices import CreateTables, VerifyMode
from ferry_core.api.report import Phase, Stage
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.checkpoint.state import ObjectsState, RunState
from ferry_core.consistency.epochs import Epochs
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import visibility_of
from ferry_core.errors import DataError, RetriableError, Terminated
from ferry_core.intent.cutover_request import CutoverRequest
from ferry_core.intent.intent import Intent
from ferry_core.reasons import Reason
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.attempts import AttemptSeries, CaughtUp
from ferry_core.run.checkpoints import Checkpoints, Stored, marks_of, moves_of, set_position
from ferry_core.run.claim import take_fence
from ferry_core.run.copy_again import refuse_only_copies, until_back
from ferry_core.run.creating import create_on_target
from ferry_core.run.cut_over_before import finished, message
from ferry_core.run.data_operations import DataOperations
from ferry_core.run.definitions import still_as_validated
from ferry_core.run.left_locked import lease_or_explain, unlock_again, unlock_first
from ferry_core.run.options import RunOptions
from ferry_core.run.own_objects import KeptObjects
from ferry_core.run.parts import Parts
from ferry_core.run.primary_history import meet_primary
from ferry_core.run.renamed import source_proof, target_proof
from ferry_core.run.replicated import refuse_replicated
from ferry_core.run.restarted import meet_source
from ferry_core.run.setup import RunContext, binlog_retention, refuse_lost, selection_of, validate
from ferry_core.run.shared import Begun, shared_of
from ferry_core.run.single_run import single_run
from ferry_core.run.start_over import undo_start
from ferry_core.run.started import Started
from ferry_core.run.verification import background, wanted_of
from ferry_core.schema.cascades import unlogged_cascades
from ferry_core.schema.create import Creation
from ferry_core.text import counted
from ferry_core.throttle import Throttle
from ferry_core.verify.verifier import Verifier
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.connections import Connections
from ferry_core.workers.engine import Engine
from ferry_core.workers.events import EngineEvents
from ferry_core.workers.flow import Flow
from ferry_core.workers.source_sessions import SourceSessions, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ferry_core.binlog.last_read import LastRead
    from ferry_core.tables.table import Table

log = logging.getLogger(__name__)


class RunStartup:
    """One per run. Its fence, and how far it has read, outlive each start."""

    def __init__(
        self,
        ferry: FerryManifest,
        options: RunOptions,
        connections: Connections,
        intent: Intent,
        throttle: Throttle,
        reporter: StatusReporter,
    ) -> None:
        self._ferry = ferry
        self._options = options
        self._connections = connections
        self._intent = intent
        self._throttle = throttle
        self._reporter = reporter
        self.fence: Fence | None = None
        self._epochs = Epochs()
        self._last_read: Callable[[], LastRead | None] = lambda: None
        """What was read after the last checkpoint must still be there, too. A new process has read nothing yet."""
        self._alone = ExitStack()
        self._is_alone = False
        self._has_run = False
        self._context: RunContext | None = None
        self._running: RunState | None = None
        self._created: list[Table] = []
        self._planned: list[str] = []
        self._deferred: list[str] = []
        self._objects = ObjectsState()
        self._start_undone = False

    @property
    def has_run(self) -> bool:
        """See ``started.Startup``."""
        return self._has_run

    @property
    def start_undone(self) -> bool:
        return self._start_undone

    @property
    def copies_again(self) -> bool:
        return self._ferry.spec.schema_.copies_again

    @property
    def joining(self) -> frozenset[str]:
        stored = self._context.state if self._context is not None else None
        state = self._running or stored
        return state.joining if state is not None else frozenset()

    @property
    def let_in(self) -> bool:
        return self._connections.let_in

    def close(self) -> None:
        """Release the locks that keep other runs of this Ferry away."""
        self._alone.close()

    def start(self, series: AttemptSeries) -> Started | None:
        self._context, self._running, self._start_undone = None, None, False
        self._created, self._planned, self._deferred = [], [], []
        with ExitStack() as opened, self._reporter.long_step():  # nothing ticks until the threads are started
            self._be_alone()
            context = self._before_fence()
            opened.callback(context.store.close)
            if context.was_cut_over:
                self._report_cut_over(context)
                return None
            self._context = context
            self._objects = context.state.objects if context.state is not None else ObjectsState()
            try:
                return self._started(self._fenced(context), series, opened)
            except DataError as error:
                self.undo_start(error)
                raise

    def undo_start(self, error: DataError) -> None:
        """Undo a start before the first chunk, if a definition was changed and no earlier run has copied anything."""
        context = self._context
        if error.reason != Reason.SCHEMA_CHANGED or context is None or context.begun or self.fence is None:
            return
        try:
            undo_start(context, self.fence, self._state(context), self._created)
        except RetriableError as trouble:
            log.warning("the start could not be undone: %s", trouble)
        else:
            self._start_undone, self._has_run = True, False

    def _be_alone(self) -> None:
        if not self._is_alone:
            lease_or_explain(self._ferry, self._connections, hidden_is_none=True)
            self._alone.enter_context(single_run(self._ferry, self._options, self._connections, self._wait))
            self._is_alone = True

    def _wait(self, seconds: float) -> None:
        self._leave_if_asked()
        self._intent.wait_changed(seconds)

    def _before_fence(self) -> RunContext:
        """Everything before the fence. A run that starts again does not take over from another run."""
        if self.fence is not None:
            self.fence.refuse_newer(self._epochs)
        self._connections.forget_starts()
        unlocked = unlock_first(self._ferry, self._connections, self._options.state_path, self._epochs)
        self.fence = unlocked or self.fence
        return self._validate()

    def _fenced(self, context: RunContext) -> Begun:
        """Take the fence, create what is missing on the target, and find where the stream begins."""
        fence = self.fence = take_fence(context, self._state(context), self._epochs)
        unlock_again(context, fence)
        self._keep_verb(context, fence.epoch)
        if self._intent.now.aborted:
            fence.record(phase=Phase.ABORTED.value)
            raise Terminated(Reason.ABORTED, "aborted: nothing is copied, the target is kept")
        self._leave_if_asked()
        if context.copied_again:  # recorded before anything of these tables is dropped or emptied
            self._save(context, fence)
        with self._connections.source_control() as source, self._connections.target() as target:
            refuse_only_copies(context, target, self._reporter.failed, partial(self._save, context, fence))
            if self._ferry.spec.schema_.create is CreateTables.IF_MISSING:
                creation = Creation(partial(self._keep_planned, context, fence), self._created.append)
                kept = KeptObjects(self._objects, partial(self._save, context, fence))
                create_on_target(context, fence, source, target, creation, kept)
            self._reporter.source_retains(binlog_retention(source))
            state = self._state(context)
            visibility = visibility_of(source, state.position)
            fresh = {table.id for table in context.tables} - state.started
            # After the stream's start, which may be long ago: these tables do not follow earlier events.
            begins_at = visibility.start(source) if fresh and state.position is not None else None
            set_position(state, visibility, source)
            meet_source(state, source, verifies=self._verifies)
            meet_primary(state, self._connections)
            refuse_replicated(state, source, begun=context.begun)
            # From here on the stream shows each DDL statement. Check that everything read before is still true.
            altered = still_as_validated(context, source, target, visibility)
            cascades = unlogged_cascades(source, context.tables)
        moves = moves_of(state, context.tables, self._intent.now.directive.copy_, context.flavor, begins_at)
        moves.follow_cascades(cascades)
        self._reporter.begin(moves, fence.epoch, state)
        log.info("this run writes as epoch %d", fence.epoch)
        estimated = self._reporter.report().progress.rows_estimated
        how = "resumes from its checkpoint" if context.begun else "starts from the beginning"
        log.info("%s: %s, about %s", how, counted(len(context.tables), "table"), counted(estimated, "row"))
        self._reporter.set_new_tables(context.new_tables)
        return Begun(context, fence, visibility, state, altered, moves)

    def _keep_planned(
        self, context: RunContext, fence: Fence, tables: "Sequence[Table]", deferred: "Sequence[Table]"
    ) -> None:
        """Save which tables are created next: after a kill only these may be created again.

        Tables with rows that count as copied were there when the run looked, and may be gone since.
        """
        refuse_lost(context, [table for table in tables if table.id in context.started])
        if context.begun and context.state is not None:
            known = context.state.indexes_deferred
            context.state.indexes_deferred = sorted({*known, *(table.id for table in deferred)})
            context.state.created = sorted({*context.state.created, *(table.id for table in tables)})
            self._save(context, fence)
            return
        self._planned, self._deferred = [table.id for table in tables], [table.id for table in deferred]
        self._save(context, fence)

    def _save(self, context: RunContext, fence: Fence) -> None:
        state = self._state(context)
        state.epoch = fence.epoch
        context.store.save(state, fence.epoch)

    def _validate(self) -> RunContext:
        """Validate, and again after a wait in plan-only mode, because the servers may have changed meanwhile."""
        context = self._validated()
        if context.state is not None and not self._has_run:
            self._restore_intent(context.state)
        if not self._waits(context):
            return context
        self._report_waiting(context)
        while self._waits(context):
            self._reporter.tick()
            self._leave_if_asked()
            self._intent.wait_changed(0.2)
        if self._options.state_path is not None:  # a state in a table on the target has to wait for the fence
            self._keep_verb(context, context.epoch)
        context.store.close()
        self._reporter.enter(Stage.VALIDATING)
        return self._validated()

    def _validated(self) -> RunContext:
        once = partial(validate, self._ferry, self._connections, self._options, self._reporter.checked)
        return until_back(once, self._reporter.message, self._wait) if self.copies_again else once()

    def _restore_intent(self, state: RunState) -> None:
        """A pause and a request for a cutover survive the process that received them."""
        series = state.series
        request = CutoverRequest(series.wanted, series.max_attempts, series.not_before, series.not_after)
        self._intent.change(lambda wanted: wanted.with_stored_pause(state.paused, state.paused_over))
        self._intent.change(lambda wanted: wanted.with_stored_request(request))

    def _keep_verb(self, context: RunContext, epoch: int) -> None:
        """Save a pause or resume verb before there is anything else to save, so that it survives a restart."""
        wanted = self._intent.now
        verb = wanted.paused_by_verb
        if verb is not None and verb != (context.state.paused if context.state else None):
            state = self._state(context)
            state.paused, state.paused_over, state.epoch = verb, wanted.spec_paused, epoch
            context.store.save(state, epoch)

    def _waits(self, context: RunContext) -> bool:
        return bool(self._intent.now.paused_by) and not (context.was_cut_over or self._intent.now.aborted)

    def _report_waiting(self, context: RunContext) -> None:
        """A resumed run is shown as paused in its stage.

        Under an operator a Validating run would be shown as starting.
        """
        if context.state is None or not context.begun:
            self._reporter.message("validated; paused before the copy begins")
            return
        self._report_stored(context, context.state)
        self._reporter.message("validated; paused, continues from its checkpoint when resumed")
        self._reporter.tick()
        self._reporter.enter(context.reached)

    def _leave_if_asked(self) -> None:
        if self._intent.now.stopping:
            raise Terminated(Reason.STOPPED, "stopped before the copy began")

    def _report_cut_over(self, context: RunContext) -> None:
        state = finished(context, self._reporter, lambda: self._intent.now.stopping)
        self._report_stored(context, state)
        self._reporter.completed_before(message(context, state))

    def _report_stored(self, context: RunContext, state: RunState) -> None:
        """What an earlier run has copied, where this one copies nothing for now."""
        moves = moves_of(state, context.tables, self._intent.now.directive.copy_, context.flavor)
        self._reporter.begin(moves, context.lease.epoch if context.lease else 0, state)

    def _state(self, context: RunContext) -> RunState:
        """The stored state, once it has rows. Before that only a verb is taken from it."""
        if context.state is not None and context.begun:
            context.state.source_id = context.source_id  # proven to be the same server, perhaps with another name
            return context.state
        wanted = self._intent.now
        return RunState(
            ferry_uid=context.uid,
            ferry_name=context.name,
            source_id=context.source_id,
            selection=selection_of(self._ferry),
            created=sorted({*context.recreatable, *self._planned}),
            indexes_deferred=sorted({*context.may_lack_indexes, *self._deferred}),
            paused=wanted.paused_by_verb,
            paused_over=wanted.spec_paused,
            objects=self._objects,
            started_at=time.time(),
        )

    def _started(self, begun: Begun, series: AttemptSeries, opened: ExitStack) -> Started:
        """Make the threads and what they share. None runs yet."""
        context, fence, _, state, _, moves = begun
        self._running = state
        connect = partial(reading, self._connections.source, begun.visibility)
        rows = SourceSessions(connect, lambda: self._intent.now.workers)
        verifier = Verifier(moves, rows, self._connections.target) if self._verifies else None
        if verifier is not None:
            opened.callback(verifier.close)
        engine = self._engine(begun, verifier, rows)
        checkpoints = Checkpoints(
            Stored(context.store, fence.epoch, marks_of(context, fence)),
            state,
            engine.chunks,
            engine.buffer,
            self._reporter,
            self._connections.refuse_restarted,
            lambda: self._connections.primary_seen,
        )
        background = self._background(verifier, engine)
        self._reporter.watch(engine, background)
        series.adopt(state, again=self._has_run)
        self._has_run = True
        parts = Parts(context, fence, begun.visibility, engine, background, self._throttle, state.replicated)
        return Started(
            DataOperations(parts, self._reporter, opened.pop_all().close),
            checkpoints,
            context.reached,
            self._ferry.spec.schema_.create is CreateTables.IF_MISSING,
            CaughtUp(self._intent.now.directive.cutover.max_lag),
        )

    def _engine(self, begun: Begun, verifier: Verifier | None, rows: SourceSessions) -> Engine:
        reporter = self._reporter
        shared = shared_of(begun, verifier, self._last_read)
        self._last_read = lambda: shared.buffer.processed.last_read
        self._connections.recognise(source_proof(self._last_read), target_proof(begun.context.uid, begun.fence))
        events = EngineEvents(
            chunk=reporter.chunk,
            keys=reporter.keys,
            flush=reporter.flush,
            error=reporter.retried,
            judge=reporter.judge,
            chunk_retried=reporter.chunk_retried,
        )
        return Engine(
            Flow.of(self._connections, begun.visibility, begun.fence, rows),
            shared,
            self._throttle,
            lambda: self._throttle.workers(self._intent.now.workers),
            events,
            self._options.retry_seconds,
        )

    def _background(self, verifier: Verifier | None, engine: Engine) -> BackgroundVerifier | None:
        if verifier is None:
            return None
        wanted = wanted_of(self._ferry.spec.verify.mode, self._intent, self._throttle)
        return background(verifier, engine, self._connections, self._reporter.verification, wanted)

    @property
    def _verifies(self) -> bool:
        return self._ferry.spec.verify.mode is not VerifyMode.NONE
