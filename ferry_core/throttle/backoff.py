"""How much of the wanted speed the copy uses: less while commits on the target become slow, all of it afterwards.

It acts at half of ``maxCommitLatency``, where users notice nothing yet, so that the limit itself is rarely reached.
Halved quickly, raised in small steps, as TCP does. Only the arithmetic. Used by ``Throttle``; the copy takes the factor
as fewer workers and smaller chunks.
"""

SLOW = 0.5
"""Share of the limit above which the copy gets slower."""
FAST = 0.35
"""Share of the limit below which it gets faster. Between the two nothing changes."""
LEAST = 1 / 16
STEP = 1 / 8
INTERVAL_SECONDS = 2.0
"""Time between two changes, for the servers to react to the last one."""


class Backoff:
    """The caller passes the time, which never goes back."""

    def __init__(self) -> None:
        self.factor = 1.0
        self._changed_at: float | None = None

    def observe(self, load: float | None, now: float) -> float:
        """Returns the new factor. ``load`` is the latency as a share of its limit; None: there is no limit."""
        if load is None:
            self.factor, self._changed_at = 1.0, None
            return self.factor
        if self._changed_at is not None and now - self._changed_at < INTERVAL_SECONDS:
            return self.factor
        if load > SLOW:
            self._change(max(LEAST, self.factor / 2), now)
        elif load < FAST:
            self._change(min(1.0, self.factor + STEP), now)
        return self.factor

    def _change(self, factor: float, now: float) -> None:
        if factor != self.factor:
            self.factor, self._changed_at = factor, now
