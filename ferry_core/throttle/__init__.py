"""What holds data movement back: the user's pause and the limit of rows per second.

Copy workers and the flusher use ``Throttle`` only; the other modules are its parts.
"""

from ferry_core.throttle.pause import Pause
from ferry_core.throttle.rate import RateLimit
from ferry_core.throttle.throttle import SIGNALS, Throttle
from ferry_core.throttle.tracker import ThrottleState

__all__ = ["SIGNALS", "Pause", "RateLimit", "Throttle", "ThrottleState"]
