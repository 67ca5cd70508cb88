"""The connections of one verifying thread: opened on first use, all closed when one of them breaks.

They only read, so a step that lost its connection is repeated on new ones. Used by ``final_pass`` and ``verifier``.
"""

from collections.abc import Callable
from typing import Self, TypeVar

from ferry_core.cancellation import Cancellation
from ferry_core.mysql.session import Purpose, Session
from ferry_core.retries import Retries
from ferry_core.rows.session_pair import SessionPair

ConnectSource = Callable[[Purpose], Session]
ConnectTarget = Callable[[], Session]
Result = TypeVar("Result")

RETRY_SECONDS = 300.0


class ReadSessions(SessionPair):
    """Other threads may only call ``abort``."""

    def __init__(self, connect_source: ConnectSource, connect_target: ConnectTarget) -> None:
        super().__init__(
            lambda text: _without_notes(connect_source(Purpose.SOURCE_TEXT if text else Purpose.SOURCE)),
            lambda: _without_notes(connect_target()),
        )

    def retrying(self, step: Callable[[], Result], cancelled: Cancellation, seconds: float = RETRY_SECONDS) -> Result:
        """Run the step; repeat it with new connections after retriable errors."""
        return Retries(seconds, cancelled)(step, lambda _: self.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _without_notes(session: Session) -> Session:
    """One note per row would fill the server's list and hide a warning."""
    session.execute("SET SESSION sql_notes = 0")
    return session
