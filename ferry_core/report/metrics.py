"""The copier's Prometheus metrics, read from ``Progress`` at each scrape. Used by the ControlServer.

Names and labels are API (docs/metrics.md). An unknown value is a missing sample, never 0. Tables are labels only while
there are few of them: a scrape of ten thousand series would be the most expensive thing that a Ferry does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ferry_core.api.report import Report
from ferry_core.moves.move import TableMove
from ferry_core.report.counters import Counters
from ferry_core.report.progress import Progress
from ferry_core.report.tables import rows_expected
from ferry_core.throttle import COMMIT_LATENCY, REPLICA_LAG, SIGNALS, THREADS_RUNNING

MOST_TABLES = 200
OTHER = "_other"

Sample = tuple[Sequence[str], float | None]


def registry_of(progress: Progress) -> CollectorRegistry:
    """A new registry for one run."""
    registry = CollectorRegistry()
    for histogram in progress.timings.all:
        registry.register(histogram)
    registry.register(_ProgressCollector(progress))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The body of a scrape, in Prometheus' text format."""
    return bytes(generate_latest(registry))


def _counter(name: str, about: str, samples: Iterable[Sample], labels: Sequence[str] = ()) -> Metric:
    return _filled(CounterMetricFamily(name, about, labels=labels), samples)


def _gauge(name: str, about: str, samples: Iterable[Sample], labels: Sequence[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily(name, about, labels=labels), samples)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, samples: Iterable[Sample]) -> Metric:
    for labels, value in samples:
        if value is not None:
            family.add_metric(labels, value)
    return family


def _only(value: float | None) -> list[Sample]:
    return [((), value)]


def _by(values: Mapping[str, float]) -> list[Sample]:
    return [((name,), value) for name, value in values.items()]


class _ProgressCollector(Collector):
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def collect(self) -> list[Metric]:
        report = self._progress.report()
        families: list[Metric] = []

        def read(moves: Sequence[TableMove], counters: Counters) -> None:
            families.extend(_copy(report, moves, counters))
            families.extend(_stream(report, counters))
            families.extend(_throttle(counters))
            families.extend(_outcome(report, moves, counters))

        self._progress.read_numbers(read)
        return families


def _per_table(moves: Sequence[TableMove], number: Callable[[TableMove], int]) -> list[Sample]:
    if len(moves) > MOST_TABLES:
        return [((OTHER,), sum(map(number, moves)))]
    return [((move.id,), number(move)) for move in moves]


def _copy(report: Report, moves: Sequence[TableMove], counters: Counters) -> list[Metric]:
    rows = _per_table(moves, lambda move: move.chunks.copied.rows)
    sizes = _per_table(moves, lambda move: move.chunks.copied.bytes)
    expected = _per_table(moves, rows_expected)
    return [
        _counter("ferry_copy_rows", "Rows copied.", rows, ["table"]),
        _counter("ferry_copy_bytes", "Bytes of rendered rows copied.", sizes, ["table"]),
        _gauge("ferry_copy_rows_estimated", "Rows that the copy is expected to have.", expected, ["table"]),
        _gauge("ferry_copy_progress_ratio", "Part of the copy that is done.", _only(report.progress.percent / 100)),
        _counter("ferry_copy_chunks", "Chunks, by result.", _by(counters.chunks), ["result"]),
        _gauge("ferry_copy_workers", "Copy workers, by state.", _by(counters.workers), ["state"]),
    ]


def _stream(report: Report, counters: Counters) -> list[Metric]:
    replication = report.replication
    last_event = None if replication.last_event_time is None else replication.last_event_time.timestamp()
    checkpoint = _only(counters.checkpoint_at)
    return [
        _counter("ferry_binlog_events", "Binlog events read, by type.", _by(counters.binlog_events), ["type"]),
        _counter("ferry_binlog_bytes", "Bytes of binlog read.", _only(counters.binlog_bytes)),
        _counter("ferry_binlog_reconnects", "Reconnects of the stream.", _by(counters.reconnects), ["reason"]),
        _gauge("ferry_changed_keys_pending", "Changed keys not yet on the target.", _only(replication.pending_keys)),
        _counter(
            "ferry_changed_keys_flushed", "Changed keys applied, by operation.", _by(counters.keys_flushed), ["op"]
        ),
        _gauge(
            "ferry_stream_lag_seconds",
            "Source's clock minus commit time of the oldest change not yet on the target; missing: unknown.",
            _only(replication.lag_seconds),
        ),
        _gauge("ferry_stream_last_event_timestamp_seconds", "When the source last sent an event.", _only(last_event)),
        _gauge(
            "ferry_source_binlog_retained_seconds",
            "How long the source keeps its binlogs.",
            _only(replication.source_binlog_retained_seconds),
        ),
        _counter("ferry_checkpoint_writes", "Checkpoints written.", _by(counters.checkpoints), ["result"]),
        _gauge("ferry_checkpoint_last_success_timestamp_seconds", "When a checkpoint was last written.", checkpoint),
    ]


def _throttle(counters: Counters) -> list[Metric]:
    throttles = dict.fromkeys(SIGNALS, 0.0) | counters.throttle_seconds
    holding = [((name,), float(name in counters.throttled_by)) for name in throttles]
    values = counters.observed.values
    lags, threads = values.get(REPLICA_LAG, {}), values.get(THREADS_RUNNING, {})
    latency = next(iter(values.get(COMMIT_LATENCY, {}).values()), None)
    return [
        _gauge("ferry_throttled", "1 while this signal holds data movement back.", holding, ["reason"]),
        _counter("ferry_throttle_seconds", "Seconds held back, by signal.", _by(throttles), ["reason"]),
        _gauge(
            "ferry_replica_lag_seconds",
            "How far a replica is behind; missing: unknown, or no limit is set.",
            _by(lags),
            ["replica"],
        ),
        _gauge(
            "ferry_threads_running", "Threads_running of a server; missing unless limited.", _by(threads), ["server"]
        ),
        _gauge(
            "ferry_commit_latency_seconds",
            "Median time of the last small commits on the target; missing unless limited.",
            _only(latency),
        ),
        _gauge(
            "ferry_copy_speed_ratio",
            "Share of its workers and chunk size that the copy uses; less than 1 while commits are slow.",
            _only(counters.observed.speed),
        ),
    ]


def _outcome(report: Report, moves: Sequence[TableMove], counters: Counters) -> list[Metric]:
    proof, blocked = report.verification, report.cutover.writes_blocked_milliseconds
    mismatched = _per_table(moves, lambda move: move.progress.mismatched_rows)
    repaired = _per_table(moves, lambda move: move.progress.repaired_rows)
    errors = [(labels, count) for labels, count in counters.errors.items()]
    return [
        _counter("ferry_verify_rows", "Rows compared.", _only(proof.rows_verified)),
        _counter("ferry_verify_mismatched_rows", "Rows that differed.", mismatched, ["table"]),
        _counter("ferry_verify_repaired_rows", "Rows copied again because they differed.", repaired, ["table"]),
        _counter("ferry_verify_passes", "Complete comparisons of tables.", _only(proof.passes)),
        _counter("ferry_cutover_attempts", "Cutover attempts, by result.", _by(counters.attempts), ["result"]),
        _gauge(
            "ferry_cutover_write_block_seconds",
            "How long the last attempt blocked writes on the source.",
            _only(None if blocked is None else blocked / 1000),
        ),
        _counter("ferry_mysql_errors", "Errors after which a step was repeated.", errors, ["server", "class"]),
    ]
