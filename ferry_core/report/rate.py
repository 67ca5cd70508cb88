"""Smoothed rows per second, and the remaining time. Used by ``progress``."""

import math

HORIZON_SECONDS = 30.0
"""Time after which a sample counts for a third (1/e) of a current one: steady enough to read, quick to follow."""

YOUNG_SECONDS = 2.0
"""Earlier figures are noise."""


class SmoothedRate:
    """An exponentially weighted rate. Not thread-safe; the caller passes the time."""

    def __init__(self) -> None:
        self._start: float | None = None
        self._at = 0.0
        self._weighted = 0.0

    def add(self, amount: float, now: float) -> None:
        if self._start is None:
            self._start = self._at = now
        self._weighted = self._weighted * self._decay(now) + amount
        self._at = max(now, self._at)

    def _decay(self, now: float) -> float:
        return math.exp(min(0.0, self._at - now) / HORIZON_SECONDS)

    def per_second(self, now: float) -> float | None:
        """None: not enough samples, or too old."""
        if self._start is None or now - self._start < YOUNG_SECONDS:
            return None
        seen = HORIZON_SECONDS * -math.expm1(-(now - self._start) / HORIZON_SECONDS)
        rate = self._weighted * self._decay(now) / seen
        return rate if rate > 0.01 else None
