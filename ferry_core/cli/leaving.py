"""Handles a signal during the command's imports (0.3 s): it ends the process in the same way as a later signal.

Imports almost nothing. Installed by ``ferry_core.__main__``, recognised by ``signals``.
"""

import os
import signal
from types import FrameType


def leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(143)  # ExitCode.TERMINATED, which is not imported yet


def leave_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
