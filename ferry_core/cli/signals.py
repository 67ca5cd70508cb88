"""SIGINT and SIGTERM: the first asks the run to write a checkpoint and end, the second ends the process. Called by
``run``.

The kernel may deliver a signal to any thread, but Python runs signal handlers only in the main thread. If the main
thread waits in a system call for a server that hangs, the handler is delayed for as long. So a separate thread reads
signal numbers from the wakeup file descriptor, which is written by whichever thread received the signal.
"""

import atexit
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ferry_core.cli.leaving import leave
from ferry_core.errors import ExitCode

SIGNALS = (signal.SIGINT, signal.SIGTERM)
NOBODYS = (leave, signal.SIG_DFL, signal.default_int_handler)
"""Handlers that are not restored, because they are Python's defaults or our own."""


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """While entered, the first signal calls ``stop`` and the second ends the process; afterwards only the second one
    does.

    The main thread must enter it. ``stop`` may be called in any thread.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)  # required by the signal module
    wakeup_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, _seen_by_the_thread) for number in SIGNALS}
    inside, seen = threading.Event(), threading.Event()
    inside.set()

    def first() -> None:
        if inside.is_set():
            stop()

    threading.Thread(target=_read_signals, args=(reader, seen, first), name="ferry-signals", daemon=True).start()
    try:
        yield
    finally:
        inside.clear()
        if seen.is_set() or all(handler in NOBODYS for handler in before.values()):
            # The outcome of the run is known: a late signal does not change the exit code. A second signal still ends a
            # process that hangs. But in the interpreter's last moments, after all threads, it would meet Python's
            # default handler, and the exit code would be that of a death by signal.
            atexit.register(_be_deaf, writer)
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            writer.close()


def _read_signals(reader: socket.socket, seen: threading.Event, first: Callable[[], None]) -> None:
    """Run until the other end is closed.

    ``first`` gets a thread of its own, because it may wait for a lock; the second signal must not wait.
    """
    with reader:
        while number := reader.recv(1):
            if number[0] not in SIGNALS:
                continue
            if seen.is_set():
                os._exit(ExitCode.TERMINATED)
            seen.set()
            threading.Thread(target=first, name="ferry-stop", daemon=True).start()


def _seen_by_the_thread(_number: int, _frame: FrameType | None) -> None:
    """A handler that does nothing: without a handler Python would not write to the wakeup file descriptor."""


def _be_deaf(_writer: socket.socket) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
