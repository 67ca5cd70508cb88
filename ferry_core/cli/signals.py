"""SIGINT and SIGTERM: the first asks the run to checkpoint and leave, the second leaves at once. Called by ``run``."""

import atexit
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ferry_core.cli.leaving import leave
from ferry_core.errors import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOBODYS = (leave, signal.SIG_DFL, signal.default_int_handler)
"""These handlers are never restored: the process belongs to the command."""


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls ``stop`` and the second one ends the process; afterwards, only the second.

    A handler interrupts the main thread anywhere, maybe holding the very lock that ``stop`` wants: so the handler only
    puts a word into a reentrant queue, and a thread of its own makes the call.
    """
    asked: queue.SimpleQueue[bool] = queue.SimpleQueue()
    seen = 0

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal seen
        seen += 1
        if seen > 1:
            os._exit(ExitCode.TERMINATED)
        asked.put(True)

    def wait() -> None:
        if asked.get():
            stop()

    waiter = threading.Thread(target=wait, name="ferry-signals", daemon=True)
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    waiter.start()
    try:
        yield
    finally:
        if seen or all(handler in NOBODYS for handler in before.values()):
            # How the run ended is known: a signal that comes late does not change the exit code. A second one still
            # ends whatever hangs; only in the interpreter's last moments, after all threads, it would find Python's
            # default and turn the exit code into that of a death by signal.
            atexit.register(_be_deaf)
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
        asked.put(False)


def _be_deaf() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
