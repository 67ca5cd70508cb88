"""The limit of rows per second: a token bucket that may go into debt, served in order of arrival.

It may go into debt because a chunk is one statement: the chunk is admitted when the bucket is not empty and takes all
its rows at once; later ones wait until the debt is paid. So the average never exceeds the limit, whatever the size of a
chunk. Used by ``Throttle``.
"""

import threading
from collections import deque

from ferry_core.throttle.clock import LOOK_SECONDS, Cancelled, Clock, SystemClock

BURST_SECONDS = 0.25
"""How much unused allowance is kept: enough to catch up after a short stall of the servers, not after a long one."""

STEP_SECONDS = 0.5
"""One request should not take more rows than for this many seconds, or progress becomes uneven."""

TOO_SHORT_SECONDS = 1e-6
"""Shorter waits are rounding errors: a clock may not even advance by them."""


class TokenBucket:
    """Only the arithmetic. The caller passes the time, which never goes back."""

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._tokens = 0.0
        self._at = now

    def _refill(self, now: float) -> None:
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens + (now - self._at) * self._rate)
        self._at = now

    def set_rate(self, rate: float, now: float) -> None:
        """Change the rate. A debt of rows stays and is paid at the new rate."""
        self._refill(now)
        self._rate = rate
        self._tokens = min(rate * BURST_SECONDS, self._tokens)

    def delay(self, now: float) -> float:
        """Seconds until the next request may be admitted; 0 means now."""
        self._refill(now)
        delay = -self._tokens / self._rate
        return delay if delay > TOO_SHORT_SECONDS else 0.0

    def take(self, rows: float, now: float) -> None:
        """Take rows, even into debt. A negative number returns rows."""
        self._refill(now)
        self._tokens = min(self._rate * BURST_SECONDS, self._tokens - rows)


class RateLimit:
    """Thread-safe; ``limit`` None means no limit.

    First come, first served: small requests do not starve a large one.
    """

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
        """The largest number of rows that one request should ask for; None: no limit."""
        limit = self._limit
        return None if limit is None else max(1, round(limit * STEP_SECONDS))

    def set(self, limit: int | None) -> None:
        """Change the limit now, also for threads that wait."""
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
        """Block until it is this caller's turn and the limit allows it.

        False, without taking anything, if cancelled first.
        """
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
        """Take rows without waiting, if more than admitted were moved. A negative number returns rows."""
        with self._changed:
            if self._bucket is not None:
                self._bucket.take(rows, self._clock.now())
                self._changed.notify_all()
