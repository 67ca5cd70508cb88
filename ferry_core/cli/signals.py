"""SIGINT and SIGTERM: the first asks the run to checkpoint and leave, the second leaves at once. Called by ``run``.

The kernel may hand a signal to any thread, while Python runs its handlers in the main thread alone: one that waits in a
system call for a server that hangs is then not interrupted, and the signal waits as long as it does. So a thread of
its own reads the numbers of signals from the wakeup file, which is written by whichever thread was hit.
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
"""These handlers are never restored: the process belongs to the command."""


@contextmanager
def stop_on_signal(stop: Callable[[], None]) -> Iterator[None]:
    """While inside, the first signal calls ``stop`` and the second one ends the process; afterwards, only the second.

    Entered by the main thread. ``stop`` may be called in any thread.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)  # as the signal module demands
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
            # How the run ended is known: a signal that comes late does not change the exit code. A second one still
            # ends whatever hangs; only in the interpreter's last moments, after all threads, it would find Python's
            # default and turn the exit code into that of a death by signal.
            atexit.register(_be_deaf, writer)
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(wakeup_before)
            writer.close()


def _read_signals(reader: socket.socket, seen: threading.Event, first: Callable[[], None]) -> None:
    """Until the other end is closed. ``first`` has a thread of its own: it may wait for a lock, the second must not."""
    with reader:
        while number := reader.recv(1):
            if number[0] not in SIGNALS:
                continue
            if seen.is_set():
                os._exit(ExitCode.TERMINATED)
            seen.set()
            threading.Thread(target=first, name="ferry-stop", daemon=True).start()


def _seen_by_the_thread(_number: int, _frame: FrameType | None) -> None:
    """Without a handler Python would not write to the wakeup file."""


def _be_deaf(_writer: socket.socket) -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
