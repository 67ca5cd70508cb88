"""The signal replica-lag: how many seconds a replica is behind, as it says itself.

It knows only what it has received: a slow network before it is not seen. What it does not know (stopped threads, a
broken channel, a server that is no replica) is unknown, and throttles: an unobservable replica must not void the limit.
"""

from ferry_core.api.spec import Throttle as Settings
from ferry_core.mysql.replication import followed
from ferry_core.mysql.session import Session
from ferry_core.throttle.probe import UnknownValueError
from ferry_core.throttle.signal import Kind, Verdict

REPLICA_LAG = "replica-lag"


def ask(session: Session, _wanted: str) -> float:
    """The largest lag of its channels."""
    channels = followed(session)
    if not channels:
        raise UnknownValueError("it does not replicate from any server")
    for name, seconds, _ in channels:
        if seconds is None:
            raise UnknownValueError(f"replication {name} is not running")
    return max(seconds for _, seconds, _ in channels if seconds is not None)


def written(seconds: float) -> str:
    return f"{seconds:g}s"


KIND = Kind(REPLICA_LAG, lambda settings: settings.max_replica_lag, written)


class NoReplica:
    """A ``Signal`` for a spec that limits the lag of replicas and names none: what is never observed throttles."""

    name = REPLICA_LAG

    def __init__(self) -> None:
        self._limit: float | None = None

    def apply(self, settings: Settings) -> None:
        self._limit = settings.max_replica_lag

    def verdict(self, now: float) -> Verdict:  # noqa: ARG002 - nothing changes
        if self._limit is None:
            return Verdict(False, "")
        why = "spec.source.replicas and spec.target.replicas are empty: name a replica, or remove maxReplicaLag"
        return Verdict(True, f"{REPLICA_LAG} unknown > {written(self._limit)} ({why})")

    def close(self) -> None:
        """Nothing is open."""
