"""The connections of one verifying thread: opened when first needed, all dropped when one of them breaks.

Reads only, so a step that lost its connection is simply done again on new ones.
Called by ``final_pass`` and ``verifier``.
"""

from collections.abc import Callable
from threading import Event
from typing import Self, TypeVar

from tenacity import Retrying, retry_if_exception_type, sleep_using_event, stop_after_delay, wait_random_exponential

from ferry_core.errors import ConnectionLost, Interrupted, LockConflict, LoginRefused, ResourceExhausted
from ferry_core.mysql.session import Purpose, Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table

ConnectSource = Callable[[Purpose], Session]
ConnectTarget = Callable[[], Session]
Result = TypeVar("Result")

RETRY_SECONDS = 300.0
_PASSING = (ConnectionLost, LockConflict, LoginRefused, ResourceExhausted)


class SessionPair:
    """Both ends for one thread. Only ``abort`` may be called by another."""

    def __init__(self, connect_source: ConnectSource, connect_target: ConnectTarget) -> None:
        self._connect_source = connect_source
        self._connect_target = connect_target
        self._sources: dict[Purpose, Session] = {}
        self._target: Session | None = None

    def source(self, table: Table) -> Session:
        """The source as the table's row filter needs it."""
        purpose = Purpose.SOURCE_TEXT if table.row_filter else Purpose.SOURCE
        if purpose not in self._sources:
            self._sources[purpose] = _without_notes(self._connect_source(purpose))
        return self._sources[purpose]

    @property
    def target(self) -> Session:
        if self._target is None:
            self._target = _without_notes(self._connect_target())
        return self._target

    def retrying(self, step: Callable[[], Result], cancelled: Event, seconds: float = RETRY_SECONDS) -> Result:
        """Do the step, again with new connections while errors are of the passing kind."""

        def attempt() -> Result:
            if cancelled.is_set():
                raise Interrupted(Reason.VERIFICATION_CANCELLED, "the verification was cancelled")
            try:
                return step()
            except _PASSING:
                self.close()
                raise

        wait = wait_random_exponential(multiplier=0.05, max=10)
        policy = Retrying(
            retry=retry_if_exception_type(_PASSING),
            wait=wait,
            stop=stop_after_delay(seconds),
            sleep=sleep_using_event(cancelled),
            reraise=True,
        )
        return policy(attempt)

    def abort(self) -> None:
        """Break what runs on these connections: its thread gets ConnectionLost."""
        for session in [*self._sources.values(), self._target]:
            if session is not None:
                session.abort()

    def close(self) -> None:
        for session in [*self._sources.values(), self._target]:
            if session is not None:
                session.close()
        self._sources = {}
        self._target = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _without_notes(session: Session) -> Session:
    """A note a row would fill the server's list and hide a warning behind it."""
    session.execute("SET SESSION sql_notes = 0")
    return session
