"""One way of a run from validation to its hand-over, with everything made anew. Made and run once by ``ferry``.

A run has a second one after a server was restarted, or when a server went away before the first chunk. It goes on from
the stored checkpoint as a new process would: definitions are read again, the waits of a table's start are repeated,
nothing counts as proven, and the next epoch is taken, so that nothing of the last passage can write any more.
"""

import logging
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple

from ferry_core.api.choices import CreateTables, VerifyMode
from ferry_core.api.exit_codes import ExitCode
from ferry_core.api.report import Stage
from ferry_core.api.spec import Ferry as FerryManifest
from ferry_core.binlog.handshake import server_id_of
from ferry_core.binlog.last_read import LastRead
from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility, visibility_of
from ferry_core.errors import ConfigError, RetriableError, ServerRestarted, Terminated
from ferry_core.mysql.session import Purpose, Session
from ferry_core.rows.iterator import ChunkSource
from ferry_core.run.checkpoints import Checkpoints, marks_of, set_position, stored_mark
from ferry_core.run.cutting import Asked, Series
from ferry_core.run.definitions import AlteredTables, reason_given, still_as_validated
from ferry_core.run.left_locked import unlock_again, unlock_first
from ferry_core.run.options import RunOptions
from ferry_core.run.proving import Proving
from ferry_core.run.setup import (
    Crossing,
    binlog_retention,
    selection_of,
    source_lock,
    take_fence,
    validate,
)
from ferry_core.run.stages import Stages
from ferry_core.run.telling import Telling
from ferry_core.run.wishes import Wishes, aborted
from ferry_core.schema.create import create_missing
from ferry_core.throttle import Throttle
from ferry_core.verify.verifier import Verifier
from ferry_core.workers.connections import Connections
from ferry_core.workers.engine import Ears, Engine

log = logging.getLogger(__name__)


class _Start(NamedTuple):
    """What a crossing begins with."""

    crossing: Crossing
    fence: Fence
    visibility: Visibility
    state: RunState
    altered: AlteredTables


def _nothing() -> LastRead | None:
    """How far a process has read that has just begun."""
    return None


class Passage:
    """``before`` is the passage that this one goes on for: its epoch may be taken over, and what people said stays."""

    last_read: Callable[[], LastRead | None]

    def __init__(
        self,
        ferry: FerryManifest,
        options: RunOptions,
        connections: Connections,
        wishes: Wishes,
        throttle: Throttle,
        telling: Telling,
        before: "Passage | None" = None,
    ) -> None:
        self._ferry = ferry
        self._options = options
        self._connections = connections
        self.wishes = wishes
        self.throttle = throttle
        self.telling = telling
        self.fence: Fence | None = before.fence if before else None
        self.last_read = before.last_read if before else _nothing
        """What was read after the last checkpoint must still be there, too."""
        self.series: Series | None = before.series if before else None
        """Attempts to cut over: a person's, whatever passage makes them."""
        self._stages: Stages | None = None

    @property
    def under_way(self) -> bool:
        """Whether it has come to its first chunk, or further: from there on each step is tried again by itself."""
        return self._stages is not None and self._stages.started

    def run(self) -> ExitCode:
        """Raises what ended it; a RetriableError may be followed by another passage."""
        if not self._goes_on:
            self.telling.stage(Stage.VALIDATING)
        with ExitStack() as opened:
            with self.telling.long_step():  # nothing ticks until the threads are started
                crossing = self._begun()
                opened.callback(crossing.store.close)
                if crossing.was_cut_over:
                    return self._already_done(crossing)
                start = self._fenced(crossing)
            self._cross(start)
        return ExitCode.DATA if self.telling.written_after else ExitCode.DONE

    @property
    def _goes_on(self) -> bool:
        """Whether an earlier passage came further than this one can be yet: its stage is still told."""
        return self.series is not None

    def _begun(self) -> Crossing:
        """Everything up to the fence: another run's is not taken over by one that goes on."""
        if self.fence is not None:
            self.fence.refuse_newer()
        self._connections.forget_starts()
        unlocked = unlock_first(self._ferry, self._connections, self._options.state_path, self.fence)
        self.fence = unlocked or self.fence
        return self._validate()

    def _fenced(self, crossing: Crossing) -> _Start:
        """Take the fence, make what is missing on the target, and find where the stream begins."""
        fence = self.fence = take_fence(crossing, self._state(crossing), self.fence)
        unlock_again(crossing, fence)
        self._keep_verb(crossing, fence.epoch)
        if self.wishes.aborted.is_set():
            fence.record(phase="Aborted")
            raise Terminated("Aborted", "aborted: nothing is copied, the target is kept as it is")
        self._leave_if_asked()
        with self._connections.source_control() as source, self._connections.target() as target:
            if self._ferry.spec.schema_.create is CreateTables.IF_MISSING:
                with reason_given(source, self._ferry.spec.tables, crossing.tables):
                    create_missing(source, target, crossing.tables, fence)
            visibility = visibility_of(source)
            self.telling.source_retains(binlog_retention(source))
            state = self._state(crossing)
            set_position(state, visibility, source)
            # From here on the stream shows each DDL statement: is all that was read before it still so?
            altered = still_as_validated(crossing, source, target, visibility)
        self.telling.begin(crossing.tables, fence.epoch, state)
        estimated = self.telling.report().progress.rows_estimated
        how = "goes on from its checkpoint" if crossing.begun else "begins anew"
        log.info("%s: %d tables, about %d rows", how, len(crossing.tables), estimated)
        self.telling.appeared(crossing.appeared)
        return _Start(crossing, fence, visibility, state, altered)

    def _validate(self) -> Crossing:
        """Validate, and again after a wait in plan-only mode: the servers may have changed meanwhile."""
        crossing = validate(self._ferry, self._connections, self._options, self.telling.checked)
        if crossing.state is not None and not self._goes_on:
            self.wishes.restore_pause(crossing.state.paused, crossing.state.paused_over)
            self.wishes.restore_series(Asked(crossing.state.series.wanted, crossing.state.series.max_attempts))
        if not self._waits(crossing):
            return crossing
        self._tell_waiting(crossing)
        while self._waits(crossing):
            self.telling.tick()
            self._leave_if_asked()
            self.wishes.wait_changed(0.2)
        if self._options.state_path is not None:  # a table on the target has to wait for the fence
            self._keep_verb(crossing, crossing.epoch)
        crossing.store.close()
        self.telling.stage(Stage.VALIDATING)
        return validate(self._ferry, self._connections, self._options, self.telling.checked)

    def _keep_verb(self, crossing: Crossing, epoch: int) -> None:
        """Store a pause or resume verb before there is anything else to store: it survives a restart."""
        said = self.wishes.paused_by_verb
        if said is not None and said != (crossing.state.paused if crossing.state else None):
            state = self._state(crossing)
            state.paused, state.paused_over, state.epoch = said, self.wishes.spec_paused, epoch
            crossing.store.save(state, epoch)

    def _waits(self, crossing: Crossing) -> bool:
        return self.throttle.pause.paused and not (crossing.was_cut_over or self.wishes.aborted.is_set())

    def _tell_waiting(self, crossing: Crossing) -> None:
        """One that was under way is paused where it was; under an operator a Validating one would be starting."""
        if crossing.state is None or not crossing.begun:
            self.telling.message("validated; paused before the copy begins")
            return
        self.telling.begin(crossing.tables, crossing.lease.epoch if crossing.lease else 0, crossing.state)
        self.telling.message("validated; paused, goes on from its checkpoint when resumed")
        self.telling.tick()
        self.telling.stage(crossing.reached)

    def _leave_if_asked(self) -> None:
        if self.wishes.stopping.is_set():
            raise Terminated("Stopped", "stopped before the copy began")

    def _already_done(self, crossing: Crossing) -> ExitCode:
        state = crossing.state
        if state is None:
            raise ConfigError(
                "AlreadyCutOver",
                f"{crossing.name} was cut over to {self._ferry.spec.target.host} already and its state is gone; to "
                "move again, give the new Ferry another name",
            )
        when = (
            "" if state.completed_at is None else f" at {time.strftime('%F %T UTC', time.gmtime(state.completed_at))}"
        )
        self.telling.begin(crossing.tables, crossing.lease.epoch if crossing.lease else 0, state)
        blocked = state.write_block_milliseconds
        took = "" if blocked is None else f", writes were blocked for {blocked} ms"
        self.telling.completed_before(f"{crossing.name} was cut over already{when}{took}: nothing to do")
        return ExitCode.DONE

    def _state(self, crossing: Crossing) -> RunState:
        """The stored one once there are rows that it tells of; before that nothing but a verb is taken from it."""
        if crossing.state is not None and crossing.begun:
            return crossing.state
        return RunState(
            ferry_uid=crossing.uid,
            ferry_name=crossing.name,
            source_id=crossing.source_id,
            selection=selection_of(self._ferry),
            paused=self.wishes.paused_by_verb,
            paused_over=self.wishes.spec_paused,
            started_at=time.time(),
        )

    def _cross(self, begun: _Start) -> None:
        crossing, fence, visibility, state, altered = begun
        tables = crossing.tables
        start = stored_mark(state, crossing.flavor, self.last_read())
        proving_mode = self._ferry.spec.verify.mode is not VerifyMode.NONE
        verifier = Verifier(tables, self._source_for, self._connections.target) if proving_mode else None
        if verifier:
            altered.recomputed = verifier.unproven.give_up
        buffer = ChangeBuffer(tables, start, verifier.changed if verifier else None)
        self.last_read = lambda: buffer.processed.last_read
        chunks = ChunkSource(tables, self.wishes.directive.copy_, state.tables)
        streamer = BinlogStreamer(
            self._connections.source_control,
            self._connections.source_endpoint,
            crossing.flavor,
            {table.source: table for table in tables},
            start.position,
            buffer,
            server_id_of(crossing.uid),
            start.last_read,
            altered.compare,
        )
        ears = Ears(
            chunk=self.telling.chunk,
            keys=self.telling.keys,
            flush=self.telling.flush,
            error=self.telling.retried,
            judge=self.telling.judge,
            chunk_retried=self.telling.chunk_retried,
        )
        engine = Engine(
            self._connections,
            fence,
            visibility,
            buffer,
            chunks,
            streamer,
            self.throttle,
            lambda: self.wishes.directive.copy_.workers,
            ears,
            self._options.retry_seconds,
        )
        checkpoints = Checkpoints(
            crossing.store,
            fence.epoch,
            state,
            chunks,
            buffer,
            self.telling.checkpointed,
            marks_of(crossing, fence),
            self._connections.refuse_restarted,
        )
        proving = (
            Proving(verifier, tables, buffer, self.telling.verified, engine.ending, self._connections.source_position)
            if verifier
            else None
        )
        self.telling.watch(engine, proving)
        lock = partial(source_lock, self._ferry, self._connections, crossing.flavor, crossing.uid)
        self.series = self.series or Series(state.series)
        state.series = self.series.kept
        self._stages = Stages(
            crossing,
            fence,
            engine,
            visibility,
            checkpoints,
            proving,
            lock,
            self.throttle,
            self.wishes,
            self.telling,
            self.series,
        )

        def follow() -> None:
            chunks.pace(self.wishes.directive.copy_, self.throttle.rate.largest_step)
            if self.wishes.stopping.is_set():
                buffer.close()

        try:
            with self.wishes.followed(follow):
                self._stages.run()
        except (Terminated, RetriableError) as error:
            engine.stop()
            if not isinstance(error, ServerRestarted):  # what memory holds is what must not be stored then
                checkpoints.save_now_if_possible()
            if self.wishes.aborted.is_set():
                fence.record(phase="Aborted")
                raise aborted() from error
            raise
        finally:
            engine.stop()
            if verifier is not None:
                verifier.close()

    def _source_for(self, purpose: Purpose) -> Session:
        return self._connections.source(text=purpose is Purpose.SOURCE_TEXT)
