"""The signals' names, which reasons and metrics use, and the reason that the condition Throttled has for each."""

from collections.abc import Mapping

from ferry_core.reasons import Reason
from ferry_core.throttle.active_hours import ACTIVE_HOURS
from ferry_core.throttle.commit_latency import COMMIT_LATENCY
from ferry_core.throttle.query import QUERY
from ferry_core.throttle.replica_lag import REPLICA_LAG
from ferry_core.throttle.threads_running import THREADS_RUNNING

__all__ = ["COMMIT_LATENCY", "REPLICA_LAG", "ROWS_PER_SECOND", "SIGNALS", "THREADS_RUNNING"]

ROWS_PER_SECOND = "rows-per-second"
SIGNALS: Mapping[str, Reason] = {
    ROWS_PER_SECOND: Reason.RATE_LIMIT,
    REPLICA_LAG: Reason.REPLICA_LAG,
    THREADS_RUNNING: Reason.THREADS_RUNNING,
    COMMIT_LATENCY: Reason.COMMIT_LATENCY,
    QUERY: Reason.QUERY,
    ACTIVE_HOURS: Reason.OUTSIDE_ACTIVE_HOURS,
}
"""What may throttle."""
