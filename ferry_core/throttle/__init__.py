"""What holds data movement back: a pause, the limit of rows per second, signals of the servers and of the clock.

Threads that move rows use ``Throttle`` only; ``run.probes`` makes the signals that ask servers.
"""

from ferry_core.throttle.names import COMMIT_LATENCY, REPLICA_LAG, SIGNALS, THREADS_RUNNING
from ferry_core.throttle.parts import WholePacing
from ferry_core.throttle.pause import Pause
from ferry_core.throttle.rate import RateLimit
from ferry_core.throttle.throttle import Observed, Throttle
from ferry_core.throttle.tracker import ThrottleState

__all__ = [
    "COMMIT_LATENCY",
    "REPLICA_LAG",
    "SIGNALS",
    "THREADS_RUNNING",
    "Observed",
    "Pause",
    "RateLimit",
    "Throttle",
    "ThrottleState",
    "WholePacing",
]
