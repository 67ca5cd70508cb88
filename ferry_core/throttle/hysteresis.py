"""When a measured value throttles: at once above its limit, and not again until it has stayed lower. No I/O, no clock.

Without the second part data movement would stop and start with each measurement, because stopping it is what lowers the
value. Used by ``signal``.
"""

RELEASE_SHARE = 0.8
"""Well below the limit: at most this share of it."""
SETTLE_SECONDS = 2.0
"""How long a value must have been well below the limit."""
CALM_SECONDS = 10.0
"""How long a value must not have exceeded the limit, if it does not get well below. A limit of one thread never sees
less than one.
"""


class Hysteresis:
    """Of one value. The caller passes the time, which never goes back."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.on = False
        self._low_since: float | None = None
        self._calm_since: float | None = None

    def observe(self, value: float | None, now: float) -> bool:
        """Whether it throttles now. None, an unknown value, counts as above the limit."""
        if value is None or value > self.limit:
            self.on = True
            self._low_since = self._calm_since = None
            return True
        self._calm_since = now if self._calm_since is None else self._calm_since
        if value > self.limit * RELEASE_SHARE:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = now
        low = self._low_since is not None and now - self._low_since >= SETTLE_SECONDS
        if low or now - self._calm_since >= CALM_SECONDS:
            self.on = False
        return self.on
