"""The numbers behind report and metrics, as plain data without locks. Written by ``progress``, read by ``metrics``."""

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime

from ferry_core.api.report import Progress, TableReport, TableState


@dataclass
class TableCounters:
    """One selected table."""

    name: str
    target: str
    rows_estimated: int
    state: TableState = TableState.PENDING
    rows_copied: int = 0
    bytes_copied: int = 0
    pending_keys: int = 0
    mismatched_rows: int = 0

    @property
    def rows_expected(self) -> int:
        """The estimate, corrected by what is known better: a statistic may be off by a lot."""
        return self.rows_copied if self.state is TableState.COPIED else max(self.rows_estimated, self.rows_copied)

    @property
    def percent(self) -> float:
        if self.state is TableState.COPIED:
            return 100.0
        if not self.rows_expected:
            return 0.0
        # 100 is for what is done: a table that outgrew its estimate is not.
        return min(99.0, round(100 * self.rows_copied / self.rows_expected, 1))

    def report(self) -> TableReport:
        return TableReport(
            name=self.name,
            target=self.target,
            state=self.state.value,
            rows_estimated=self.rows_expected,
            rows_copied=self.rows_copied,
            bytes_copied=self.bytes_copied,
            percent=self.percent,
            pending_keys=self.pending_keys,
        )


def copy_report(tables: Collection[TableCounters], completion: Callable[[int], datetime | None]) -> Progress:
    """All tables together; ``completion`` tells when so many more rows will be in."""
    copied = sum(entry.rows_copied for entry in tables)
    expected = sum(entry.rows_expected for entry in tables)
    done = sum(entry.state is TableState.COPIED for entry in tables)
    all_done = bool(tables) and done == len(tables)
    percent = 100.0 if all_done else min(99.0, round(100 * copied / expected, 1)) if expected else 0.0
    return Progress(
        tables_total=len(tables),
        tables_copied=done,
        rows_copied=copied,
        rows_estimated=expected,
        bytes_copied=sum(entry.bytes_copied for entry in tables),
        percent=percent,
        estimated_completion_time=None if all_done else completion(expected - copied),
    )


@dataclass
class Counters:
    """What only metrics show; everything but the gauges only grows."""

    chunks: Counter[str] = field(default_factory=lambda: Counter({"copied": 0, "split": 0, "retried": 0}))
    workers: dict[str, int] = field(default_factory=lambda: {"busy": 0, "idle": 0})
    binlog_events: dict[str, int] = field(default_factory=dict)
    binlog_bytes: int = 0
    reconnects: dict[str, int] = field(default_factory=dict)
    keys_flushed: Counter[str] = field(default_factory=lambda: Counter({"written": 0, "deleted": 0}))
    checkpoints: Counter[str] = field(default_factory=lambda: Counter({"success": 0, "failure": 0}))
    checkpoint_at: float | None = None
    attempts: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    throttle_seconds: dict[str, float] = field(default_factory=dict)
    throttled_by: str | None = None
