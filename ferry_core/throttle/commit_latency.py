"""The signal commit-latency: how long a commit of one small row takes on the target, as its applications feel it.

The copy's own commits would be no measure: they are large, and there is none while the copy is held back, so that
nothing could release it again. One outlier is not a state: the median of the last commits counts.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable

from ferry_core.mysql.session import Session
from ferry_core.throttle.signal import Kind

COMMIT_LATENCY = "commit-latency"
INTERVAL_SECONDS = 0.5
SAMPLES = 5


class CommitLatency:
    """``write`` changes a row that nothing else locks; the commit after it is timed."""

    def __init__(self, write: Callable[[Session], None]) -> None:
        self._write = write
        self._samples: deque[float] = deque(maxlen=SAMPLES)

    def ask(self, session: Session, _wanted: str) -> float:
        session.begin()
        try:
            self._write(session)
            began = time.monotonic()
            session.commit()
        except BaseException:
            session.close()
            raise
        self._samples.append(time.monotonic() - began)
        return statistics.median(self._samples)


KIND = Kind(
    COMMIT_LATENCY, lambda settings: settings.max_commit_latency, lambda seconds: f"{round(seconds * 1000, 1):g}ms"
)
