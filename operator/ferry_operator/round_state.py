"""What the operator remembers of one Ferry between rounds; losing it is harmless. Used by ``reconciler``, ``act``."""

import time
from dataclasses import dataclass, field
from datetime import datetime

from ferry_operator.budget import BURST, BURST_SECONDS, TokenBucket
from ferry_operator.names import Object
from ferry_operator.observe import Refusal

_SECRET_SECONDS = 20.0
"""How long to rely on the Secret of a Pod that has not started; somebody may delete it."""


@dataclass
class RoundState:
    """Of one Ferry."""

    refusal: Refusal | None = None
    namespace_ending: bool = False
    written: Object | None = None
    """The object as our own last write left it, until the watch returns it."""
    written_at: float | None = None
    held_back: float = 0.0
    """Seconds until a status that was rate-limited may be written; 0: nothing waits."""
    transitions: TokenBucket = field(default_factory=lambda: TokenBucket(BURST, BURST_SECONDS))
    secret_of: str | None = None
    """uid of the Pod whose Secret existed at the last check."""
    secret_at: float = 0.0
    """When that check was made."""
    taken_since: datetime | None = None
    """When a Pod could not be created first because its name is taken."""
    undelivered: bool = False
    """The last directive did not reach the copier."""
    failures: int = 0
    """Failed rounds in a row."""
    conflicts: int = 0
    """Rounds in a row that ended with a conflict. A conflict is not a failure."""

    def secret_known(self, pod: str) -> bool:
        """Whether the Secret of this Pod was seen recently."""
        return self.secret_of == pod and time.monotonic() < self.secret_at + _SECRET_SECONDS
