"""The one snapshot of a run: written by all its threads, read by the ControlServer, the metrics and the CLI.

Numbers are added up here and judged elsewhere: which stage it is and which gates are passed, the coordinator says.
What people wait for (stage, phase, message, conditions, failure, throttle) raises the revision at once; numbers raise
it at most once a second, or a long poll would return with every chunk.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ferry_core.api import report as api
from ferry_core.api.conditions import MESSAGE_CHARACTERS
from ferry_core.api.report import Phase, Report, Stage, TableReport, TableState
from ferry_core.errors import FerryError, RetriableError
from ferry_core.reasons import Condition, Reason
from ferry_core.report.conditions import Conditions
from ferry_core.report.counters import Counters, TableCounters, copy_report
from ferry_core.report.heartbeat import Heartbeat
from ferry_core.report.rate import SmoothedRate
from ferry_core.report.timings import Timings
from ferry_core.rows.copier import CopyResult
from ferry_core.tables.table import Table
from ferry_core.throttle import ThrottleState

NUMBERS_SECONDS = 1.0
"""How often changed numbers alone raise the revision."""


class Progress:
    """Thread-safe. Tables are known by their id (``schema.table`` on the source)."""

    def __init__(
        self, generation: int = 1, now: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        self.timings = Timings()
        self.heartbeat = Heartbeat(now)
        self._now = now
        self._wall = wall
        self._changed = threading.Condition()
        self._revision = 1
        self._news_revision = 1
        self._numbers_dirty = False
        self._numbers_at = now()
        self._generation = generation
        self._conditions = Conditions()
        self._tables: dict[str, TableCounters] = {}
        self._with_pending: set[str] = set()
        self._counters = Counters()
        self._rate = SmoothedRate()
        self._stage = Stage.PENDING
        self._phase: Phase | None = None
        # Parts of the report that others say whole, by its field names.
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

    def _bump(self, *, news: bool = True) -> None:
        """Under the lock: something has changed; ``news`` is what people wait for."""
        self._revision += 1
        if news:
            self._news_revision = self._revision
        self._numbers_dirty = False
        self._numbers_at = self._now()
        self._changed.notify_all()

    def _say(self, **parts: object) -> None:
        """Under the lock: replace parts of the report; the revision is raised if that changed anything."""
        if any(self._said[name] != part for name, part in parts.items()):
            self._said |= parts
            self._bump()

    def _count(self, **parts: object) -> None:
        """Under the lock: numbers changed, those of ``parts`` or, without, others."""
        if not parts or any(self._said[name] != part for name, part in parts.items()):
            self._said |= parts
            self._numbers_dirty = True

    # -- life -----------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the coordinator has said so lately; before the copy it only asks servers, with timeouts."""
        early = self._stage in (Stage.PENDING, Stage.VALIDATING)
        return early or self.heartbeat.alive

    @property
    def ready(self) -> bool:
        """Validated and under way, or done."""
        with self._changed:
            return self._stage not in (Stage.PENDING, Stage.VALIDATING) and self._said["failure"] is None

    def set_stage(self, stage: Stage, message: str | None = None) -> None:
        with self._changed:
            if stage is not self._stage:
                self._stage = stage
                self._bump()
            if message is not None:
                self._say(message=message[:MESSAGE_CHARACTERS])

    @property
    def stage(self) -> Stage:
        return self._stage

    def set_message(self, message: str) -> None:
        with self._changed:
            self._say(message=message[:MESSAGE_CHARACTERS])

    def set_condition(self, kind: str, status: bool | None, reason: Reason, message: str = "") -> None:
        """``status`` None is Unknown."""
        with self._changed:
            if self._conditions.set(kind, status, reason, message, self._generation, self._moment()):
                self._bump()

    def acknowledge(self, generation: int) -> None:
        """Directives up to this generation are acted on; an older one that is said late changes nothing."""
        with self._changed:
            self._generation = generation = max(generation, self._generation)
            self._say(copier=self._said["copier"].model_copy(update={"acknowledged_generation": generation}))

    def set_epoch(self, epoch: int) -> None:
        with self._changed:
            self._say(copier=self._said["copier"].model_copy(update={"epoch": epoch}))

    def set_paused(self, paused: bool, message: str = "") -> None:
        """Lays the phase Paused over the stage, or takes it away."""
        with self._changed:
            if self._phase in (None, Phase.PAUSED):
                before, self._phase = self._phase, Phase.PAUSED if paused else None
                if before is not self._phase:
                    self._bump()
        self.set_condition(Condition.PAUSED, paused, Reason.PAUSED_BY_USER if paused else Reason.NOT_PAUSED, message)

    def failed(self, error: FerryError) -> None:
        """The run ends with ``error``."""
        retriable = isinstance(error, RetriableError)
        with self._changed:
            self._phase = Phase.FAILED
            text = error.message[:MESSAGE_CHARACTERS]
            self._say(failure=api.Failure(reason=error.reason, message=text, retriable=retriable), message=text)
        if not retriable:
            self.set_condition(Condition.SUCCEEDED, False, Reason.FAILED, error.message)
            self.set_condition(Condition.STALLED, True, error.reason, error.message)

    def aborted(self, message: str) -> None:
        with self._changed:
            self._phase = Phase.ABORTED
            self._say(message=message)
            self._bump()
        self.set_condition(Condition.SUCCEEDED, False, Reason.ABORTED, message)

    def completed(self, message: str) -> None:
        with self._changed:
            self._stage = Stage.COMPLETED
            self._phase = None
            self._say(message=message, completion_time=self._moment())
        self.set_condition(Condition.SUCCEEDED, True, Reason.COMPLETED, message)

    # -- the copy -------------------------------------------------------------------------------------------------

    def begin(self, tables: Sequence[Table]) -> None:
        """These tables are selected; what an earlier run did is said by ``restore``."""
        with self._changed:
            self._tables = {
                table.id: TableCounters(table.id, str(table.target), table.rows_estimated) for table in tables
            }
            self._bump()

    def restore(self, table: Table, rows: int, copied_bytes: int, state: TableState) -> None:
        """What a checkpoint says of a table."""
        with self._changed:
            entry = self._tables[table.id]
            entry.rows_copied, entry.bytes_copied, entry.state = rows, copied_bytes, state
            self._bump()

    def set_table_state(self, table: Table, state: TableState) -> None:
        with self._changed:
            if self._tables[table.id].state is not state:
                self._tables[table.id].state = state
                self._bump()

    def chunk(self, table: Table, result: CopyResult) -> None:
        """A chunk is on the target."""
        with self._changed:
            entry = self._tables[table.id]
            if entry.state is TableState.PENDING:
                entry.state = TableState.COPYING
                self._bump()
            entry.rows_copied += result.rows_sent
            entry.bytes_copied += result.bytes_sent
            self._counters.chunks["copied"] += 1
            self._rate.add(result.rows_sent, self._now())
            self._count()
        self.timings.read.observe(result.read_seconds)
        self.timings.write.observe(result.write_seconds)
        self.timings.chunk_rows.observe(result.rows_sent)

    def chunk_undone(self, outcome: str) -> None:
        """A chunk was not written: ``split`` or ``retried``."""
        with self._changed:
            self._counters.chunks[outcome] += 1
            self._count()

    def copied(self, table: Table) -> tuple[int, int]:
        """Rows and bytes so far: what a checkpoint keeps."""
        with self._changed:
            entry = self._tables[table.id]
            return entry.rows_copied, entry.bytes_copied

    def set_workers(self, busy: int, idle: int) -> None:
        with self._changed:
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
        """The streamer's state. ``lag_seconds`` is that of the target: None is unknown, never 0."""
        with self._changed:
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
        """How long the source keeps what was not read yet."""
        with self._changed:
            said = self._said["replication"]
            self._count(replication=said.model_copy(update={"source_binlog_retained_seconds": seconds}))

    def set_pending(self, by_table: Mapping[str, int]) -> None:
        """Changed keys that are not yet on the target, by table id; a table left out has none."""
        with self._changed:
            for name in self._with_pending - by_table.keys():
                self._tables[name].pending_keys = 0
            for name, keys in by_table.items():
                self._tables[name].pending_keys = keys
            self._with_pending = set(by_table)
            said = self._said["replication"]
            self._count(replication=said.model_copy(update={"pending_keys": sum(by_table.values())}))

    def keys_copied(self, result: CopyResult) -> None:
        """A batch of changed keys is on the target."""
        with self._changed:
            self._counters.keys_flushed["written"] += result.rows_sent
            self._counters.keys_flushed["deleted"] += max(0, result.rows_asked - result.rows_sent)
            self._count()

    def flushed(self, seconds: float) -> None:
        """A generation of changed keys is on the target."""
        self.timings.flush.observe(seconds)

    # -- the rest -------------------------------------------------------------------------------------------------

    def throttled(self, state: ThrottleState, seconds: Mapping[str, float]) -> None:
        """As ``Throttle.state()`` and ``Throttle.seconds()`` say."""
        with self._changed:
            self._counters.throttle_seconds = dict(seconds)
            self._counters.throttled_by = state.signal
            since = state.since.replace(microsecond=0) if state.since else None
            self._say(throttle=api.ThrottleReport(active=state.active, reason=state.reason, since=since))
        reason = Reason.RATE_LIMIT if state.signal == "rows-per-second" else Reason.REPLICA_LAG
        self.set_condition(
            Condition.THROTTLED, state.active, reason if state.active else Reason.NOT_THROTTLED, state.reason or ""
        )

    def retried(self, server: str, kind: str) -> None:
        """A step failed with an error of class ``kind`` on ``server`` and is done again."""
        with self._changed:
            self._counters.errors[server, kind] += 1
            self._count()

    def checkpointed(self, ok: bool) -> None:
        with self._changed:
            self._counters.checkpoints["success" if ok else "failure"] += 1
            if ok:
                self._counters.checkpoint_at = self._wall()
            self._count()

    def verified(self, rows: int) -> None:
        """So many more rows were compared."""
        with self._changed:
            said = self._said["verification"]
            self._count(verification=said.model_copy(update={"rows_verified": said.rows_verified + rows}))

    def set_verification(self, **numbers: int) -> None:
        """Numbers of status.verification by their attribute names, for example ``unproven_keys``."""
        with self._changed:
            self._count(verification=self._said["verification"].model_copy(update=numbers))

    def differs(self, table: Table, rows: int) -> None:
        """So many more rows of a table differ."""
        with self._changed:
            self._tables[table.id].mismatched_rows += rows
            said = self._said["verification"]
            self._say(verification=said.model_copy(update={"rows_differing": said.rows_differing + rows}))

    def restore_attempts(self, attempts: int, began_at: float | None, result: str | None, blocked: int | None) -> None:
        """What a checkpoint says of cutover attempts; ``blocked`` is in milliseconds."""
        began = None if began_at is None else datetime.fromtimestamp(began_at, UTC).replace(microsecond=0)
        report = api.CutoverReport(
            attempts=attempts, last_attempt_time=began, last_result=result, writes_blocked_milliseconds=blocked
        )
        with self._changed:
            self._say(cutover=report)

    def attempt_begins(self, number: int) -> None:
        with self._changed:
            update = {"attempts": number, "last_attempt_time": self._moment()}
            self._say(cutover=self._said["cutover"].model_copy(update=update))

    def attempt_ended(self, result: str, blocked_milliseconds: int) -> None:
        with self._changed:
            self._counters.attempts[result] += 1
            update = {"last_result": result, "writes_blocked_milliseconds": blocked_milliseconds}
            self._say(cutover=self._said["cutover"].model_copy(update=update))

    # -- readers --------------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Everything as it is now."""
        with self._changed:
            self._flush_numbers()
            return Report(
                observed_generation=self._generation,
                stage=self._stage.value,
                phase=(self._phase or self._stage).value,
                conditions=self._conditions.all(),
                progress=copy_report(self._tables.values(), self._completion),
                revision=self._revision,
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

    def _flush_numbers(self) -> None:
        if self._numbers_dirty and self._now() - self._numbers_at >= NUMBERS_SECONDS:
            self._bump(news=False)

    def tables(self) -> list[TableReport]:
        with self._changed:
            return [entry.report() for entry in self._tables.values()]

    def read_numbers(self, read: Callable[[Sequence[TableCounters], Counters], None]) -> None:
        """Call ``read`` with all counters while nobody writes: what a scrape does."""
        with self._changed:
            read(list(self._tables.values()), self._counters)

    def wait_changed(self, since: int, timeout: float, *, only_news: bool = False) -> Report | None:
        """The report as soon as it is newer than ``since``; None if it is not within ``timeout`` seconds.

        ``only_news``: changed numbers are not waited for. An orchestrator with a thousand copiers would hear of all of
        them every second otherwise.
        """
        end = self._now() + timeout
        with self._changed:
            while True:
                self._flush_numbers()
                left = end - self._now()
                if (self._news_revision if only_news else self._revision) > since:
                    return self.report()
                if left <= 0:
                    return None
                self._changed.wait(min(left, NUMBERS_SECONDS))
