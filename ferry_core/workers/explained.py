"""Errors that have no other reason than a table that is to be copied again.

A step that reads such a table may meet its new definition before the stream shows the statement. Nothing of the step is
needed then: the stream lets go of the table, and all its rows are read again. Used by the threads that copy, flush and
verify.
"""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from ferry_core.cancellation import Cancellation
from ferry_core.errors import ConfigError, DataError
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.reasons import Reason

T = TypeVar("T")

log = logging.getLogger(__name__)

EXPLAIN_SECONDS = 10.0
"""How long to wait for the stream to report why a definition changed."""
LOOK_SECONDS = 0.2


class Explained:
    """Any thread may ask, and waits a while for the stream if the error says that the table is not as known."""

    def __init__(self, moves: MoveSet, ending: Cancellation) -> None:
        self._moves = moves
        self._ending = ending
        self.unexplained: list[BaseException] = []
        """Errors for which the stream gave no reason in time."""

    def by(self, move: TableMove, error: BaseException) -> bool:
        """Whether the stream has let go of this move."""
        if not isinstance(error, ConfigError | DataError):
            return False
        deadline = time.monotonic() + (EXPLAIN_SECONDS if _not_as_known(error) else 0.0)
        while not move.let_go and time.monotonic() < deadline and not self._ending.is_set():
            self._moves.wait_let_go(self._moves.times_let_go, LOOK_SECONDS)
        if not move.let_go and _not_as_known(error):
            self.unexplained.append(error)
        return move.let_go

    def tried(self, body: Callable[[], T]) -> T | None:
        """The body's result. None if it met an error that names no move, and the stream lets go of one then."""
        moment = self._moves.times_let_go
        try:
            return body()
        except DataError as error:
            if not (_not_as_known(error) and self._let_go_since(moment)):
                self.unexplained.append(error)
                raise
            log.info("a table that is copied again is not as it was: %s", error.problem)
            return None

    def _let_go_since(self, moment: int) -> bool:
        deadline = time.monotonic() + EXPLAIN_SECONDS
        while time.monotonic() < deadline and not self._ending.is_set():
            if self._moves.wait_let_go(moment, LOOK_SECONDS):
                return True
        return False


def _not_as_known(error: ConfigError | DataError) -> bool:
    return error.reason == Reason.TABLE_NOT_AS_KNOWN
