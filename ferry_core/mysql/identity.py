"""Which server a connection is connected to, and when that server was started. Read by every session as it opens, and
by the stream.

An address may lead to another server for a moment (a failover, a Service, a balancer), and a restarted server may have
lost data. So a run keeps one ``KnownServer`` for each end, and so does every command without a run (abort, cleanup,
check). Every new connection asks it, before anything is read or written there, whether this is still the server that
answered first. MariaDB stores no name with its data: a server that answers with another host name or port is asked for
a proof (``run.renamed``).

The start time is exact: a server's uptime is the time of the statement minus that of the start, so the statement's time
minus the uptime is the start, whatever the clock or ``SET timestamp`` says. It is in whole seconds: two starts within
one second look like one.
"""

import hashlib
import logging
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from ferry_core.errors import DataError, OtherServer, ServerRestarted, ServerRole
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

STORED_CHARACTERS = 64
"""Maximum length of a name in the lease and the checkpoint."""
DIGEST_CHARACTERS = 16
"""How many of these identify a longer name. MariaDB's may be longer: host names have up to 64 characters."""
UNPROVEN = (
    ". If it is the same server under another host name or port, that could not be proven: give it back its former "
    "host name and port"
)
APART_SECONDS = 30.0
"""A retry meets another server sooner again than this; one met longer ago was a separate, finished incident."""

# Each family sees the other's part as a comment, so the family need not be known before. No privilege is needed.
_UPTIME = (
    "(SELECT VARIABLE_VALUE FROM /*!50708 performance_schema */ /*M!100000 information_schema */ .global_status "
    "WHERE VARIABLE_NAME = 'Uptime')"
)
_UID = "(SELECT VARIABLE_VALUE FROM information_schema.global_variables WHERE VARIABLE_NAME = 'SERVER_UID')"
COLUMNS = (
    "/*!50708 @@GLOBAL.server_uuid */ /*M!100000 CONCAT_WS(':', @@GLOBAL.server_id, @@port, @@hostname) */, "
    f"CONCAT_WS(':', CAST(UNIX_TIMESTAMP() AS SIGNED) - CAST(CAST({_UPTIME} AS UNSIGNED) AS SIGNED), "
    f"@@hostname, @@port, @@datadir /*M!100000 , {_UID} */)"
)
"""Two columns of a SELECT, from which a ``ServerIdentity`` is made."""


class ServerIdentity(NamedTuple):
    """``name`` survives restarts; ``start`` changes with each one."""

    name: str  # MySQL's server_uuid; MariaDB has none: server_id, port and host name
    start: str  # time, and whatever else a server cannot change while it runs

    @property
    def stored(self) -> str:
        """The name as stored in lease and checkpoint: if it is too long, its beginning and a digest of the whole."""
        if len(self.name) <= STORED_CHARACTERS:
            return self.name
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:DIGEST_CHARACTERS]
        return f"{self.name[: STORED_CHARACTERS - DIGEST_CHARACTERS - 1]}#{digest}"

    def is_stored_as(self, stored: str) -> bool:
        """Whether a lease or checkpoint may mean this server: earlier versions stored the beginning of a long name."""
        return stored in (self.stored, self.name[:STORED_CHARACTERS])


def perhaps_renamed(name: str, other: str) -> bool:
    """Whether both may be one MariaDB server with another host name or port: its server_id stays."""
    (server_id, _, rest), (other_id, _, other_rest) = name.partition(":"), other.partition(":")
    return rest != "" != other_rest and server_id == other_id and rest != other_rest


class KnownServer:
    """One end of a run. Thread-safe: every thread that opens connections there calls ``check``."""

    def __init__(self, role: ServerRole, patience_seconds: float) -> None:
        """``patience_seconds``: how long the address may lead to another server before that ends the run."""
        self.refuses_files = False
        """Whether LOAD DATA LOCAL was refused once, perhaps by a proxy, whatever the server's variable says."""
        self._role = role
        self._patience = patience_seconds
        self._lock = threading.Lock()
        self._identity: ServerIdentity | None = None
        self._any_start = False
        self._other: tuple[float, float] | None = None  # since when, and when last, another server answered
        self._restarted: ServerRestarted | None = None
        self._former: list[ServerIdentity] = []
        self._proving = threading.Lock()

    def learn(self, identity: ServerIdentity) -> None:
        """Expect this server with this start from now on."""
        with self._lock:
            self._identity, self._any_start, self._restarted = identity, False, None

    def forget_start(self) -> None:
        """Ignore restarts until the server is learnt again."""
        with self._lock:
            self._any_start, self._restarted = True, None

    def was(self, stored: str) -> bool:
        """Whether ``stored`` means the known server, by its name or by one that it has proven to have had."""
        return any(one.is_stored_as(stored) for one in filter(None, (self._identity, *self._former)))

    def check(self, address: str, found: ServerIdentity, proof: Callable[[], bool], *, any_start: bool) -> None:
        """Raise OtherServer for another server, DataError once that lasts too long, ServerRestarted for another start.

        The first server that is checked becomes the known one; restarts count once it was learnt. ``proof`` tells
        whether a server with another name is the same one. With ``any_start`` a restart is only recorded, for steps
        that must be done after one too.
        """
        self._recognise(address, found, proof)
        with self._lock:
            known = self._identity
            if known is None:
                self._identity, self._any_start = found, True
                return
            if found.name != known.name:
                raise self._replaced(address, found.name, known.name)
            self._other = None
            if found.start == known.start or self._any_start:
                return
            self._restarted = ServerRestarted(
                Reason.SERVER_RESTARTED,
                f"{self._role} {address} was restarted: its last commits may be lost",
                server=self._role,
            )
            if not any_start:
                raise self._restarted

    def refuse_restarted(self) -> None:
        """Raise the recorded ServerRestarted, if a thread has noticed a restart."""
        with self._lock:
            if self._restarted is not None:
                raise self._restarted

    def _recognise(self, address: str, found: ServerIdentity, proof: Callable[[], bool]) -> None:
        """Another name than before: a server reads its host name and port when it starts."""
        with self._proving:
            known = self._identity
            if known is None or found.start == known.start or not perhaps_renamed(known.name, found.name):
                return
            if proof():
                log.warning(
                    "%s %s is %s now: it is the server that was %s", self._role, address, found.name, known.name
                )
                with self._lock:
                    self._former.append(known)
                    self._identity = known._replace(name=found.name)

    def _replaced(self, address: str, found: str, known: str) -> OtherServer | DataError:
        """Under the lock. A failover or a moved Service may be reverted in a moment; if it lasts, it is permanent."""
        now = time.monotonic()
        since, last = self._other or (now, now)
        self._other = (since if now - last < APART_SECONDS else now), now
        way_out = "after a failover start over with a fresh copy"
        if self._role is ServerRole.PRIMARY:
            way_out = "after a failover name the server from which the source replicates now"
        error = OtherServer(
            Reason.SOURCE_REPLACED
            if self._role is ServerRole.SOURCE
            else Reason.PRIMARY_REPLACED
            if self._role is ServerRole.PRIMARY
            else Reason.TARGET_REPLACED,
            f"{self._role} {address} is another server now, {found}, and this run began with {known}. Point the Ferry "
            f"at the server itself, not at a balancer; {way_out}"
            f"{UNPROVEN if perhaps_renamed(known, found) else ''}",
            server=self._role,
        )
        return error.for_good() if now - self._other[0] > self._patience else error
