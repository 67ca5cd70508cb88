"""What a scrape sees: names, labels, and no sample for unknown values."""

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ferry_core.report.metrics import MOST_TABLES, exposition, registry_of
from ferry_core.report.progress import Progress
from ferry_core.rows.copier import CopyResult
from ferry_core.throttle import Observed, ThrottleState
from tests.support.tables import finish_chunk, moves_of, simple_table

PROMISED = {
    "ferry_copy_rows_total",
    "ferry_copy_bytes_total",
    "ferry_copy_rows_estimated",
    "ferry_copy_progress_ratio",
    "ferry_copy_chunks_total",
    "ferry_copy_chunk_duration_seconds",
    "ferry_copy_chunk_rows",
    "ferry_copy_workers",
    "ferry_binlog_events_total",
    "ferry_binlog_bytes_total",
    "ferry_binlog_reconnects_total",
    "ferry_changed_keys_pending",
    "ferry_changed_keys_flushed_total",
    "ferry_flush_duration_seconds",
    "ferry_stream_lag_seconds",
    "ferry_stream_last_event_timestamp_seconds",
    "ferry_source_binlog_retained_seconds",
    "ferry_throttled",
    "ferry_throttle_seconds_total",
    "ferry_replica_lag_seconds",
    "ferry_threads_running",
    "ferry_commit_latency_seconds",
    "ferry_copy_speed_ratio",
    "ferry_checkpoint_writes_total",
    "ferry_checkpoint_last_success_timestamp_seconds",
    "ferry_verify_rows_total",
    "ferry_verify_mismatched_rows_total",
    "ferry_verify_repaired_rows_total",
    "ferry_verify_passes_total",
    "ferry_cutover_attempts_total",
    "ferry_cutover_write_block_seconds",
    "ferry_cutover_write_block_duration_seconds",
    "ferry_mysql_query_duration_seconds",
    "ferry_mysql_errors_total",
}


def scrape(progress: Progress) -> list[Sample]:
    text = exposition(registry_of(progress)).decode()
    assert "_created" not in text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(samples: list[Sample], name: str, **labels: str) -> float | None:
    found = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    assert len(found) <= 1
    return found[0] if found else None


def test_every_documented_metric_exists_from_the_start() -> None:
    text = exposition(registry_of(Progress())).decode()
    described = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert described >= PROMISED
    helps = [line for line in text.splitlines() if line.startswith("# HELP")]
    assert all(line.endswith(".") for line in helps), helps


def test_an_unknown_value_is_missing_and_not_zero() -> None:
    samples = scrape(Progress())
    for name in (
        "ferry_stream_lag_seconds",
        "ferry_cutover_write_block_seconds",
        "ferry_source_binlog_retained_seconds",
    ):
        assert value(samples, name) is None
    assert value(samples, "ferry_throttled", reason="rows-per-second") == 0
    assert value(samples, "ferry_copy_chunks_total", result="copied") == 0
    assert value(samples, "ferry_checkpoint_writes_total", result="failure") == 0


def test_metrics_equal_the_report() -> None:
    progress = Progress()
    orders, users = moves = moves_of(simple_table(name, rows=100) for name in ("orders", 'us"ers\n\\'))
    progress.begin(moves)
    chunk = CopyResult(60, 600, 60, 0, 0, 0.03, 0.2)
    finish_chunk(orders, chunk)
    progress.chunk(orders, chunk)
    progress.keys_copied(CopyResult(5, 50, 7, 2, 0, 0.1, 0.1, commit_seconds=0.04))
    progress.flushed(0.7, 0.1)
    progress.stream(
        position="b.1",
        gtid_set=None,
        lag_seconds=1.5,
        last_event_at=1_700_000_000.0,
        events={"write_rows": 3},
        total_bytes=999,
        reconnects={"lost": 1},
    )
    progress.set_pending({orders: 12})
    progress.throttled(
        ThrottleState(active=True, reason="r", signals=("rows-per-second",)),
        {"rows-per-second": 4.5},
        Observed(
            {"replica-lag": {"r1:3306": 7.0}, "threads-running": {"source": 3.0}, "commit-latency": {"": 0.2}}, 0.5
        ),
    )
    progress.checkpointed(ok=True)
    progress.retried("source", "ConnectionLost")
    progress.differ({users.id: 2})
    progress.repaired({users.id: 1})
    progress.verified(60)
    progress.attempt_ended("Done", 250)
    samples = scrape(progress)
    assert value(samples, "ferry_copy_rows_total", table="shop.orders") == 60
    assert value(samples, "ferry_copy_rows_estimated", table="shop.orders") == 100
    assert value(samples, "ferry_verify_mismatched_rows_total", table='shop.us"ers\n\\') == 2
    assert value(samples, "ferry_verify_repaired_rows_total", table='shop.us"ers\n\\') == 1
    assert value(samples, "ferry_verify_repaired_rows_total", table="shop.orders") == 0
    assert value(samples, "ferry_copy_progress_ratio") == 0.3
    assert value(samples, "ferry_copy_chunk_duration_seconds_count", op="read") == 1
    assert value(samples, "ferry_copy_chunk_duration_seconds_sum", op="write") == 0.2
    assert value(samples, "ferry_flush_duration_seconds_sum") == 0.7
    query = "ferry_mysql_query_duration_seconds"
    assert value(samples, f"{query}_sum", server="source", kind="visibility") == 0.1
    assert value(samples, f"{query}_sum", server="target", kind="commit") == 0.04
    assert value(samples, f"{query}_count", server="target", kind="commit") == 1  # not for what has no time of its own
    assert value(samples, "ferry_cutover_write_block_duration_seconds_sum") == 0.25
    assert value(samples, "ferry_changed_keys_flushed_total", op="written") == 5
    assert value(samples, "ferry_changed_keys_flushed_total", op="deleted") == 2
    assert value(samples, "ferry_changed_keys_pending") == 12
    assert value(samples, "ferry_binlog_events_total", type="write_rows") == 3
    assert value(samples, "ferry_binlog_reconnects_total", reason="lost") == 1
    assert value(samples, "ferry_stream_lag_seconds") == 1.5
    assert value(samples, "ferry_stream_last_event_timestamp_seconds") == 1_700_000_000
    assert value(samples, "ferry_throttled", reason="rows-per-second") == 1
    assert value(samples, "ferry_throttle_seconds_total", reason="rows-per-second") == 4.5
    assert value(samples, "ferry_replica_lag_seconds", replica="r1:3306") == 7
    assert value(samples, "ferry_threads_running", server="source") == 3
    assert value(samples, "ferry_commit_latency_seconds") == 0.2
    assert value(samples, "ferry_copy_speed_ratio") == 0.5
    assert value(samples, "ferry_mysql_errors_total", server="source", **{"class": "ConnectionLost"}) == 1
    assert value(samples, "ferry_cutover_attempts_total", result="Done") == 1
    assert value(samples, "ferry_cutover_write_block_seconds") == 0.25
    assert value(samples, "ferry_verify_rows_total") == 60


def test_many_tables_share_one_label() -> None:
    progress = Progress()
    moves = moves_of(simple_table(f"t{number}") for number in range(MOST_TABLES + 1))
    progress.begin(moves)
    for move in moves:
        finish_chunk(move, CopyResult(1, 10, 1, 0, 0, 0.1, 0.1))
    progress.differ({move.id: 2 for move in moves})
    progress.repaired({move.id: 1 for move in moves})
    samples = scrape(progress)
    assert value(samples, "ferry_copy_rows_total", table="_other") == MOST_TABLES + 1
    assert value(samples, "ferry_verify_mismatched_rows_total", table="_other") == 2 * (MOST_TABLES + 1)
    assert value(samples, "ferry_verify_repaired_rows_total", table="_other") == MOST_TABLES + 1
    assert {sample.labels["table"] for sample in samples if "table" in sample.labels} == {"_other"}


def test_two_runs_share_nothing() -> None:
    first, second = Progress(), Progress()
    first.flushed(1.0, 0.1)
    assert value(scrape(first), "ferry_flush_duration_seconds_count") == 1
    assert value(scrape(second), "ferry_flush_duration_seconds_count") == 0
