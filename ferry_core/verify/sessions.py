"""The connections of one verifying thread: opened on first use, all closed when one of them breaks. Those of a run
borrow the one on the source.

They only read, so a step that lost its connection is repeated on new ones. Used by ``final_pass`` and ``verifier``.
"""

from collections.abc import Callable
from functools import partial
from typing import Self, TypeVar

from ferry_core.cancellation import Cancellation
from ferry_core.mysql.session import Purpose, Session
from ferry_core.retries import Retries
from ferry_core.rows.session_pair import Lender, SessionPair

ConnectSource = Lender | Callable[[Purpose], Session]
ConnectTarget = Callable[[], Session]
Result = TypeVar("Result")

RETRY_SECONDS = 300.0
IDLE_SECONDS = 600
"""The source may need 300 s for each of a comparison's statements, until its client gives up."""


class ReadSessions(SessionPair):
    """Other threads may only call ``abort``."""

    quiet = True

    def __init__(self, connect_source: ConnectSource, connect_target: ConnectTarget, *, bulk: bool = False) -> None:
        """``bulk``: its steps compare chunks."""
        super().__init__(
            connect_source if isinstance(connect_source, Lender) else partial(_opened, connect_source),
            lambda: _target(connect_target),
        )
        self.bulk = bulk
        self._cancelled = Cancellation()

    def retrying(self, step: Callable[[], Result], cancelled: Cancellation, seconds: float = RETRY_SECONDS) -> Result:
        """Run the step; repeat it with new connections after retriable errors."""
        self._cancelled = cancelled
        return Retries(seconds, cancelled)(lambda: self.step(step), lambda _: self.close(), self.clock)

    def _given_up(self) -> bool:
        return self._cancelled.is_set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _opened(connect: Callable[[Purpose], Session], text: bool) -> Session:
    return _without_notes(connect(Purpose.SOURCE_TEXT if text else Purpose.SOURCE))


def _target(connect: Callable[[], Session]) -> Session:
    """It waits for reads of the source as long as a session there waits for those of the target: it holds no lock."""
    session = _without_notes(connect())
    session.execute(f"SET SESSION wait_timeout = {IDLE_SECONDS}")
    return session


def _without_notes(session: Session) -> Session:
    """One note per row would fill the server's list and hide a warning."""
    session.execute("SET SESSION sql_notes = 0")
    return session
