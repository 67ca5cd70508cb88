"""Makes the signals that ask servers, for one run. Called by ``ferry``.

Their sessions give up early, because an answer that comes late is as good as none.
"""

from collections.abc import Iterator
from functools import partial

from ferry_core.api.spec import ferry_uid
from ferry_core.consistency.commit_probe import change_probe
from ferry_core.errors import ServerRole
from ferry_core.manifest.load import LoadedFerry
from ferry_core.mysql.session import Session
from ferry_core.throttle import commit_latency, query, replica_lag, threads_running
from ferry_core.throttle.probe import Probe
from ferry_core.throttle.signal import Limited, Signal
from ferry_core.workers.connections import Connections

PATIENCE_SECONDS = 5.0
COMMIT_PATIENCE_SECONDS = 30.0
"""A commit that is given up would leave nothing to measure while commits are slow."""


def signals(loaded: LoadedFerry, connections: Connections) -> Iterator[Signal]:
    """All signals but those that need no server. They ask nothing before their limits are set."""
    source = partial(connections.source_control, PATIENCE_SECONDS)
    target = partial(connections.target_control, PATIENCE_SECONDS)
    for role, connect in ((ServerRole.SOURCE, source), (ServerRole.TARGET, target)):
        yield Limited(threads_running.kind(role), Probe(f"threads-{role}", connect, threads_running.ask), role)
    yield Limited(query.KIND, Probe("query", source, query.ask))
    yield _commit_latency(loaded, connections)
    spec = loaded.ferry.spec
    replicas = [*spec.source.replicas, *spec.target.replicas]
    if not replicas:
        yield replica_lag.NoReplica()
    for number, replica in enumerate(replicas):
        probe = Probe(f"replica-{number}", partial(_replica, loaded, connections, number), replica_lag.ask)
        yield Limited(replica_lag.KIND, probe, f"{replica.host}:{replica.port}")


def _commit_latency(loaded: LoadedFerry, connections: Connections) -> Limited:
    latency = commit_latency.CommitLatency(partial(change_probe, uid=ferry_uid(loaded.ferry)))
    connect = partial(connections.target_control, COMMIT_PATIENCE_SECONDS)
    return Limited(commit_latency.KIND, Probe("commit", connect, latency.ask, commit_latency.INTERVAL_SECONDS))


def _replica(loaded: LoadedFerry, connections: Connections, number: int) -> Session:
    """The credentials are read again each time, so that a rotated password needs no restart."""
    return connections.replica(loaded.replicas()[number], PATIENCE_SECONDS)
