"""Options of the command line for one run, beside the manifest. Made by the CLI, used by ``run.ferry``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ferry_core.workers.patience import RETRY_SECONDS


@dataclass(frozen=True)
class RunOptions:
    """``state_path`` None: the checkpoint is in a table on the target. ``listen`` None: no ControlServer."""

    state_path: Path | None = None
    listen: str | None = None
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Bearer tokens of the ControlServer, by name. Empty: requests on this machine need none."""
    tls_dir: Path | None = None
    retry_seconds: float = RETRY_SECONDS
    take_over: bool = False
    """End another live run of this Ferry instead of refusing to start."""
    restart: bool = False
    """Delete the rows of an earlier run whose state is missing, and copy them again."""
