"""Tells for what a read waits that locks rows of the source: transactions of applications hold them, for any time.

Used by ``step``, whose threads wait, and by the report. Reads that lock nothing meet such a wait only at DDL.
"""

import logging
import threading
import time
from collections.abc import Callable

from ferry_core.cutover.blockers import blockers
from ferry_core.errors import FerryError
from ferry_core.mysql.session import Session
from ferry_core.retries import waits_for_source

log = logging.getLogger(__name__)

ASK_SECONDS = 5.0
NAMED = 3
"""Number of transactions that the message names."""


class RowLocks:
    """Thread-safe."""

    def __init__(self, control: Callable[[], Session]) -> None:
        self._control = control
        self._lock = threading.Lock()
        self._waiting: set[int] = set()
        self._asked = -ASK_SECONDS
        self._holders: list[str] = []

    @property
    def message(self) -> str:
        """What is waited for; empty: nothing."""
        with self._lock:
            if not self._waiting:
                return ""
            oldest = "; ".join(self._holders[:NAMED])
            seen = f": the oldest transactions there are {oldest}" if oldest else ""
            return f"LockConflict: waiting for rows that transactions on the source have locked{seen}"

    def met(self, error: FerryError) -> None:
        """A step of this thread failed with ``error`` and will be repeated."""
        if not waits_for_source(error):
            return
        now = time.monotonic()
        with self._lock:
            first = not self._waiting
            self._waiting.add(threading.get_ident())
            if now - self._asked < ASK_SECONDS:
                return
            self._asked = now
        try:
            with self._control() as session:
                self._holders = blockers(session)
        except FerryError as lost:
            self._holders = [f"not known ({lost.message})"]
        if first:
            log.warning("%s", self.message)

    def passed(self) -> None:
        """The step of this thread has ended."""
        with self._lock:
            self._waiting.discard(threading.get_ident())
