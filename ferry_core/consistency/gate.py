"""R3: on one table, a chunk's read-to-commit window and a flush of changed keys never overlap.

Each table has one gate: chunks enter it shared, a flush generation exclusively. Without it, a chunk read before a
DELETE and written after the flush of that DELETE leaves a ghost row, and REPLACE may remove a row of another key whose
own change was already flushed. Copy workers enter shared, the flusher exclusively.

A holder keeps its side until what it wrote has committed or is proven never to commit, also across lost connections. If
it ends by an exception it keeps the side for ever, because nobody knows then what may still commit: the run ends, and
its successor's fence finds out.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

POLL_SECONDS = 0.2
"""How often a waiting thread checks whether it was cancelled. Entering itself is by notification."""


class TableGate:
    """Shared for chunks, exclusive for a flush generation. A waiting flush has priority over new chunks."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._chunks = 0
        self._flushing = False
        self._flush_waits = False

    @property
    def open_for_chunks(self) -> bool:
        """Whether a chunk could enter now. A hint for choosing a table, not a promise."""
        return not (self._flushing or self._flush_waits)

    @contextmanager
    def chunk(self, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """The shared side. Yields False without entering if ``cancelled`` becomes true while waiting."""
        with self._condition:
            while not self.open_for_chunks and not cancelled():
                self._condition.wait(POLL_SECONDS)
            entered = self.open_for_chunks
            self._chunks += entered
        yield entered
        with self._condition:  # not after an exception: see the module's docstring
            self._chunks -= entered
            self._condition.notify_all()

    @contextmanager
    def flush(self, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """The exclusive side, for one generation at a time. Yields False if cancelled while waiting."""
        with self._condition:
            self._flush_waits = True
            while (self._chunks or self._flushing) and not cancelled():
                self._condition.wait(POLL_SECONDS)
            entered = not (self._chunks or self._flushing)
            self._flush_waits = False
            self._flushing = self._flushing or entered
            self._condition.notify_all()
        yield entered
        if entered:
            with self._condition:  # not after an exception
                self._flushing = False
                self._condition.notify_all()
