"""Errors that have no other reason than a table that is to be copied again.

A step that reads such a table may meet its new definition before the stream shows the statement. Nothing of the step is
needed then: the stream lets go of the table, and all its rows are read again. Used by the threads that copy, flush and
verify.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
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
        return isinstance(error, ConfigError | DataError) and self._let_go([move], error)

    def tried(self, body: Callable[[], T], moves: Iterable[TableMove]) -> T | None:
        """The body's result. None if it met an error that names no move, and the stream has let go of one of these."""
        known = list(moves)
        try:
            return body()
        except DataError as error:
            if not (_not_as_known(error) and self._let_go(known, error)):
                raise
            log.info("a table that is copied again is not as it was: %s", error.problem)
            return None

    def _let_go(self, moves: Sequence[TableMove], error: ConfigError | DataError) -> bool:
        waits = _not_as_known(error)
        deadline = time.monotonic() + (EXPLAIN_SECONDS if waits else 0.0)
        while not (found := any(move.let_go for move in moves)):
            if time.monotonic() >= deadline or self._ending.is_set():
                break
            self._moves.wait_let_go(self._moves.times_let_go, LOOK_SECONDS)
        if waits and not found:
            self.unexplained.append(error)
        return found


def _not_as_known(error: ConfigError | DataError) -> bool:
    return error.reason == Reason.TABLE_NOT_AS_KNOWN
