"""A named lock of one server, held by a connection until it gives it back or ends. Called by whoever must be alone.

Also how a connection is found again by its name: a successor asks who holds it, and ends that one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session


@dataclass(frozen=True)
class AdvisoryLock:
    """The lock of that name, on whichever server a session speaks to."""

    name: str

    def take(self, session: Session, seconds: int = 0) -> bool:
        """Whether it is this session's now, having waited for so long."""
        return session.number(f"SELECT GET_LOCK({string(self.name)}, {seconds})") == 1

    def release(self, session: Session) -> None:
        session.query(f"SELECT RELEASE_LOCK({string(self.name)})")

    def holder(self, session: Session) -> int:
        """The id of the connection that holds it; 0: none."""
        return holders(session, [self])[0]

    def is_held_by(self, session: Session) -> bool:
        return self.holder(session) == session.connection_id


def holders(session: Session, locks: Sequence[AdvisoryLock]) -> list[int]:
    """The same for several locks at once."""
    asked = ", ".join(f"IS_USED_LOCK({string(lock.name)})" for lock in locks)
    return [int(value or 0) for value in session.query(f"SELECT {asked}")[0]]
