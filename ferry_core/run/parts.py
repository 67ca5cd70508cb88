"""The objects that one start of a run makes for its operations. Made by ``startup``, used by ``operations``."""

from dataclasses import dataclass

from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility
from ferry_core.mysql.replication import Replicated
from ferry_core.run.setup import RunContext
from ferry_core.throttle import Throttle
from ferry_core.workers.background_verifier import BackgroundVerifier
from ferry_core.workers.engine import Engine


@dataclass(frozen=True)
class Parts:
    """Objects made for one start of a run."""

    context: RunContext
    fence: Fence
    visibility: Visibility
    engine: Engine
    verifier: BackgroundVerifier | None
    """None for verify.mode None."""
    throttle: Throttle
    replicated: Replicated | None = None
    """What the source had applied of other servers at this start."""
