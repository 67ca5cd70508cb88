"""Copiers that are forked from a process that has imported everything: imports take most of a start.

Each is a process of its own, with the same command line as ``ferry run``.
"""

import contextlib
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path

_PRELOADED = ["ferry_core.__main__", "ferry_core.cli.run", "ferry_core.run.ferry", "ferry_core.cli.engine"]


def context() -> ForkServerContext:
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


class Forked:
    """As ``subprocess.Popen``, as far as ``FerryProcess`` needs it."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        process = context().Process(target=_run, args=(list(arguments), str(log)))
        process.start()
        assert process.pid is not None
        self.pid: int = process.pid
        self._process = process
        self._asking = threading.Lock()

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def poll(self) -> int | None:
        with self._asking:  # the code can be read once
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (math.inf if timeout is None else timeout)
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("ferry", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _run(arguments: list[str], log: str) -> None:
    from ferry_core.__main__ import main

    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for standard in (1, 2):
        os.dup2(handle, standard)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.argv = ["ferry", *arguments]
    main()
