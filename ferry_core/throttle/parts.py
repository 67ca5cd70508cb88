"""The throttle of a copy of a whole table: it may hold it back before the source is read, never while it is read.

Implements ``rows.whole.Pacing``. Made by the engine, one for all of its threads.
"""

from ferry_core.throttle.clock import Cancelled
from ferry_core.throttle.throttle import Throttle


class WholePacing:
    """``cancelled`` ends each wait early; so does a pause."""

    def __init__(self, throttle: Throttle, cancelled: Cancelled) -> None:
        self._throttle = throttle
        self._cancelled = cancelled

    def admit(self) -> float:
        return self._throttle.admit_whole(self._cancelled)

    def charge(self, rows: int) -> None:
        self._throttle.charge_whole(rows)
