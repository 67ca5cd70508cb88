"""One run from validation to the cutover, from the stored checkpoint if there is one. Made and run once by ``ferry``.

A process makes another one when a server was restarted, or went away before the first chunk. That one starts as a new
process would: definitions are read again, the waits of a table's start are repeated, nothing counts as proven, and the
next epoch is taken, so that nothing of the one before can write any more.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ferry_core.api.choices import CreateTables, VerifyMode
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.binlog.handshake import server_id_of
from ferry_core.binlog.last_read import LastRead
from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility, visibility_of
from ferry_core.cutover.durable import drop_left_behind
from ferry_core.errors import (
    ConfigError,
    DataError,
    ExitCode,
    FerryError,
    RetriableError,
    ServerRestarted,
    Terminated,
)
from ferry_core.intent.cutover_request import CutoverRequest
from ferry_core.intent.intent import Intent
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.rows.iterator import ChunkSource
from ferry_core.run.attempts import AttemptSeries
from ferry_core.run.checkpoints import Checkpoints, marks_of, set_position, stored_mark
from ferry_core.run.coordinator import Coordinator, aborted
from ferry_core.run.definitions import AlteredTables, reason_given, still_as_validated
from ferry_core.run.left_locked import unlock_again, unlock_first
from ferry_core.run.options import RunOptions
from ferry_core.run.renamed import source_proof, target_proof
from ferry_core.run.setup import (
    RunContext,
    binlog_retention,
    selection_of,
    source_lock,
    take_fence,
    validate,
)
from ferry_core.run.start_over import undo_start
from ferry_core.schema.create import create_missing
from ferry_core.throttle import Throttle
from ferry_core.verify.verifier import Verifier
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.connections import Connections
from ferry_core.workers.engine import Engine, EngineEvents

if TYPE_CHECKING:
    from ferry_core.tables.table import Table

log = logging.getLogger(__name__)


class _Start(NamedTuple):
    """What the threads begin with."""

    context: RunContext
    fence: Fence
    visibility: Visibility
    state: RunState
    altered: AlteredTables


def _nothing() -> LastRead | None:
    """How far a process has read that has just begun."""
    return None


class RunFromCheckpoint:
    """``before`` is the one that this one replaces: its epoch may be taken over, and what people asked for stays."""

    last_read: Callable[[], LastRead | None]

    def __init__(
        self,
        ferry: FerryManifest,
        options: RunOptions,
        connections: Connections,
        intent: Intent,
        throttle: Throttle,
        reporter: StatusReporter,
        before: "RunFromCheckpoint | None" = None,
    ) -> None:
        self._ferry = ferry
        self._options = options
        self._connections = connections
        self.intent = intent
        self.throttle = throttle
        self.reporter = reporter
        self.fence: Fence | None = before.fence if before else None
        self.last_read = before.last_read if before else _nothing
        """What was read after the last checkpoint must still be there, too."""
        self.series: AttemptSeries | None = before.series if before and not before.start_undone else None
        """Attempts to cut over: they belong to a person's request and outlast this object."""
        self._coordinator: Coordinator | None = None
        self._created: list[Table] = []
        self.start_undone: bool = False
        """Whether definitions were changed before the first chunk: nothing is kept, so validation may begin again."""

    @property
    def under_way(self) -> bool:
        """Whether it has come to its first chunk, or further: from there on each step is tried again by itself."""
        return self._coordinator is not None and self._coordinator.started

    def run(self) -> ExitCode:
        """Raises what ended it; after a RetriableError, or if ``start_undone``, the caller may begin again."""
        if not self._goes_on:
            self.reporter.enter(Stage.VALIDATING)
        with ExitStack() as opened:
            with self.reporter.long_step():  # nothing ticks until the threads are started
                context = self._begun()
                opened.callback(context.store.close)
                if context.was_cut_over:
                    return self._already_done(context)
            try:
                with self.reporter.long_step():
                    start = self._fenced(context)
                self._cross(start)
            except DataError as error:
                self._undo_start(context, error)
                raise
        return ExitCode.DATA if self.reporter.written_after else ExitCode.DONE

    def _undo_start(self, context: RunContext, error: DataError) -> None:
        """Where a definition was changed and nothing is copied."""
        if error.reason != Reason.SCHEMA_CHANGED or context.begun or self.under_way or self.fence is None:
            return
        try:
            undo_start(context, self.fence, self._state(context), self._created)
        except RetriableError as trouble:
            log.warning("the start could not be undone: %s", trouble)
        else:
            self.start_undone = True

    @property
    def _goes_on(self) -> bool:
        """Whether this process was further once: then that stage is still reported while it validates again."""
        return self.series is not None

    def _begun(self) -> RunContext:
        """Everything up to the fence: another run's is not taken over by one that goes on."""
        if self.fence is not None:
            self.fence.refuse_newer()
        self._connections.forget_starts()
        unlocked = unlock_first(self._ferry, self._connections, self._options.state_path, self.fence)
        self.fence = unlocked or self.fence
        return self._validate()

    def _fenced(self, context: RunContext) -> _Start:
        """Take the fence, make what is missing on the target, and find where the stream begins."""
        fence = self.fence = take_fence(context, self._state(context), self.fence)
        unlock_again(context, fence)
        self._keep_verb(context, fence.epoch)
        if self.intent.now.aborted:
            fence.record(phase="Aborted")
            raise Terminated(Reason.ABORTED, "aborted: nothing is copied, the target is kept as it is")
        self._leave_if_asked()
        with self._connections.source_control() as source, self._connections.target() as target:
            if self._ferry.spec.schema_.create is CreateTables.IF_MISSING:
                with reason_given(source, self._ferry.spec.tables, context.tables):
                    create_missing(source, target, context.tables, fence, self._created.append)
            visibility = visibility_of(source)
            self.reporter.source_retains(binlog_retention(source))
            state = self._state(context)
            set_position(state, visibility, source)
            # From here on the stream shows each DDL statement: is all that was read before it still so?
            altered = still_as_validated(context, source, target, visibility)
        self.reporter.begin(context.tables, fence.epoch, state)
        estimated = self.reporter.report().progress.rows_estimated
        how = "goes on from its checkpoint" if context.begun else "begins anew"
        log.info("%s: %d tables, about %d rows", how, len(context.tables), estimated)
        self.reporter.set_new_tables(context.new_tables)
        return _Start(context, fence, visibility, state, altered)

    def _validate(self) -> RunContext:
        """Validate, and again after a wait in plan-only mode: the servers may have changed meanwhile."""
        context = validate(self._ferry, self._connections, self._options, self.reporter.checked)
        if context.state is not None and not self._goes_on:
            self._restore_intent(context.state)
        if not self._waits(context):
            return context
        self._tell_waiting(context)
        while self._waits(context):
            self.reporter.tick()
            self._leave_if_asked()
            self.intent.wait_changed(0.2)
        if self._options.state_path is not None:  # a table on the target has to wait for the fence
            self._keep_verb(context, context.epoch)
        context.store.close()
        self.reporter.enter(Stage.VALIDATING)
        return validate(self._ferry, self._connections, self._options, self.reporter.checked)

    def _restore_intent(self, state: RunState) -> None:
        """A pause, and what was asked of the cutover, outlive the process that they were told to."""
        request = CutoverRequest(state.series.wanted, state.series.max_attempts)
        self.intent.change(lambda wanted: wanted.with_stored_pause(state.paused, state.paused_over))
        self.intent.change(lambda wanted: wanted.with_stored_request(request))

    def _keep_verb(self, context: RunContext, epoch: int) -> None:
        """Store a pause or resume verb before there is anything else to store: it survives a restart."""
        wanted = self.intent.now
        said = wanted.paused_by_verb
        if said is not None and said != (context.state.paused if context.state else None):
            state = self._state(context)
            state.paused, state.paused_over, state.epoch = said, wanted.spec_paused, epoch
            context.store.save(state, epoch)

    def _waits(self, context: RunContext) -> bool:
        return self.throttle.pause.paused and not (context.was_cut_over or self.intent.now.aborted)

    def _tell_waiting(self, context: RunContext) -> None:
        """One that was under way is paused where it was; under an operator a Validating one would be starting."""
        if context.state is None or not context.begun:
            self.reporter.message("validated; paused before the copy begins")
            return
        self.reporter.begin(context.tables, context.lease.epoch if context.lease else 0, context.state)
        self.reporter.message("validated; paused, goes on from its checkpoint when resumed")
        self.reporter.tick()
        self.reporter.enter(context.reached)

    def _leave_if_asked(self) -> None:
        if self.intent.now.stopping:
            raise Terminated(Reason.STOPPED, "stopped before the copy began")

    def _already_done(self, context: RunContext) -> ExitCode:
        state = context.state
        if state is None:
            raise ConfigError(
                Reason.ALREADY_CUT_OVER,
                f"{context.name} was cut over to {self._ferry.spec.target.host} already and its state is gone; to "
                "move again, give the new Ferry another name",
            )
        with suppress(FerryError), self._connections.target_control() as target:
            drop_left_behind(target, context.uid)
        when = (
            "" if state.completed_at is None else f" at {time.strftime('%F %T UTC', time.gmtime(state.completed_at))}"
        )
        self.reporter.begin(context.tables, context.lease.epoch if context.lease else 0, state)
        blocked = state.write_block_milliseconds
        took = "" if blocked is None else f", writes were blocked for {blocked} ms"
        self.reporter.completed_before(f"{context.name} was cut over already{when}{took}: nothing to do")
        return ExitCode.DONE

    def _state(self, context: RunContext) -> RunState:
        """The stored one once there are rows that it tells of; before that nothing but a verb is taken from it."""
        if context.state is not None and context.begun:
            context.state.source_id = context.source_id  # proven to be that server, perhaps under another name
            return context.state
        wanted = self.intent.now
        return RunState(
            ferry_uid=context.uid,
            ferry_name=context.name,
            source_id=context.source_id,
            selection=selection_of(self._ferry),
            paused=wanted.paused_by_verb,
            paused_over=wanted.spec_paused,
            started_at=time.time(),
        )

    def _cross(self, begun: _Start) -> None:
        context, fence, visibility, state, altered = begun
        tables = context.tables
        start = stored_mark(state, context.flavor, self.last_read())
        proving_mode = self._ferry.spec.verify.mode is not VerifyMode.NONE
        verifier = Verifier(tables, self._source_for, self._connections.target) if proving_mode else None
        if verifier:
            altered.recomputed = verifier.unproven.give_up
        buffer = ChangeBuffer(tables, start, verifier.changed if verifier else None)
        altered.hold = buffer.hold
        self.last_read = lambda: buffer.processed.last_read
        self._connections.recognise(source_proof(self.last_read), target_proof(context.uid, fence))
        chunks = ChunkSource(tables, self.intent.now.directive.copy_, state.tables)
        streamer = BinlogStreamer(
            self._connections.source_control,
            self._connections.source_endpoint,
            context.flavor,
            {table.source: table for table in tables},
            start.position,
            buffer,
            server_id_of(context.uid),
            start.last_read,
            altered.compare,
        )
        events = EngineEvents(
            chunk=self.reporter.chunk,
            keys=self.reporter.keys,
            flush=self.reporter.flush,
            error=self.reporter.retried,
            judge=self.reporter.judge,
            chunk_retried=self.reporter.chunk_retried,
        )
        engine = Engine(
            self._connections,
            fence,
            visibility,
            buffer,
            chunks,
            streamer,
            self.throttle,
            lambda: self.intent.now.workers,
            events,
            self._options.retry_seconds,
        )
        checkpoints = Checkpoints(
            context.store,
            fence.epoch,
            state,
            chunks,
            buffer,
            self.reporter.checkpointed,
            marks_of(context, fence),
            self._connections.refuse_restarted,
        )
        verification = (
            BackgroundVerifier(
                verifier, tables, buffer, self.reporter.verified, engine.ending, self._connections.source_position
            )
            if verifier
            else None
        )
        self.reporter.watch(engine, verification)
        lock = partial(source_lock, self._ferry, self._connections, context.flavor, context.uid)
        self.series = self.series or AttemptSeries(state.series)
        state.series = self.series.kept
        self._coordinator = Coordinator(
            context,
            fence,
            engine,
            visibility,
            checkpoints,
            verification,
            lock,
            self.throttle,
            self.intent,
            self.reporter,
            self.series,
        )

        try:
            self._coordinator.run()
        except (Terminated, RetriableError) as error:
            engine.stop()
            if not isinstance(error, ServerRestarted):  # what memory holds is what must not be stored then
                checkpoints.save_now_if_possible()
            if self.intent.now.aborted:
                fence.record(phase="Aborted")
                raise aborted() from error
            raise
        finally:
            engine.stop()
            if verifier is not None:
                verifier.close()

    def _source_for(self, purpose: Purpose) -> Session:
        return self._connections.source(text=purpose is Purpose.SOURCE_TEXT)
