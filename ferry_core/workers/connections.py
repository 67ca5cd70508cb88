"""Opens sessions for one run. Reads credentials again each time, so that a rotated password needs no restart.

Thread-safe: any thread may ask for a session, which then belongs to that thread.
"""

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ferry_core.api.cutover import TokenRef
from ferry_core.binlog.ending import BinlogEnd, end_of_binlog
from ferry_core.errors import ServerRole
from ferry_core.mysql.computing import computing_settings
from ferry_core.mysql.endpoint import Endpoint
from ferry_core.mysql.identity import KnownServer
from ferry_core.mysql.session import Purpose, Session
from ferry_core.workers.patience import RETRY_SECONDS

if TYPE_CHECKING:
    from ferry_core.checkpoint.state import PrimaryState

PATIENT_SECONDS = 25.0
HURRIED_SECONDS = 5.0
DAYS_SECONDS = 30 * 86400.0


class _End:
    """One server: its endpoint from the current Secrets, whether it has ever accepted our login, and which server it
    is.
    """

    def __init__(self, role: ServerRole, ask: Callable[[], Endpoint], patience_seconds: float) -> None:
        self._ask = ask
        self.accepted = False
        self.proof: Callable[[Endpoint], bool] | None = None
        self.known = KnownServer(role, patience_seconds)

    def __call__(self, *, any_start: bool = False) -> Endpoint:
        return replace(self._ask(), accepted=self.accepted, known=self.known, any_start=any_start, proof=self.proof)


class Connections:
    """``source`` and ``target`` return the endpoint from the current Secrets.

    A session to another server than the first one at that end is not opened (OtherServer). After ``meet``, neither is a
    session to a server that was restarted since (ServerRestarted; ``ferry_core.mysql.identity``).
    """

    def __init__(
        self,
        source: Callable[[], Endpoint],
        target: Callable[[], Endpoint],
        patience_seconds: float = RETRY_SECONDS,
        replicas: Callable[[], Sequence[Endpoint]] = tuple,
        token: Callable[[TokenRef], str] = lambda _: "",
        primary: Callable[[], Endpoint] | None = None,
    ) -> None:
        """``patience_seconds``: how long an address may lead to another server before the run fails.

        ``primary``: that of a source that is a replica; its writes are stopped at the cutover.
        """
        self.replicas = replicas
        """Those to watch, in the order of the spec, the source's first."""
        self.token = token
        """A bearer token for an address of the spec, from the current Secrets."""
        self._source = _End(ServerRole.SOURCE, source, patience_seconds)
        self._target = _End(ServerRole.TARGET, target, patience_seconds)
        self._primary = None if primary is None else _End(ServerRole.PRIMARY, primary, patience_seconds)
        self.primary_seen: PrimaryState | None = None
        """When it was last asked (``run.primary_history``)."""
        self._computing: Mapping[str, str] = {}
        self._open: weakref.WeakSet[Session] = weakref.WeakSet()
        self._lock = threading.Lock()

    @property
    def let_in(self) -> bool:
        """Whether both servers have ever accepted a login of this run."""
        return self._source.accepted and self._target.accepted

    def meet(self, source: Session, target: Session) -> None:
        """From now on the run works with these servers, started at these times."""
        self._source.known.learn(source.identity)
        self._target.known.learn(target.identity)

    def recognise(self, source: Callable[[Endpoint], bool], target: Callable[[Endpoint], bool]) -> None:
        """Proofs by which a server is recognised under another name (``run.renamed``)."""
        self._source.proof, self._target.proof = source, target

    def source_was(self, stored: str) -> bool:
        """Whether lease and checkpoint mean the source by this name: it is that server, or has proven to be it."""
        return self._source.known.was(stored)

    def forget_starts(self) -> None:
        """Ignore restarts until the servers are met again."""
        self._source.known.forget_start()
        self._target.known.forget_start()

    def refuse_restarted(self) -> None:
        """Raise ServerRestarted if any thread has noticed a restart of a server since it was met."""
        self._source.known.refuse_restarted()
        self._target.known.refuse_restarted()

    def _opening(self, session: Session) -> None:
        with self._lock:
            self._open.add(session)

    def abort_all(self) -> None:
        """Break every connection, also connects in progress: threads waiting for a server that hangs get
        ConnectionLost.
        """
        with self._lock:
            sessions = list(self._open)
        for session in sessions:
            session.abort()

    def _session(self, end: _End, purpose: Purpose, patience: float = 300, *, any_start: bool = False) -> Session:
        session = Session(
            end(any_start=any_start),
            purpose,
            connect_timeout=min(10.0, patience),
            read_timeout=patience,
            extra=self._computing if end is self._target else None,
            opening=self._opening,
        )
        end.accepted = True
        return session

    def compute_like_source(self) -> None:
        """From now on target sessions compute generated columns with the source's global settings."""
        with self.source_control() as source, self.target_control() as target:
            self._computing = computing_settings(source, target)

    def source(self, *, text: bool = False) -> Session:
        """A session that renders rows; ``text`` is for tables with a row filter."""
        return self._session(self._source, Purpose.SOURCE_TEXT if text else Purpose.SOURCE)

    def source_control(self, patience: float = 300) -> Session:
        """``patience``: timeout of an answer in seconds."""
        return self._session(self._source, Purpose.CONTROL, patience)

    def source_end(self) -> BinlogEnd:
        """The current end of the source's binlog."""
        with self.source_control() as session:
            return end_of_binlog(session)

    def source_endpoint(self) -> Endpoint:
        """For code that opens its own connections. Ask again before each one."""
        return self._source()

    @property
    def has_primary(self) -> bool:
        """Whether applications write to another server than the source."""
        return self._primary is not None

    def written_endpoint(self) -> Endpoint:
        """The server that applications write to. Writes there must be allowed again after its restart as well."""
        return (self._primary or self._source)(any_start=True)

    def written_control(self, patience: float = 300) -> Session:
        """A session there. ``patience``: timeout of an answer in seconds."""
        return self._session(self._primary or self._source, Purpose.CONTROL, patience, any_start=self.has_primary)

    def target(self) -> Session:
        """A session that may write rows. Enrol it with the fence first."""
        return self._session(self._target, Purpose.TARGET)

    def target_building(self) -> Session:
        """The same for a statement that may take days. Whoever runs it must notice that its connection is lost."""
        return self._session(self._target, Purpose.TARGET, DAYS_SECONDS)

    def lease(self) -> Session:
        """A session for the lease row, which is read and changed after a restart as well; the restart is only
        recorded.
        """
        return self._session(self._target, Purpose.TARGET, any_start=True)

    def patient_lease(self) -> Session:
        """For statements of the cutover: a timeout longer than their lock waits, shorter than people wait for news."""
        return self._session(self._target, Purpose.TARGET, PATIENT_SECONDS, any_start=True)

    def hurried_lease(self) -> Session:
        """For code that asks repeatedly until there is an answer."""
        return self._session(self._target, Purpose.TARGET, HURRIED_SECONDS, any_start=True)

    def replica(self, number: int, patience: float) -> Session:
        """A session that asks one of ``replicas`` for its lag. Any server may answer at its address."""
        endpoint = self.replicas()[number]
        return Session(
            endpoint, Purpose.CONTROL, connect_timeout=patience, read_timeout=patience, opening=self._opening
        )

    def target_control(self, patience: float = 300) -> Session:
        return self._session(self._target, Purpose.CONTROL, patience)
