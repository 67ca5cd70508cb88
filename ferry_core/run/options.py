"""What the command line adds to a manifest for one run. Called by the CLI, which makes it, and by ``run.ferry``."""

from dataclasses import dataclass, field
from pathlib import Path

from ferry_core.workers.patience import RETRY_SECONDS


@dataclass(frozen=True)
class RunOptions:
    """``state_path`` None keeps the checkpoint in a table on the target; ``listen`` None starts no ControlServer."""

    state_path: Path | None = None
    listen: str | None = None
    token: str | None = field(default=None, repr=False)
    tls_dir: Path | None = None
    retry_seconds: float = RETRY_SECONDS
    take_over: bool = False
    """End another run of this Ferry that is alive, instead of being refused."""
    restart: bool = False
    """Delete the rows of an earlier run whose state is missing, and copy them again."""
