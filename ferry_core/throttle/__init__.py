"""What holds data movement back: the user's pause and the cap of rows a second.

``Throttle`` is the one thing that copy workers and the flusher ask; the rest are its parts.
"""

from ferry_core.throttle.pause import Pause
from ferry_core.throttle.rate import RateLimit
from ferry_core.throttle.throttle import Throttle
from ferry_core.throttle.tracker import ThrottleState

__all__ = ["Pause", "RateLimit", "Throttle", "ThrottleState"]
