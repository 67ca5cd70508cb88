"""The cap of rows a second: a token bucket that may go into debt, served in the order of asking.

Debt, because a chunk is one statement: it is admitted when the bucket is not empty, takes all its rows at once, and
those after it wait until the debt is paid. So the average never exceeds the cap, whatever the size of a chunk.
Called by ``Throttle``.
"""

import threading
from collections import deque

from ferry_core.throttle.clock import LOOK_SECONDS, Cancelled, Clock, SystemClock

BURST_SECONDS = 0.25
"""How much unused allowance is kept: a short stall of the servers may be caught up, a long one not."""

STEP_SECONDS = 0.5
"""One request should not take more rows than this many seconds are worth, or progress comes in jerks."""

TOO_SHORT_SECONDS = 1e-6
"""Waits shorter than this are rounding errors: a clock may not even move by them."""


class TokenBucket:
    """The arithmetic alone: the caller brings the time, which never runs backwards."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = 0.0
        self._at = now

    def _refill(self, now: float) -> None:
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens + (now - self._at) * self._rate)
        self._at = now

    def set_rate(self, rate: float, now: float) -> None:
        """From now on; a debt of rows stays a debt of rows, paid at the new rate."""
        self._refill(now)
        self._rate = rate
        self._tokens = min(rate * BURST_SECONDS, self._tokens)

    def delay(self, now: float) -> float:
        """Seconds until the next request may be admitted; 0 is now."""
        self._refill(now)
        delay = -self._tokens / self._rate
        return delay if delay > TOO_SHORT_SECONDS else 0.0

    def take(self, rows: float, now: float) -> None:
        """Take rows, also into debt; a negative number gives back."""
        self._refill(now)
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens - rows)


class RateLimit:
    """Thread-safe; ``limit`` None is no cap. First come, first served: a large request is not starved by small ones."""

    def __init__(self, limit: int | None = None, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._changed = threading.Condition()
        self._limit = limit
        self._bucket = None if limit is None else TokenBucket(limit, self._clock.now())
        self._queue: deque[object] = deque()

    @property
    def limit(self) -> int | None:
        return self._limit

    @property
    def largest_step(self) -> int | None:
        """The most rows that one request should ask for; None: no limit."""
        limit = self._limit
        return None if limit is None else max(1, round(limit * STEP_SECONDS))

    def set(self, limit: int | None) -> None:
        """Change the cap now, also for those who wait."""
        with self._changed:
            now = self._clock.now()
            self._limit = limit
            if limit is None:
                self._bucket = None
            elif self._bucket is None:
                self._bucket = TokenBucket(limit, now)
            else:
                self._bucket.set_rate(limit, now)
            self._changed.notify_all()

    def must_wait(self) -> bool:
        """Whether a request made now would have to wait."""
        with self._changed:
            return bool(self._bucket and (self._queue or self._bucket.delay(self._clock.now()) > 0))

    def admit(self, rows: int, cancelled: Cancelled) -> bool:
        """Block until it is this caller's turn and the cap allows it; False, and nothing taken, if cancelled first."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                return self._wait_turn(ticket, rows, cancelled)
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _wait_turn(self, ticket: object, rows: int, cancelled: Cancelled) -> bool:
        while not cancelled.is_set():
            now = self._clock.now()
            delay = 0.0
            if self._bucket is not None:
                delay = self._bucket.delay(now) if self._queue[0] is ticket else LOOK_SECONDS
            if delay <= 0:
                if self._bucket is not None:
                    self._bucket.take(rows, now)
                return True
            self._clock.wait(self._changed, min(delay, LOOK_SECONDS))
        return False

    def charge(self, rows: int) -> None:
        """Take rows without waiting, for what turned out to be more than was asked for; negative gives back."""
        with self._changed:
            if self._bucket is not None:
                self._bucket.take(rows, self._clock.now())
                self._changed.notify_all()
