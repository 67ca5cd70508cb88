"""How far a source that is a replica is behind its primary, asked once a second while the run streams.

Its own binlog cannot tell that: one that has stopped applying looks like one with nothing to apply. So the lag of a run
includes this one, and while it is unknown no cutover attempt begins. Made by ``ferry``, read by ``report``.
"""

from functools import partial

from ferry_core.mysql.session import Session
from ferry_core.mysql.upstream import ServerIds, channels, server_ids, troubles
from ferry_core.throttle.probe import Probe, Reading, UnknownValueError
from ferry_core.workers.connections import Connections

PATIENCE_SECONDS = 5.0


class ReplicaWatch:
    """Asks nothing before the first ``reading``: by then the run has met its servers."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._primary: ServerIds | None = None
        self._probe = Probe("primary", partial(connections.source_control, PATIENCE_SECONDS), self._ask)

    def reading(self) -> Reading:
        """In seconds; if unknown, why."""
        self._probe.want("seconds behind")
        return self._probe.reading()

    def close(self) -> None:
        self._probe.close()

    def _ask(self, replica: Session, _wanted: str) -> float:
        if self._primary is None:
            with self._connections.written_control(PATIENCE_SECONDS) as primary:
                self._primary = server_ids(primary)
        for trouble in troubles(replica, self._primary):
            raise UnknownValueError(trouble.message)
        behind = [channel.seconds_behind for channel in channels(replica)]
        known = [seconds for seconds in behind if seconds is not None]
        if not known or len(known) < len(behind):
            raise UnknownValueError(f"{replica.endpoint.where} does not know yet how far it is behind its primary")
        return max(known)
