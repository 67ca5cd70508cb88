"""The primary of a source that is a replica, during an attempt: writes stop there, and rows and changes come from here.

Before the lock the replica must follow exactly. Under the lock it must have applied everything that the primary has
executed, and nothing else; then the end of the replica's own binlog is the end of all changes. Both are asked again
right before the cutover is recorded. Used by ``attempt``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from ferry_core.cutover.outcome import AttemptFailed, late
from ferry_core.mysql.session import Session
from ferry_core.mysql.upstream import errant, executed, lacking, server_ids, troubles, troubles_of_primary
from ferry_core.reasons import Reason

_ASK_SECONDS = 0.02

LOCKED_SERVER = "server"
"""Key in the lease row: the identity of the server whose writes the attempt stopped, if that is not the source."""


@dataclass(frozen=True)
class Primary:
    """``connect`` opens a session there. ``may_be_errant``: the user has acknowledged what the replica holds more."""

    connect: Callable[[], Session]
    may_be_errant: bool

    def named(self) -> dict[str, str]:
        """To be recorded before its writes are stopped."""
        with self.connect() as session:
            return {LOCKED_SERVER: session.identity.stored}

    def refuse_apart(self, replica: Session, primary: Session) -> None:
        """AttemptFailed if the source is no exact replica of it now, whatever it was before."""
        for trouble in (*troubles(replica, server_ids(primary)), *troubles_of_primary(primary)):
            raise AttemptFailed(trouble.reason, trouble.message)
        if not self.may_be_errant and (more := errant(replica, primary)):
            raise AttemptFailed(
                Reason.ERRANT_TRANSACTIONS,
                f"{replica.endpoint.where} has executed transactions that {primary.endpoint.where} has not: {more}; "
                "somebody wrote there, or the primary has lost its newest transactions. The rows of the two may "
                "differ: find out what these transactions were; if they changed selected tables, rebuild the replica "
                "and start over with a fresh copy",
            )

    def await_applied(
        self, replica: Session, primary: Session, wait: Callable[[Callable[[float], bool]], bool]
    ) -> None:
        """Wait until the replica has applied all that the primary has executed until now. AttemptFailed if late."""
        wanted = executed(primary)
        missing = ""

        def applied(until: float) -> bool:
            nonlocal missing
            while missing := lacking(replica, wanted):
                if time.monotonic() >= until:
                    return False
                time.sleep(_ASK_SECONDS)
            return True

        if not wait(applied):
            why = "; ".join(trouble.message for trouble in troubles(replica, server_ids(primary)))
            raise late(
                f"{replica.endpoint.where} had not applied {missing} of {primary.endpoint.where}{why and f' ({why})'}"
            )
