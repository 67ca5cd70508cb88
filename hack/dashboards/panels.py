"""The panels of the Grafana dashboards, one line each: Fleet shows all Ferries, Detail one. Used by ``make``."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

ONE = 'namespace="$namespace", ferry="$ferry"'
"""The selector of Detail's queries."""
PHASES = "max by (namespace, ferry, phase) (ferry_status_phase == 1)"


class Kind(Enum):
    """How a panel displays its series."""

    LINES = "timeseries"
    NUMBER = "stat"
    STATES = "state-timeline"
    TABLE = "table"


@dataclass(frozen=True)
class Panel:
    """``unit`` is Grafana's name of a unit; ``queries`` are expressions and the legends of their series.

    ``limits``: values from which the panel turns yellow and red.
    """

    title: str
    description: str
    queries: Sequence[tuple[str, str]]
    unit: str = "short"
    width: int = 8
    kind: Kind = Kind.LINES
    limits: tuple[float, float] | None = None


def one(metric: str, labels: str = "") -> str:
    """A metric of the Ferry shown by Detail."""
    return f"{metric}{{{ONE}{', ' if labels else ''}{labels}}}"


def total(metric: str) -> str:
    """The same over all its tables."""
    return f"sum({one(metric)})"


def quantile(part: float, buckets: str, by: str = "le") -> str:
    """A quantile of a histogram over the last minutes."""
    return f"histogram_quantile({part}, sum by ({by}) (rate({buckets}[2m])))"


FLEET_PANELS: dict[str, list[Panel]] = {
    "Now": [
        Panel("Ferries", "All that exist.", [("count(ferry_info)", "")], width=4, kind=Kind.NUMBER),
        Panel(
            "Copying",
            "In phase Copying.",
            [('count(ferry_status_phase{phase="Copying"} == 1) or vector(0)', "")],
            width=4,
            kind=Kind.NUMBER,
        ),
        Panel(
            "Ready for cutover",
            "Copied, verified and close behind; they wait for approval.",
            [('count(ferry_status_phase{phase="ReadyForCutover"} == 1) or vector(0)', "")],
            width=4,
            kind=Kind.NUMBER,
        ),
        Panel(
            "Completed",
            "Cut over.",
            [('count(ferry_status_phase{phase="Completed"} == 1) or vector(0)', "")],
            width=4,
            kind=Kind.NUMBER,
        ),
        Panel(
            "Failed",
            "They do not continue by themselves.",
            [('count(ferry_status_phase{phase="Failed"} == 1) or vector(0)', "")],
            width=4,
            kind=Kind.NUMBER,
            limits=(1, 1),
        ),
        Panel(
            "Wait for a person",
            "The condition Stalled is True.",
            [('count(ferry_status_condition{type="Stalled", status="True"} == 1) or vector(0)', "")],
            width=4,
            kind=Kind.NUMBER,
            limits=(1, 1),
        ),
    ],
    "Ferries": [
        Panel(
            "Phases",
            "The phase of each Ferry over time.",
            [(PHASES, "{{namespace}}/{{ferry}} {{phase}}")],
            width=24,
            kind=Kind.STATES,
        ),
        Panel(
            "All Ferries",
            "Source and target, and how far the copy is. A click on a name opens its details.",
            [
                ("max by (namespace, ferry, source, target) (ferry_info)", "exists"),
                ("max by (namespace, ferry) (ferry_copy_progress_ratio)", "copied"),
                ("ferry:copy_remaining_seconds", "remaining"),
                ("max by (namespace, ferry) (ferry_stream_lag_seconds)", "lag"),
            ],
            width=24,
            kind=Kind.TABLE,
        ),
    ],
    "Together": [
        Panel(
            "Rows copied",
            "Rows a second of each Ferry.",
            [("ferry:copy_rows:rate5m", "{{namespace}}/{{ferry}}")],
            "rowsps",
        ),
        Panel(
            "Lag",
            "Time from a commit on the source to its arrival on the target.",
            [("max by (namespace, ferry) (ferry_stream_lag_seconds)", "{{namespace}}/{{ferry}}")],
            "s",
            limits=(60, 300),
        ),
        Panel(
            "Throttled",
            "1 while a signal holds a Ferry back.",
            [("max by (namespace, ferry, reason) (ferry_throttled)", "{{namespace}}/{{ferry}} {{reason}}")],
        ),
    ],
    "Operator": [
        Panel(
            "Rounds",
            "Rounds of observe, decide, act.",
            [("sum by (result) (rate(ferry_operator_reconcile_total[5m]))", "{{result}}")],
            "ops",
        ),
        Panel(
            "Slowest rounds",
            "99th percentile of the duration of a round.",
            [(quantile(0.99, "ferry_operator_reconcile_duration_seconds_bucket"), "p99")],
            "s",
        ),
        Panel(
            "Requests to Kubernetes",
            "By verb.",
            [("sum by (verb) (rate(ferry_operator_kube_requests_total[5m]))", "{{verb}}")],
            "reqps",
        ),
    ],
}

DETAIL_PANELS: dict[str, list[Panel]] = {
    "Where it is": [
        Panel(
            "Phase",
            "What it does now.",
            [(one("ferry_status_phase") + " == 1", "{{phase}}")],
            width=6,
            kind=Kind.NUMBER,
        ),
        Panel(
            "Copied",
            "Part of the rows that are copied.",
            [(one("ferry_copy_progress_ratio"), "")],
            "percentunit",
            width=4,
            kind=Kind.NUMBER,
        ),
        Panel(
            "Remaining",
            "Time for the rest of the copy at the present rate.",
            [(one("ferry:copy_remaining_seconds"), "")],
            "s",
            width=4,
            kind=Kind.NUMBER,
        ),
        Panel(
            "Lag",
            "Time from a commit on the source to its arrival on the target.",
            [(one("ferry_stream_lag_seconds"), "")],
            "s",
            width=5,
            kind=Kind.NUMBER,
            limits=(60, 300),
        ),
        Panel(
            "Rows that differ",
            "Found by the verification, and not repaired yet. Anything but 0 forbids the cutover.",
            [(f"{total('ferry_verify_mismatched_rows_total')} - {total('ferry_verify_repaired_rows_total')}", "")],
            width=5,
            kind=Kind.NUMBER,
            limits=(1, 1),
        ),
        Panel(
            "Conditions",
            "Those that are True.",
            [(one("ferry_status_condition", 'status="True"') + " == 1", "{{type}}")],
            width=24,
            kind=Kind.STATES,
        ),
    ],
    "Copy": [
        Panel(
            "Rows",
            "Rows copied a second, by table.",
            [(f"rate({one('ferry_copy_rows_total')}[1m])", "{{table}}")],
            "rowsps",
        ),
        Panel(
            "Bytes",
            "Rendered rows, bytes a second.",
            [(f"sum(rate({one('ferry_copy_bytes_total')}[1m]))", "bytes")],
            "Bps",
        ),
        Panel("Workers", "Copy workers, by state.", [(one("ferry_copy_workers"), "{{state}}")]),
        Panel(
            "Chunk duration",
            "95th percentile of reading a chunk from the source and writing it to the target.",
            [(quantile(0.95, one("ferry_copy_chunk_duration_seconds_bucket"), "le, op"), "{{op}}")],
            "s",
        ),
        Panel(
            "Chunk size",
            "Median of the rows of a chunk.",
            [(quantile(0.5, one("ferry_copy_chunk_rows_bucket")), "rows")],
        ),
        Panel(
            "Chunks",
            "Chunks a second, by result.",
            [(f"rate({one('ferry_copy_chunks_total')}[1m])", "{{result}}")],
            "ops",
        ),
    ],
    "Stream": [
        Panel("Lag", "Over time.", [(one("ferry_stream_lag_seconds"), "lag")], "s", limits=(60, 300)),
        Panel(
            "Pending keys",
            "Changed keys that are not on the target yet.",
            [(one("ferry_changed_keys_pending"), "keys")],
        ),
        Panel(
            "Changes applied",
            "Changed keys a second, by operation.",
            [(f"rate({one('ferry_changed_keys_flushed_total')}[1m])", "{{op}}")],
            "ops",
        ),
        Panel("Binlog read", "Bytes a second.", [(f"rate({one('ferry_binlog_bytes_total')}[1m])", "bytes")], "Bps"),
        Panel(
            "Binlog events",
            "Events a second, by type.",
            [(f"topk(8, rate({one('ferry_binlog_events_total')}[1m]))", "{{type}}")],
            "ops",
        ),
        Panel(
            "Until binlogs are purged",
            "How long until the source purges the oldest binlog that is still needed.",
            [(f"{one('ferry_source_binlog_retained_seconds')} - {one('ferry_stream_lag_seconds')}", "left")],
            "s",
        ),
    ],
    "Throttle": [
        Panel("Throttled", "1 while a signal holds rows back.", [(one("ferry_throttled"), "{{reason}}")], width=12),
        Panel(
            "Share of time",
            "Part of the time for which a signal held rows back.",
            [(f"rate({one('ferry_throttle_seconds_total')}[5m])", "{{reason}}")],
            "percentunit",
            width=12,
        ),
        Panel(
            "Replica lag",
            "How far each replica is behind. Only with throttle.maxReplicaLag; a gap is unknown, which throttles.",
            [(one("ferry_replica_lag_seconds"), "{{replica}}")],
            "s",
            width=6,
        ),
        Panel(
            "Running threads",
            "Threads_running of the servers that throttle.maxThreadsRunning limits.",
            [(one("ferry_threads_running"), "{{server}}")],
            width=6,
        ),
        Panel(
            "Commit latency",
            "Median of the last small commits on the target. Only with throttle.maxCommitLatency.",
            [(one("ferry_commit_latency_seconds"), "median")],
            "s",
            width=6,
        ),
        Panel(
            "Speed",
            "Share of its workers and chunk size that the copy uses; less than 1 while commits are slow.",
            [(one("ferry_copy_speed_ratio"), "share")],
            "percentunit",
            width=6,
        ),
    ],
    "Verification and cutover": [
        Panel("Rows compared", "A second.", [(f"rate({one('ferry_verify_rows_total')}[1m])", "rows")], "rowsps"),
        Panel(
            "Attempts to cut over",
            "By result.",
            [(one("ferry_cutover_attempts_total"), "{{result}}")],
            kind=Kind.NUMBER,
        ),
        Panel(
            "Writes blocked",
            "How long the last attempt blocked writes on the source.",
            [(one("ferry_cutover_write_block_seconds"), "")],
            "s",
            kind=Kind.NUMBER,
            limits=(5, 10),
        ),
    ],
    "Servers and Pod": [
        Panel(
            "Waits for servers",
            "95th percentile of a commit on the target, and of the wait until changes can be read on the source.",
            [
                (
                    quantile(0.95, one("ferry_mysql_query_duration_seconds_bucket"), "le, server, kind"),
                    "{{server}} {{kind}}",
                )
            ],
            "s",
        ),
        Panel(
            "Errors",
            "Errors of the servers after which a step was repeated, a second.",
            [(f"rate({one('ferry_mysql_errors_total')}[5m])", "{{server}} {{class}}")],
            "ops",
        ),
        Panel(
            "Age of the checkpoint",
            "What a crash would repeat.",
            [(f"time() - {one('ferry_checkpoint_last_success_timestamp_seconds')}", "age")],
            "s",
            limits=(60, 300),
        ),
        Panel(
            "Restarts",
            "Of the copier's container.",
            [(one("ferry_copier_restarts_total"), "restarts")],
            kind=Kind.NUMBER,
        ),
    ],
}
