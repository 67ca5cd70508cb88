"""Reports a run: turns events into progress, conditions and messages. Decides nothing.

The engine's threads call the counters, the coordinator everything else. ``Progress`` is the one thread-safe snapshot.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ferry_core.api.choices import VerifyMode
from ferry_core.api.report import Report, Stage, TableReport
from ferry_core.api.spec import Ferry
from ferry_core.changes.flusher import FlushResult
from ferry_core.checkpoint.state import RunState
from ferry_core.errors import DataError, ExitCode, FerryError, TooLarge
from ferry_core.intent.desired_state import DesiredState
from ferry_core.intent.intent import Intent
from ferry_core.moves.move import TableMove
from ferry_core.mysql.file_position import FilePosition
from ferry_core.preflight import CheckResult
from ferry_core.reasons import Condition, Reason
from ferry_core.report.cutover_reporter import CutoverReporter
from ferry_core.report.logged_progress import LoggedProgress
from ferry_core.report.verification_reporter import VerificationReporter
from ferry_core.report.wording import (
    AT_FIRST,
    NOTHING_COPIED,
    NOTHING_PROVEN,
    ConditionState,
    applying,
    at_most_4_kib,
    hand_over,
    roughly,
    with_warnings,
)
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import TableName
from ferry_core.text import counted, shortlist
from ferry_core.throttle import Throttle
from ferry_core.verify.difference import RowsDiffer, RowsDifferAgain
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.engine import Engine

if TYPE_CHECKING:
    from ferry_core.throttle.probe import Reading

log = logging.getLogger(__name__)

NAMED_TABLES = 10


class StatusReporter(CutoverReporter):
    """One per run. ``watch`` passes the engine, once there is one."""

    def __init__(self, ferry: Ferry, throttle: Throttle, intent: Intent) -> None:
        super().__init__(LoggedProgress(ferry.metadata.generation))
        self._ferry = ferry
        self._throttle = throttle
        self._intent = intent
        self.verification = VerificationReporter(self.progress)
        self._applying = ""
        self._failed: FerryError | None = None
        self._engine: Engine | None = None
        self.behind_primary: Callable[[], Reading] | None = None
        """How far a source that is a replica is behind, in seconds."""
        self._began = time.time()
        self._json_before = 0
        self._counting = threading.Lock()
        self._message = ""
        self._pause_message = ""
        self._retained: float | None = None
        self._result: str | None = None
        self._new_tables: Sequence[TableName] = ()
        self._joined: Sequence[str] = ()
        self._left_behind: Sequence[str] = ()
        self._set_conditions(AT_FIRST)
        self._report_intent()

    def _set_conditions(self, conditions: Sequence[ConditionState]) -> None:
        for kind, status, reason in conditions:
            self.progress.set_condition(kind, status, reason)

    # -- validation and life ------------------------------------------------------------------------------------------

    def checked(self, results: Sequence[CheckResult]) -> None:
        """Set the Validated condition from preflight's results: the first failure, or the warnings, which are also
        logged.
        """
        failed = [result for result in results if result.status == "failed"]
        for result in results:
            if result.status in ("warning", "acknowledged"):
                log.warning("%s: %s", result.reason, result.message)
            elif result.status != "failed" and result.message:
                log.info("%s: %s", result.name, result.message)
        if failed:
            self.progress.set_condition(Condition.VALIDATED, False, failed[0].reason, failed[0].message)
        else:
            warned = [(result.reason, result.message) for result in results if result.status == "warning"]
            self.progress.set_condition(Condition.VALIDATED, True, Reason.PASSED, with_warnings(warned))

    def begin(self, moves: Iterable[TableMove], epoch: int, state: RunState) -> None:
        """The tables are known, and an earlier run's state. A run that copies nothing for now has that run's epoch."""
        self.progress.begin(moves)
        self.progress.set_epoch(epoch)
        self._began = state.started_at or self._began
        self._json_before = state.json_changed
        self._joined, self._left_behind = state.joined, state.left_behind
        if self._left_behind:
            log.warning("%s", self.left_out())
        series = state.series
        self.progress.restore_attempts(
            series.attempts, series.last_attempt_at, series.last_result, series.blocked_milliseconds
        )
        self._last_failure = series.last_result or ""
        if state.all_copied(move.id for move in moves):
            # Whoever waits for the copy has had it: a restart takes nothing of it back.
            self.progress.set_condition(Condition.COPY_COMPLETE, True, Reason.ALL_TABLES_COPIED)
            self.progress.set_condition(Condition.READY_FOR_CUTOVER, False, Reason.LAG_UNKNOWN)
        else:
            self._set_conditions(NOTHING_COPIED)

    def begins_again(self, error: FerryError, *, from_checkpoint: bool = True) -> None:
        """The run starts again from its checkpoint: nothing counts as verified any more, and the stage stays
        visible.
        """
        self._engine = self._verification = None
        self.verification.begins_again()
        self._set_conditions(NOTHING_PROVEN)
        if self.stage is Stage.READY_FOR_CUTOVER:
            self.enter(Stage.STREAMING)
        how = "resuming from the checkpoint" if from_checkpoint else "nothing is copied yet, validating again"
        self.message(f"{how}: {error.message}")
        log.warning("%s: %s", how, error)

    def tables_start(self, error: FerryError) -> None:
        """Tables start over, or join, while all others go on."""
        self._set_conditions(NOTHING_COPIED)
        if self._verification is not None:
            self.progress.set_condition(Condition.VERIFIED, None, Reason.RUNNING)
        self.message(f"copying these tables while all others go on: {error.message}")
        log.warning("the run goes on while these tables are copied: %s", error)

    def joined(self, names: Sequence[str]) -> None:
        """These tables were created after the start, and are moved too."""
        self._joined = names

    def set_new_tables(self, tables: Sequence[TableName]) -> None:
        """Set the tables that match the patterns now and did not exist when the copy began."""
        news = set(tables).difference(self._new_tables)
        self._new_tables = tables
        if news:
            log.warning("%s", self.left_out())

    def left_out(self) -> str:
        """See ``CutoverReporter``."""
        told = {
            "created after the start and moved too": self._joined,
            "not moved, because they were created after the start": [str(name) for name in self._new_tables],
            "perhaps left on the target, because they are not moved any more": self._left_behind,
        }
        return "; ".join(f"{what}: {shortlist(names, NAMED_TABLES)}" for what, names in told.items() if names)

    def watch(self, engine: Engine, verification: BackgroundVerifier | None) -> None:
        """Read these objects at each tick from now on."""
        self._engine = engine
        self._verification = verification

    def enter(self, stage: Stage) -> None:
        """The run enters this stage."""
        if stage is Stage.COMPLETED:
            self._complete()
        else:
            self.progress.set_stage(stage)

    def _complete(self) -> None:
        message = hand_over(self._ferry.spec)
        if self._verification is not None:
            # The time in the condition before the attempt may be older than the last check.
            self.progress.set_condition(Condition.VERIFIED, True, Reason.NO_DIFFERENCE, self._verification.unseen)
            message += f"; {self._verification.unseen}"
        self.progress.completed(self.and_left_out(message))

    def message(self, text: str) -> None:
        self._message = text
        if not self._pause_message:
            self.progress.set_message(text)

    def long_step(self) -> AbstractContextManager[None]:
        """While entered, the coordinator waits for one statement that may take long."""
        return self.progress.heartbeat.long_step()

    def source_retains(self, seconds: float | None) -> None:
        """How long the source keeps its binlogs; None: for ever, or unknown."""
        self._retained = seconds
        self.progress.set_binlog_retained(seconds)

    def acknowledged(self, wanted: DesiredState) -> None:
        """The run's threads follow this generation from now on."""
        self.progress.acknowledge(wanted.directive.generation)

    def _report_intent(self) -> None:
        wanted = self._intent.now
        self.acknowledged(wanted)
        text = applying(wanted)
        if text != self._applying:
            self._applying = text
            log.info("%s", text)

    def failed(self, error: FerryError) -> None:
        """Calling it again with the same error has no effect."""
        if error is self._failed:
            return
        self._failed = error
        if error.exit_code is ExitCode.TERMINATED:
            if error.reason == Reason.ABORTED:
                self.progress.aborted(error.message)
            else:
                self.message(error.message)
        else:
            self._report_differences(error)
            self.progress.failed(error)

    def _report_differences(self, error: FerryError) -> None:
        if isinstance(error, RowsDiffer | RowsDifferAgain):
            self.progress.set_condition(Condition.VERIFIED, False, Reason.ROWS_DIFFER, error.message)
        if isinstance(error, RowsDiffer):
            self.progress.differ({table.id: rows for table, rows in error.by_table.items()})

    # -- counters: any thread -----------------------------------------------------------------------------------------

    def chunk(self, move: TableMove, result: CopyResult) -> None:
        self.progress.chunk(move, result)

    def keys(self, _move: TableMove, result: CopyResult) -> None:
        self.progress.keys_copied(result)

    def judge(self, move: TableMove, result: CopyResult) -> None:
        """Count rows whose JSON changed when it was parsed again. Refuse them unless that is acknowledged."""
        if not result.json_changed:
            return
        if Reason.JSON_PRECISION not in {str(word) for word in self._ferry.spec.acknowledge}:
            raise DataError(
                Reason.JSON_PRECISION,
                f"{result.json_changed} rows of {move.id} hold JSON values that do not survive a conversion to text "
                f"(DECIMAL becomes DOUBLE, dates become strings); if that is acceptable, add acknowledge: "
                f"[JsonPrecision]",
            )
        with self._counting:
            move.json_changed += result.json_changed

    @property
    def json_changed(self) -> int:
        """Counts for the checkpoint that the coordinator writes."""
        moves = self._engine.moves if self._engine is not None else ()
        with self._counting:
            return self._json_before + sum(move.json_changed for move in moves)

    def flush(self, result: FlushResult) -> None:
        self.progress.flushed(result.seconds, result.visible_seconds)

    def retried(self, error: FerryError) -> None:
        self.progress.retried(error.server or "both", error.reason)
        if isinstance(error, TooLarge):
            self.progress.chunk_undone("split")

    def chunk_retried(self) -> None:
        self.progress.chunk_undone("retried")

    def checkpointed(self, ok: bool) -> None:
        self.progress.checkpointed(ok)

    # -- stages: the coordinator --------------------------------------------------------------------------------------

    def all_copied(self) -> None:
        self.progress.set_condition(Condition.COPY_COMPLETE, True, Reason.ALL_TABLES_COPIED)

    def completed_before(self, text: str) -> None:
        """An earlier run did all the work, so this one has no figures of its own to report."""
        self._result = text
        self.progress.set_condition(Condition.STALLED, False, Reason.NOT_STALLED)
        self.progress.completed(text)

    # -- the tick -----------------------------------------------------------------------------------------------------

    def lag(self) -> float | None:
        """Seconds from the commit of the oldest change that is not on the target until now (source clock).

        None: unknown.
        """
        if self._engine is None:
            return None
        stream = self._engine.streamer.status()
        behind = None if self.behind_primary is None else self.behind_primary()
        if stream.lag_seconds is None or (behind is not None and behind.value is None):
            return None
        oldest = self._engine.buffer.oldest_commit()
        waiting = 0.0 if oldest is None else time.time() + self._engine.streamer.clock_ahead - oldest
        return max(stream.lag_seconds, waiting, 0.0 if behind is None else behind.value or 0.0)

    @property
    def lag_unknown_because(self) -> str:
        """For a source that is a replica; empty: it follows its primary."""
        return "" if self.behind_primary is None else self.behind_primary().why

    def tick(self) -> None:
        """Update the snapshot from the run's parts."""
        self.progress.heartbeat.beat()
        self._report_intent()
        self.progress.throttled(self._throttle.state(), self._throttle.seconds(), self._throttle.observed())
        self._report_pause()
        self.report_lag_of_attempt()
        if self._engine is None:
            return
        stream = self._engine.streamer.status()
        seen = stream.last_event_monotonic
        safe = self._engine.buffer.checkpoint_mark().position
        by_file = isinstance(safe, FilePosition)
        self.progress.stream(
            position=str(stream.processed.position) if by_file else stream.file or None,
            gtid_set=None if by_file else at_most_4_kib(str(safe)),
            lag_seconds=self.lag(),
            last_event_at=None if seen is None else time.time() - (time.monotonic() - seen),
            events=stream.events,
            total_bytes=stream.bytes,
            reconnects=stream.reconnects,
        )
        self.progress.set_pending(self._engine.buffer.pending_by_move())
        if self._verification is not None:
            self.progress.set_verification(unproven_keys=self._verification.unproven_keys)
        self.progress.set_workers(*self._engine.workers)

    def _report_pause(self) -> None:
        """While data movement stands still, this message replaces every other one."""
        pause, throttle = self._throttle.pause, self._throttle.state()
        message = f"paused by {pause.by}{self._binlogs_last('resume')}" if pause.paused else ""
        self.progress.set_paused(pause.paused, message)
        if throttle.holds_all and not pause.paused:
            message = f"throttled by {throttle.reason}{self._binlogs_last('raise the limit')}"
        if not message and self._engine is not None:
            message = self._engine.row_locks.message
        if message != self._pause_message and self.stage is not Stage.COMPLETED:
            self._pause_message = message
            self.progress.set_message(message or self._message)

    def _binlogs_last(self, advice: str) -> str:
        """For how long the binlogs still suffice: the oldest change that is not on the target is as old as the lag.

        ``advice``: how to go on if they may not.
        """
        lag = self.lag()
        if self._retained is None or lag is None:
            return ""
        left = self._retained - lag
        if left <= 0:
            return f"; the source may purge binlogs that are still needed: {advice}, or let it keep them longer"
        return f"; source keeps binlogs for another {roughly(left)}"

    # -- readers ------------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        return self.progress.report()

    def tables(self) -> list[TableReport]:
        return self.progress.tables()

    def result_line(self) -> str:
        """The last line of a successful run: rows, duration, verification, write-block time."""
        if self._result is not None:
            return self._result
        report = self.report()
        seconds = max(time.time() - self._began, 0.001)
        verified = report.verification.rows_verified
        unseen = f" ({self._verification.unseen})" if self._verification is not None else ""
        proof = (
            "unproven (verify.mode None)"
            if self._ferry.spec.verify.mode is VerifyMode.NONE
            else f"verified {counted(verified, 'row')}, no difference{unseen}"
        )
        blocked = "unknown" if self._blocked_milliseconds is None else f"{self._blocked_milliseconds} ms"
        json = f", {counted(self.json_changed, 'row')} with JSON re-parsed" if self.json_changed else ""
        progress = report.progress
        moved = f"{counted(progress.rows_copied, 'row')} of {counted(progress.tables_total, 'table')}"
        return self.and_left_out(
            f"moved {moved} in {seconds:.1f} s with all waits, {proof}{json}, writes blocked {blocked}"
        )
