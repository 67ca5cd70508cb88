"""A named lock on one server, held by a connection until it releases the lock or ends.

Used for mutual exclusion, and to find a connection by name: a successor asks who holds the lock and kills that
connection.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session


@dataclass(frozen=True)
class AdvisoryLock:
    """The lock of that name on the server that a session is connected to."""

    name: str

    def take(self, session: Session, seconds: int = 0) -> bool:
        """Wait for at most that long; True if this session has the lock."""
        return session.number(f"SELECT GET_LOCK({string(self.name)}, {seconds})") == 1

    def release(self, session: Session) -> None:
        session.query(f"SELECT RELEASE_LOCK({string(self.name)})")

    def holder(self, session: Session) -> int:
        """Id of the connection that holds it; 0: none."""
        return holders(session, [self])[0]

    def is_held_by(self, session: Session) -> bool:
        return self.holder(session) == session.connection_id


def holders(session: Session, locks: Sequence[AdvisoryLock]) -> list[int]:
    """The same for several locks at once."""
    columns = ", ".join(f"IS_USED_LOCK({string(lock.name)})" for lock in locks)
    return [int(value or 0) for value in session.row(f"SELECT {columns}", len(locks))]
