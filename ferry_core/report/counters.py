"""Numbers of a whole run that only metrics show, as plain data without locks. Written by ``progress``."""

from collections import Counter
from dataclasses import dataclass, field

from ferry_core.throttle import Observed


@dataclass
class Counters:
    """All except the gauges only grow."""

    chunks: Counter[str] = field(default_factory=lambda: Counter({"copied": 0, "split": 0, "retried": 0}))
    workers: dict[str, int] = field(default_factory=lambda: {"busy": 0, "idle": 0})
    binlog_events: dict[str, int] = field(default_factory=dict)
    binlog_bytes: int = 0
    reconnects: dict[str, int] = field(default_factory=dict)
    writes: int = 0
    """Chunks and batches of changed keys written to the target."""
    write_seconds: float = 0.0
    """Time of all of them, with their commits."""
    keys_flushed: Counter[str] = field(default_factory=lambda: Counter({"written": 0, "deleted": 0}))
    checkpoints: Counter[str] = field(default_factory=lambda: Counter({"success": 0, "failure": 0}))
    checkpoint_at: float | None = None
    attempts: Counter[str] = field(default_factory=Counter)
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    throttle_seconds: dict[str, float] = field(default_factory=dict)
    throttled_by: tuple[str, ...] = ()
    observed: Observed = field(default_factory=Observed)
