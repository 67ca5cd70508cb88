"""The verification's waits for changes that are still on their way. Used by ``background_verifier``.

They have no timeout: during a pause or without a stream, rows differ for as long as that lasts.
"""

import logging
import time
from collections.abc import Callable, Sequence

from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.errors import RetriableError
from ferry_core.moves.move import TableMove

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.5
AGAIN_SECONDS = 0.05


class StreamWaits:
    """Each wait returns False only when the run ends, or the pass that waits is ``cancelled``."""

    def __init__(
        self, buffer: ChangeBuffer, ending: Cancellation, source_end: Callable[[], Callable[[], bool]]
    ) -> None:
        """``source_end`` reads the current end of the source's binlog and returns a function: has the stream reached
        it?
        """
        self._buffer = buffer
        self._ending = ending
        self._source_end = source_end

    def flushed(self, moves: Sequence[TableMove], cancelled: Cancellation | None = None) -> bool:
        """Wait until everything that the source has committed so far to these tables is on the target."""
        ending = cancelled or self._ending
        if not self.streamed(ending):
            return False
        known = self._buffer.processed
        for move in moves:
            while not self._buffer.wait_flushed(move, time.monotonic() + SLICE_SECONDS, known):
                if ending.wait(AGAIN_SECONDS):
                    return False
        return not ending.is_set()

    def streamed(self, cancelled: Cancellation | None = None) -> bool:
        """Wait until the stream has delivered everything that the source has committed so far."""
        ending = cancelled or self._ending
        streamed: Callable[[], bool] | None = None
        while not ending.is_set():
            try:
                streamed = streamed or self._source_end()
            except RetriableError as error:
                log.debug("the end of the source's binlog could not be read: %s", error)
            if streamed is not None and streamed():
                return True
            ending.wait(AGAIN_SECONDS)
        return False
