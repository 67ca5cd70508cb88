"""The throttle within the copy of a whole table, which is one step for the thread that makes it but may take hours.

Implements ``rows.whole.Pacing``. Made by the engine, one for all of its threads.
"""

from ferry_core.throttle.clock import Cancelled
from ferry_core.throttle.throttle import Throttle


class PartPacing:
    """``cancelled`` ends each wait early; so does a pause."""

    def __init__(self, throttle: Throttle, cancelled: Cancelled) -> None:
        self._throttle = throttle
        self._cancelled = cancelled

    @property
    def largest_step(self) -> int | None:
        return self._throttle.rate.largest_step

    def admit(self, rows: int) -> float:
        return self._throttle.admit_part(rows, self._cancelled)
