"""How far a source that is a replica is behind its primary, asked once a second while the run streams.

Its own binlog cannot tell that: one that has stopped applying looks like one with nothing to apply. So the lag of a run
includes this one. While it is unknown no cutover attempt begins, and so it is while the two servers may come to
differ. Made by ``ferry``, read by ``report``.
"""

from functools import partial
from typing import TYPE_CHECKING

from ferry_core.errors import FerryError
from ferry_core.mysql.session import Session
from ferry_core.mysql.upstream import channels, errant, server_ids, troubles, troubles_of_primary
from ferry_core.run.primary_history import lost_history, seen
from ferry_core.throttle.probe import Probe, Reading, UnknownValueError
from ferry_core.workers.connections import Connections

if TYPE_CHECKING:
    from ferry_core.checkpoint.state import PrimaryState

PATIENCE_SECONDS = 5.0


class ReplicaWatch:
    """Asks nothing before the first ``reading``: by then the run has met its servers."""

    def __init__(self, connections: Connections, *, may_be_errant: bool) -> None:
        """``may_be_errant``: the user has acknowledged what the replica holds more."""
        self._connections = connections
        self._may_be_errant = may_be_errant
        self._primary: Session | None = None
        self._seen: PrimaryState | None = None
        self._probe = Probe("primary", partial(connections.source_control, PATIENCE_SECONDS), self._ask)

    def reading(self) -> Reading:
        """In seconds; if unknown, why."""
        self._probe.want("seconds behind")
        return self._probe.reading()

    def close(self) -> None:
        self._probe.close()

    def _ask(self, replica: Session, _wanted: str) -> float:
        try:
            self._primary = self._primary or self._connections.written_control(PATIENCE_SECONDS)
            self._refuse_apart(replica, self._primary)
            self._remember(self._primary)
        except (FerryError, UnknownValueError):  # the address may lead to another server by now
            if self._primary is not None:
                self._primary.close()
                self._primary = None
            raise
        behind = [channel.seconds_behind for channel in channels(replica)]
        known = [seconds for seconds in behind if seconds is not None]
        if not known or len(known) < len(behind):
            raise UnknownValueError(f"{replica.endpoint.where} does not know yet how far it is behind its primary")
        return max(known)

    def _remember(self, primary: Session) -> None:
        """What was seen a second ago: by now it is on the primary's disk."""
        if said := lost_history(self._connections.primary_seen, primary):
            raise UnknownValueError(said)
        before, self._seen = self._seen, seen(primary)
        if before is not None and before.start == self._seen.start:
            self._connections.primary_seen = before

    def _refuse_apart(self, replica: Session, primary: Session) -> None:
        for trouble in (*troubles(replica, server_ids(primary)), *troubles_of_primary(primary)):
            raise UnknownValueError(trouble.message)
        if not self._may_be_errant and (more := errant(replica, primary)):
            raise UnknownValueError(
                f"{replica.endpoint.where} has executed transactions that {primary.endpoint.where} has not: {more}"
            )
