"""The one snapshot of a run: written by all its threads, read by the ControlServer, the metrics and the CLI.

It only collects: the coordinator decides the stage and the gates. Figures of one table are in its ``TableMove``.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ferry_core.api import report as api
from ferry_core.api.conditions import MESSAGE_CHARACTERS
from ferry_core.api.control import RecentEvent
from ferry_core.api.report import Phase, Report, Stage, TableReport
from ferry_core.errors import FerryError, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.reasons import Condition, Reason
from ferry_core.report.conditions import Conditions
from ferry_core.report.counters import Counters
from ferry_core.report.heartbeat import Heartbeat
from ferry_core.report.rate import SmoothedRate
from ferry_core.report.recent import RecentEvents
from ferry_core.report.revisions import Revisions
from ferry_core.report.tables import copy_report, state_of, table_report
from ferry_core.report.timings import Timings
from ferry_core.rows.copier import CopyResult
from ferry_core.throttle import SIGNALS, Observed, ThrottleState


class Progress:
    """Thread-safe."""

    def __init__(
        self, generation: int = 1, now: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.timings = Timings()
        self.heartbeat = Heartbeat(now)
        self._now = now
        self._wall = wall
        self._revisions = Revisions(now)
        self._lock = self._revisions.lock
        self._generation = generation
        self._conditions = Conditions()
        self._recent = RecentEvents()
        self._moves: Iterable[TableMove] = ()
        self._with_pending: Collection[TableMove] = ()
        self._counters = Counters()
        self._rate = SmoothedRate()
        self._stage = Stage.PENDING
        self._phase: Phase | None = None
        # Parts of the report that callers replace as a whole, by field name.
        self._said: dict[str, Any] = {
            "message": "",
            "start_time": self._moment(),
            "completion_time": None,
            "replication": api.Replication(),
            "throttle": api.ThrottleReport(),
            "verification": api.Verification(),
            "cutover": api.CutoverReport(),
            "copier": api.CopierReport(acknowledged_generation=generation),
            "failure": None,
        }

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC).replace(microsecond=0)

    def _say(self, **parts: object) -> None:
        """Under the lock: replace parts of the report. The revision rises if that changed anything."""
        if any(self._said[name] != part for name, part in parts.items()):
            self._said |= parts
            self._revisions.news()

    def _count(self, **parts: object) -> None:
        """Under the lock: numbers changed, those of ``parts`` or (without any) others."""
        if not parts or any(self._said[name] != part for name, part in parts.items()):
            self._said |= parts
            self._revisions.numbers()

    # -- life -----------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the coordinator has had a heartbeat recently. Before the copy it only asks servers, with timeouts."""
        early = self._stage in (Stage.PENDING, Stage.VALIDATING)
        return early or self.heartbeat.alive

    @property
    def ready(self) -> bool:
        """Validated and running, or completed."""
        with self._lock:
            return self._stage not in (Stage.PENDING, Stage.VALIDATING) and self._said["failure"] is None

    def set_stage(self, stage: Stage, message: str | None = None) -> None:
        with self._lock:
            if stage is not self._stage:
                self._stage = stage
                self._recent.add(self._moment(), "Stage", stage.value)
                self._revisions.news()
            if message is not None:
                self._say(message=message[:MESSAGE_CHARACTERS])

    @property
    def stage(self) -> Stage:
        return self._stage

    def set_message(self, message: str) -> None:
        with self._lock:
            self._say(message=message[:MESSAGE_CHARACTERS])

    def set_condition(self, kind: str, status: bool | None, reason: Reason, message: str = "") -> None:
        """``status`` None is Unknown."""
        with self._lock:
            now, before = self._moment(), self._conditions.get(kind)
            if self._conditions.set(kind, status, reason, message, self._generation, now):
                self._recent.condition(now, before, self._conditions.get(kind))
                self._revisions.news()

    def acknowledge(self, generation: int) -> None:
        """Directives up to this generation are applied. An older generation changes nothing."""
        with self._lock:
            self._generation = generation = max(generation, self._generation)
            self._say(copier=self._said["copier"].model_copy(update={"acknowledged_generation": generation}))

    def set_epoch(self, epoch: int) -> None:
        with self._lock:
            self._say(copier=self._said["copier"].model_copy(update={"epoch": epoch}))

    def set_paused(self, paused: bool, message: str = "") -> None:
        """Show the phase Paused instead of the stage, or end that."""
        with self._lock:
            if self._phase in (None, Phase.PAUSED):
                before, self._phase = self._phase, Phase.PAUSED if paused else None
                if before is not self._phase:
                    self._revisions.news()
        self.set_condition(Condition.PAUSED, paused, Reason.PAUSED_BY_USER if paused else Reason.NOT_PAUSED, message)

    def failed(self, error: FerryError) -> None:
        """The run ends with ``error``."""
        retriable = isinstance(error, RetriableError)
        with self._lock:
            self._phase = Phase.FAILED
            text = error.message[:MESSAGE_CHARACTERS]
            self._say(failure=api.Failure(reason=error.reason, message=text, retriable=retriable), message=text)
        if not retriable:
            self.set_condition(Condition.SUCCEEDED, False, Reason.FAILED, error.message)
            self.set_condition(Condition.STALLED, True, error.reason, error.message)

    def aborted(self, message: str) -> None:
        with self._lock:
            self._phase = Phase.ABORTED
            self._say(message=message)
            self._revisions.news()
        self.set_condition(Condition.SUCCEEDED, False, Reason.ABORTED, message)

    def completed(self, message: str) -> None:
        with self._lock:
            self._stage = Stage.COMPLETED
            self._recent.add(self._moment(), "Stage", Stage.COMPLETED.value)
            self._phase = None
            self._say(message=message, completion_time=self._moment())
        self.set_condition(Condition.SUCCEEDED, True, Reason.COMPLETED, message)

    # -- the copy -------------------------------------------------------------------------------------------------

    def begin(self, moves: Iterable[TableMove]) -> None:
        """Report these moves from now on, with what an earlier run has copied, and moves that join or leave later."""
        with self._lock:
            before = {move.id: move.progress for move in self._moves}
            self._moves = moves
            for move in moves:
                move.progress = replace(before.get(move.id, move.progress), announced=state_of(move))
            self._revisions.news()

    def chunk(self, move: TableMove, result: CopyResult) -> bool:
        """A chunk is on the target. Returns whether the table's visible state changed."""
        with self._lock:
            state = state_of(move)
            if changed := state is not move.progress.announced:
                move.progress.announced = state
                self._revisions.news()
            self._counters.chunks["copied"] += 1
            self._rate.add(result.rows_sent, self._now())
            self._written(result)
        self.timings.read.observe(result.read_seconds)
        self.timings.write.observe(result.write_seconds)
        self.timings.chunk_rows.observe(result.rows_sent)
        return changed

    def chunk_undone(self, outcome: str) -> None:
        """A chunk was not written: ``split`` or ``retried``."""
        with self._lock:
            self._counters.chunks[outcome] += 1
            self._count()

    def set_workers(self, busy: int, idle: int) -> None:
        with self._lock:
            self._counters.workers = {"busy": busy, "idle": idle}

    # -- the stream -----------------------------------------------------------------------------------------------

    def stream(
        self,
        *,
        position: str | None,
        gtid_set: str | None,
        lag_seconds: float | None,
        last_event_at: float | None,
        events: Mapping[str, int],
        total_bytes: int,
        reconnects: Mapping[str, int],
    ) -> None:
        """The streamer's state. ``lag_seconds`` is the target's lag: None is unknown, never 0."""
        with self._lock:
            counters = self._counters
            counters.binlog_events, counters.binlog_bytes = dict(events), total_bytes
            counters.reconnects = dict(reconnects)
            moment = None if last_event_at is None else datetime.fromtimestamp(round(last_event_at), UTC)
            said = self._said["replication"]
            update = {
                "position": position,
                "gtid_set": gtid_set,
                "lag_seconds": None if lag_seconds is None else max(0.0, round(lag_seconds, 3)),
                "last_event_time": moment,
            }
            self._count(replication=said.model_copy(update=update))

    def set_binlog_retained(self, seconds: float | None) -> None:
        """How long the source keeps binlogs that were not read yet."""
        with self._lock:
            said = self._said["replication"]
            self._count(replication=said.model_copy(update={"source_binlog_retained_seconds": seconds}))

    def set_pending(self, by_move: Mapping[TableMove, int]) -> None:
        """Changed keys that are not yet on the target. A move that is not in the mapping has none."""
        with self._lock:
            for move in self._with_pending:
                move.progress.pending_keys = 0
            for move, keys in by_move.items():
                move.progress.pending_keys = keys
            self._with_pending = by_move.keys()
            said = self._said["replication"]
            self._count(replication=said.model_copy(update={"pending_keys": sum(by_move.values())}))

    def keys_copied(self, result: CopyResult) -> None:
        """A batch of changed keys is on the target."""
        with self._lock:
            self._counters.keys_flushed["written"] += result.rows_sent
            self._counters.keys_flushed["deleted"] += max(0, result.rows_asked - result.rows_sent)
            self._written(result)

    def _written(self, result: CopyResult) -> None:
        self._counters.writes += 1
        self._counters.write_seconds += result.write_seconds
        if result.commit_seconds:
            self.timings.commit.observe(result.commit_seconds)
        self._count()

    def flushed(self, seconds: float, visible_seconds: float) -> None:
        """A generation of changed keys is on the target. ``visible_seconds``: until its changes could be read."""
        self.timings.flush.observe(seconds)
        self.timings.visibility.observe(visible_seconds)

    # -- the rest -------------------------------------------------------------------------------------------------

    def throttled(self, state: ThrottleState, seconds: Mapping[str, float], observed: Observed) -> None:
        """From ``Throttle.state()``, ``Throttle.seconds()`` and ``Throttle.observed()``."""
        with self._lock:
            self._counters.observed = observed
            self._counters.throttle_seconds = dict(seconds)
            self._counters.throttled_by = state.signals
            since = state.since.replace(microsecond=0) if state.since else None
            self._say(throttle=api.ThrottleReport(active=state.active, reason=state.reason, since=since))
        reason = SIGNALS[state.signals[0]] if state.signals else Reason.NOT_THROTTLED
        self.set_condition(Condition.THROTTLED, state.active, reason, state.reason or "")

    def retried(self, server: str, kind: str) -> None:
        """A step failed with an error of class ``kind`` on ``server`` and is retried."""
        with self._lock:
            self._counters.errors[server, kind] += 1
            self._count()

    def checkpointed(self, ok: bool) -> None:
        with self._lock:
            self._counters.checkpoints["success" if ok else "failure"] += 1
            if ok:
                self._counters.checkpoint_at = self._wall()
            self._count()

    def verified(self, rows: int) -> None:
        """That many more rows were compared."""
        with self._lock:
            said = self._said["verification"]
            self._count(verification=said.model_copy(update={"rows_verified": said.rows_verified + rows}))

    def set_verification(self, **numbers: int | datetime | None) -> None:
        """Fields of status.verification by their attribute names, for example ``unproven_keys``."""
        with self._lock:
            self._count(verification=self._said["verification"].model_copy(update=numbers))

    def differ(self, by_table: Mapping[str, int]) -> None:
        """That many more rows of these tables differ, by table id."""
        with self._lock:
            for move in self._moves:
                move.progress.mismatched_rows += by_table.get(move.id, 0)
            said = self._said["verification"]
            rows = said.rows_differing + sum(by_table.values())
            self._say(verification=said.model_copy(update={"rows_differing": rows}))

    def repaired(self, by_table: Mapping[str, int] | None = None) -> None:
        """That many more rows of these tables are equal again, by table id; None: no row counts as different."""
        with self._lock:
            for move in self._moves:
                rows = move.progress
                more = rows.mismatched_rows - rows.repaired_rows if by_table is None else by_table.get(move.id, 0)
                rows.repaired_rows += more
            said = self._said["verification"]
            total = said.rows_differing if by_table is None else said.rows_repaired + sum(by_table.values())
            self._count(verification=said.model_copy(update={"rows_repaired": total}))

    def event(self, kind: str, status: str, reason: str, message: str) -> None:
        """Something that people may want to know of, and that is no condition."""
        with self._lock:
            self._recent.add(self._moment(), kind, status, reason, message)
            self._revisions.news()

    def restore_attempts(self, attempts: int, began_at: float | None, result: str | None, blocked: int | None) -> None:
        """Cutover attempts from a checkpoint; ``blocked`` is in milliseconds."""
        began = None if began_at is None else datetime.fromtimestamp(began_at, UTC).replace(microsecond=0)
        report = api.CutoverReport(
            attempts=attempts, last_attempt_time=began, last_result=result, writes_blocked_milliseconds=blocked
        )
        with self._lock:
            self._say(cutover=report)

    def attempt_begins(self, number: int) -> None:
        with self._lock:
            now = self._moment()
            self._recent.add(now, "CutoverAttempt", str(number))
            update = {"attempts": number, "last_attempt_time": now}
            self._say(cutover=self._said["cutover"].model_copy(update=update))

    def attempt_ended(self, result: str, blocked_milliseconds: int) -> None:
        with self._lock:
            self._counters.attempts[result] += 1
            update = {"last_result": result, "writes_blocked_milliseconds": blocked_milliseconds}
            self._say(cutover=self._said["cutover"].model_copy(update=update))
        if blocked_milliseconds:
            self.timings.write_block.observe(blocked_milliseconds / 1000)

    # -- readers --------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """The current report."""
        with self._lock:
            self._revisions.raise_if_due()
            return Report(
                observed_generation=self._generation,
                stage=self._stage.value,
                phase=(self._phase or self._stage).value,
                conditions=self._conditions.all(),
                progress=copy_report(list(self._moves), self._completion),
                revision=self._revisions.newest,
                **self._said,
            )

    def _completion(self, rows_left: int) -> datetime | None:
        rate = self._rate.per_second(self._now())
        if rate is None or not rows_left or self._phase is not None:
            return None
        try:
            return self._moment() + timedelta(seconds=round(rows_left / rate))
        except OverflowError:
            return None

    def events(self) -> list[RecentEvent]:
        """The newest changes, oldest first."""
        with self._lock:
            return self._recent.all()

    def events_since(self, seen: int) -> tuple[list[RecentEvent], int]:
        """See ``RecentEvents.since``."""
        with self._lock:
            return self._recent.since(seen)

    def tables(self) -> list[TableReport]:
        with self._lock:
            return [table_report(move) for move in self._moves]

    def read_numbers(self, read: Callable[[Sequence[TableMove], Counters], None]) -> None:
        """Call ``read`` with all numbers while no thread writes; used by scrapes."""
        with self._lock:
            read(list(self._moves), self._counters)

    def wait_changed(self, since: int, timeout: float, *, only_news: bool = False) -> Report | None:
        """The report as soon as it is newer than ``since``; None if it is not within ``timeout`` seconds.

        ``only_news``: changes of numbers alone do not count. Otherwise an orchestrator with a thousand copiers would
        get all of them every second.
        """
        with self._lock:
            newer = self._revisions.wait_newer(since, timeout, only_news=only_news)
            return self.report() if newer else None
