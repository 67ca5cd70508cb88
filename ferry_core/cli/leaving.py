"""What a signal does while the rest of the command is imported (0.3 s): it ends as one that comes later does.

Imports next to nothing. Set by ``ferry_core.__main__``, known to ``signals``.
"""

import os
import signal
from types import FrameType


def leave(_number: int, _frame: FrameType | None) -> None:
    os._exit(143)  # ExitCode.TERMINATED, before anything is imported


def leave_on_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
