"""Keeps the copier of a round running, as an operator would: starts it again, and approves the cutover when told to."""

import contextlib
import signal
import threading
import time
import urllib.error
from collections.abc import Callable

from tests.support.ferry_cli import LONG_SECONDS, FerryProcess
from tests.support.servers import free_port
from tests.support.waits import UntilStopped

_TICK_SECONDS = 0.1
_KILLED = (-signal.SIGKILL, -signal.SIGTERM, 143)
_TEMPORARY = 75


class Keeper(UntilStopped):
    """``over`` once the copier has ended in a way that no start follows; ``code`` is its exit code then."""

    def __init__(self, ferry: FerryProcess) -> None:
        super().__init__()
        self._ferry = ferry
        self.approving = threading.Event()
        self.over = threading.Event()
        self.code: int | None = None
        self._not_before = 0.0
        self._process = threading.Lock()

    def start(self) -> None:
        self._ferry.start()
        super().start()

    def kill(self, signal_number: signal.Signals, down: float, meanwhile: Callable[[], None] = lambda: None) -> bool:
        """End it now, and start it again after that many seconds. False if it had ended by itself."""
        with self._process:
            self._not_before = time.monotonic() + down
            assert self._ferry.process is not None
            if running := self._ferry.process.poll() is None:
                self._ferry.process.send_signal(signal_number)
                self._ferry.wait_end()
            meanwhile()
        return running

    def replace(self, seconds: float) -> int | None:
        """Another one takes over while this one is suspended, which wakes after that time. Gives its exit code then."""
        with self._process:
            older = self._ferry.process
            if older is None or older.poll() is not None:
                return None
            older.send_signal(signal.SIGSTOP)
            self._ferry.process = None
            self._ferry.port = free_port()
            self._ferry.options.append("--take-over")
            self._ferry.start()
            self._ferry.options.remove("--take-over")
        time.sleep(seconds)  # duration of the fault
        older.send_signal(signal.SIGCONT)
        return older.wait(LONG_SECONDS)

    def run(self) -> None:
        while not self.stopping.wait(_TICK_SECONDS) and not self.over.is_set():
            with self._process:
                self._look()

    def _look(self) -> None:
        assert self._ferry.process is not None
        code = self._ferry.process.poll()
        if code is None:
            self._approve()
        elif code in (*_KILLED, _TEMPORARY):
            if time.monotonic() >= self._not_before:
                self._ferry.start()
        else:
            self.code = code
            self.over.set()

    def _approve(self) -> None:
        if self.approving.is_set() and self._ferry.status().get("stage") == "ReadyForCutover":
            with contextlib.suppress(OSError, urllib.error.URLError):
                self._ferry.post("cutover")
