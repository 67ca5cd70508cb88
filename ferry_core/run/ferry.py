"""One Ferry's run from the outside: what the CLI starts and stops and the ControlServer speaks to.

``run`` puts the rooms together, hands them to ``Stages`` and takes them down again, whatever happens.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial

from ferry_core.api.choices import CreateTables, VerifyMode
from ferry_core.api.directive import Directive
from ferry_core.api.exit_codes import ExitCode
from ferry_core.api.reasons import Reason
from ferry_core.api.report import Report, Stage, TableReport
from ferry_core.api.restraint import Restraint
from ferry_core.binlog.handshake import server_id_of
from ferry_core.binlog.streamer import BinlogStreamer
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility, visibility_of
from ferry_core.control.server import ControlServer
from ferry_core.cutover.attempt import undo
from ferry_core.errors import ConfigError, FerryError, OtherServer, RetriableError, Terminated
from ferry_core.manifest.load import LoadedFerry
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.session import Purpose, Session
from ferry_core.report.progress import Progress
from ferry_core.rows.iterator import ChunkSource
from ferry_core.run.alone import alone
from ferry_core.run.checkpoints import Checkpoints, marks_of, set_position, stored_mark
from ferry_core.run.connections import Connections
from ferry_core.run.cutting import Asked
from ferry_core.run.definitions import AlteredTables, reason_given, still_as_validated
from ferry_core.run.engine import Ears, Engine
from ferry_core.run.options import RunOptions
from ferry_core.run.proving import Proving
from ferry_core.run.setup import (
    Crossing,
    binlog_retention,
    read_only_lock,
    selection_of,
    source_lock,
    take_fence,
    unlock_first,
    validate,
)
from ferry_core.run.stages import Stages
from ferry_core.run.telling import Telling
from ferry_core.run.wishes import Wishes
from ferry_core.schema.create import create_missing
from ferry_core.throttle import Throttle
from ferry_core.verify.verifier import Verifier

log = logging.getLogger(__name__)

HURRY_SECONDS = 1.0
"""After a stop: when whoever still waits for a server stops waiting. The promise is an end within 5 s, and with the
checkpoints on a target that hangs the rest takes 2 s on an idle machine."""
AGAIN_SECONDS = 0.5


class Ferry:
    """``run`` blocks in the caller's thread; everything else may be called from any thread at any time."""

    def __init__(self, loaded: LoadedFerry, options: RunOptions) -> None:
        self._loaded = loaded
        self._options = options
        self._ferry = loaded.ferry
        self.wishes = Wishes(Directive.of(loaded.ferry.metadata.generation, loaded.ferry.spec))
        self.throttle = Throttle()
        self.telling = Telling(loaded.ferry, self.throttle)
        self._ended = threading.Event()
        self._fence: Fence | None = None
        self._told = ""
        self._known_endpoints = loaded.source, loaded.target
        self._connections = Connections(
            lambda: self._endpoints()[0], lambda: self._endpoints()[1], options.retry_seconds
        )
        self.wishes.on_change(self._apply_wishes)
        self._apply_wishes()

    def _endpoints(self) -> tuple[Endpoint, Endpoint]:
        try:
            self._known_endpoints = self._loaded.reload_credentials()
        except ConfigError as error:
            log.warning("credentials could not be read again, using the last known ones: %s", error)
        return self._known_endpoints

    # -- the run --------------------------------------------------------------------------------------------------

    def run(self) -> ExitCode:
        """Move everything. Returns DONE; raises the FerryError that ended the run otherwise."""
        with self._serving():
            try:
                try:
                    with alone(self._ferry, self._options, self._connections, self._wait):
                        return self._run()
                finally:
                    self._ended.set()
            except FerryError as error:
                ended = self._as_asked(error)
                self.telling.failed(ended)
                raise ended from error

    def _as_asked(self, error: FerryError) -> FerryError:
        """After a stop the main thread's own statement may be what was killed: that is no failure.

        Started again, the run would take what another server holds for its own.
        """
        if self.wishes.stopping.is_set() and isinstance(error, RetriableError):
            return Terminated("Stopped", "stopped; started again it goes on from its checkpoint")
        return error.for_good() if isinstance(error, OtherServer) else error

    @contextlib.contextmanager
    def _serving(self) -> Iterator[None]:
        options = self._options
        if options.listen is None:
            yield
            return
        server = ControlServer(self, options.listen, token=options.token, tls_dir=options.tls_dir)
        server.start()
        try:
            yield
        finally:
            server.stop()

    def _run(self) -> ExitCode:
        self.telling.stage(Stage.VALIDATING)
        unlock_first(self._ferry, self._connections)
        crossing = self._validate()
        if crossing.was_cut_over:
            return self._already_done(crossing)
        fence = self._fence = take_fence(crossing, self._state(crossing))
        undo(fence, read_only_lock(self._connections, crossing.flavor, crossing.uid))
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
        self._cross(crossing, fence, visibility, state, altered)
        return ExitCode.DATA if self.telling.written_after else ExitCode.DONE

    def _validate(self) -> Crossing:
        """Validate, and again after a wait in plan-only mode: the servers may have changed meanwhile."""
        crossing = validate(self._ferry, self._connections, self._options, self.telling.checked)
        if crossing.state is not None:
            self.wishes.restore_pause(crossing.state.paused, crossing.state.paused_over)
            self.wishes.restore_series(Asked(crossing.state.series.wanted, crossing.state.series.max_attempts))
        if not self._waits(crossing):
            return crossing
        self._tell_waiting(crossing)
        while self._waits(crossing):
            self.telling.tick()
            self._wait(0.2)
        if self._options.state_path is not None:  # a table on the target has to wait for the fence
            self._keep_verb(crossing, crossing.lease.epoch if crossing.lease else 0)
        self.telling.stage(Stage.VALIDATING)
        return validate(self._ferry, self._connections, self._options, self.telling.checked)

    def _keep_verb(self, crossing: Crossing, epoch: int) -> None:
        """Store a pause or resume verb before there is anything else to store: it survives a restart."""
        said = self.wishes.paused_by_verb
        if said is not None and said != (crossing.state.paused if crossing.state else None):
            state = self._state(crossing)
            state.paused, state.paused_over = said, self.wishes.spec_paused
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

    def _wait(self, seconds: float) -> None:
        self._leave_if_asked()
        self.wishes.wait_changed(seconds)

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
        when = f" at {time.strftime('%F %T UTC', time.gmtime(at))}" if (at := state.completed_at) is not None else ""
        self.telling.begin(crossing.tables, crossing.lease.epoch if crossing.lease else 0, state)
        took = f", writes were blocked for {ms} ms" if (ms := state.write_block_milliseconds) is not None else ""
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

    def _cross(
        self, crossing: Crossing, fence: Fence, visibility: Visibility, state: RunState, altered: AlteredTables
    ) -> None:
        tables = crossing.tables
        start = stored_mark(state, crossing.flavor)
        proving_mode = self._ferry.spec.verify.mode is not VerifyMode.NONE
        verifier = Verifier(tables, self._source_for, self._connections.target) if proving_mode else None
        buffer = ChangeBuffer(tables, start, verifier.changed if verifier else None)
        chunks = ChunkSource(tables, self.wishes.directive.copy_, state.tables)
        self.wishes.on_change(lambda: chunks.pace(self.wishes.directive.copy_, self.throttle.rate.largest_step))
        chunks.pace(self.wishes.directive.copy_, self.throttle.rate.largest_step)
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
            self.wishes,
            ears,
            self._options.retry_seconds,
        )
        self.wishes.on_change(lambda: buffer.close() if self.wishes.stopping.is_set() else None)
        marks = marks_of(crossing, fence)
        checkpoints = Checkpoints(crossing.store, fence.epoch, state, chunks, buffer, self.telling.checkpointed, marks)
        proving = (
            Proving(verifier, tables, buffer, self.telling.verified, engine.ending, self._connections.source_position)
            if verifier
            else None
        )
        self.telling.watch(engine, proving)
        lock = partial(source_lock, self._ferry, self._connections, crossing.flavor, crossing.uid)
        stages = Stages(
            crossing, fence, engine, visibility, checkpoints, proving, lock, self.throttle, self.wishes, self.telling
        )
        try:
            stages.run()
        except (Terminated, RetriableError):
            engine.stop()
            checkpoints.save_now_if_possible()
            if self.wishes.aborted.is_set():
                fence.record(phase="Aborted")
            raise
        finally:
            engine.stop()
            if verifier is not None:
                verifier.close()
            crossing.store.close()

    def _source_for(self, purpose: Purpose) -> Session:
        return self._connections.source(text=purpose is Purpose.SOURCE_TEXT)

    # -- the verbs (ControlServer, signals) -----------------------------------------------------------------------

    def _apply_wishes(self) -> None:
        directive = self.wishes.directive
        self.throttle.pause.set(self.wishes.paused, "ferry pause" if self.wishes.paused_by_verb else "spec.paused")
        self.throttle.rate.set(directive.throttle.max_rows_per_second)
        self.telling.acknowledged(directive.generation)
        cap = directive.throttle.max_rows_per_second
        told = (
            f"generation {directive.generation}: {'paused' if directive.paused else 'not paused'}, cutover "
            f"{'permitted' if directive.cutover.permitted else 'not permitted'}, {directive.copy_.workers} workers, "
            f"{'no cap' if cap is None else f'at most {cap}'} rows a second"
            f"{', to be aborted' if self.wishes.aborted.is_set() else ''}"
        )
        if told != self._told:
            self._told = told
            log.info("acts on %s", told)

    def stop(self) -> None:
        """Checkpoint and leave (exit 143)."""
        self.wishes.stop()
        threading.Thread(target=self._hurry, name="hurry", daemon=True).start()

    def _hurry(self) -> None:
        """A server that hangs must not hold up the end; only unlocking the source is worth any wait."""
        wait, killed = HURRY_SECONDS, False
        while not self._ended.wait(wait):
            wait = AGAIN_SECONDS
            if self.telling.current_stage is Stage.CUTTING_OVER:
                continue
            if killed:
                # Again and again: one call after another may hang, the last of them that of the checkpoint.
                self._connections.abort_all()
            killed = True
            threading.Thread(target=self._end_statements, name="kill", daemon=True).start()

    def _end_statements(self) -> None:
        """While the target answers; what hangs is broken by ``abort_all``."""
        try:
            if self._fence is not None:
                self._fence.end_statements()
        except FerryError as error:
            log.debug("statements on the target were not ended: %s", error)

    def pause(self) -> None:
        self.wishes.pause(True)

    def resume(self) -> None:
        self.wishes.pause(False)

    def set_throttle(self, max_rows_per_second: int | None) -> None:
        throttle = self.wishes.directive.throttle
        self.wishes.change(throttle=throttle.model_copy(update={"max_rows_per_second": max_rows_per_second}))

    def cutover(self) -> None:
        self.wishes.approve()

    def abort(self) -> None:
        self.wishes.abort()

    def check(self, directive: Directive) -> None:
        """Preflight asked for what the run began with: another value needs another start."""
        spec = self._ferry.spec
        pairs = {
            "verify.mode": (spec.verify.mode, directive.verify.mode),
            "cutover.sourceLock": (spec.cutover.source_lock, directive.cutover.source_lock),
        }
        changed = [f"{name} ({before}, asked for: {now})" for name, (before, now) in pairs.items() if before is not now]
        if changed:
            raise ConfigError(
                Reason.NEEDS_RESTART,
                f"{' and '.join(changed)} cannot change while it runs: stop it, change the manifest and start again; "
                "it goes on from its checkpoint",
            )

    def directive(self, directive: Directive) -> None:
        self.wishes.replace(directive)

    def restrain(self, restraint: Restraint) -> None:
        self.wishes.restrain(restraint)

    @property
    def progress(self) -> Progress:
        return self.telling.progress

    def snapshot(self) -> Report:
        return self.telling.report()

    def tables(self) -> list[TableReport]:
        return self.telling.tables()

    def result_line(self) -> str:
        return self.telling.result_line()
