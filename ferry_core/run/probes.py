"""Makes the signals that ask servers, for one run. Called by ``ferry``.

Their sessions give up early, because an answer that comes late is as good as none.
"""

from collections.abc import Iterator
from functools import partial

from ferry_core.api.spec import Ferry, ferry_uid
from ferry_core.consistency.commit_probe import change_probe
from ferry_core.errors import ServerRole
from ferry_core.throttle import commit_latency, query, replica_lag, threads_running
from ferry_core.throttle.probe import Probe
from ferry_core.throttle.signal import Limited, Signal
from ferry_core.workers.connections import Connections

PATIENCE_SECONDS = 5.0
COMMIT_PATIENCE_SECONDS = 30.0
"""A commit that is given up would leave nothing to measure while commits are slow."""


def signals(ferry: Ferry, connections: Connections) -> Iterator[Signal]:
    """All signals but those that need no server. They ask nothing before their limits are set."""
    source = partial(connections.source_control, PATIENCE_SECONDS)
    target = partial(connections.target_control, PATIENCE_SECONDS)
    for role, connect in ((ServerRole.SOURCE, source), (ServerRole.TARGET, target)):
        yield Limited(threads_running.kind(role), Probe(f"threads-{role}", connect, threads_running.ask), role)
    yield Limited(query.KIND, Probe("query", source, query.ask))
    yield _commit_latency(ferry, connections)
    replicas = [*ferry.spec.source.replicas, *ferry.spec.target.replicas]
    if not replicas:
        yield replica_lag.NoReplica()
    for number, replica in enumerate(replicas):
        connect = partial(connections.replica, number, PATIENCE_SECONDS)
        probe = Probe(f"replica-{number}", connect, replica_lag.ask)
        yield Limited(replica_lag.KIND, probe, replica.address)


def _commit_latency(ferry: Ferry, connections: Connections) -> Limited:
    latency = commit_latency.CommitLatency(partial(change_probe, uid=ferry_uid(ferry)))
    connect = partial(connections.target_control, COMMIT_PATIENCE_SECONDS)
    return Limited(commit_latency.KIND, Probe("commit", connect, latency.ask, commit_latency.INTERVAL_SECONDS))
