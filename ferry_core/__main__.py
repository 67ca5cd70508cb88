"""The ``ferry`` command: what its console script and ``python -m ferry_core`` start.

A signal that comes while the rest is imported (0.3 s) ends it as one that comes later does: 143, and no traceback.
"""

import os
import signal
from types import FrameType


def _leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(143)  # ExitCode.TERMINATED, before anything is imported


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    from ferry_core.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
