"""SIGINT and SIGTERM: the first asks the run to checkpoint and leave, the second leaves at once. Called by ``run``."""

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ferry_core.api.exit_codes import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls ``stop`` and the second one ends the process.

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
        for number, handler in before.items():
            signal.signal(number, handler)
        asked.put(False)
