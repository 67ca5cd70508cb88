"""Keeps row writes from beginning: during a pause, and while an attempt to cut over is undone. Used by ``engine``."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferry_core.cancellation import Cancellation
from ferry_core.errors import Interrupted
from ferry_core.reasons import Reason
from ferry_core.throttle import Throttle

IDLE_SECONDS = 0.05
KILL_SECONDS = 0.5


class StandingAside:
    """Asked by every step before it begins, and by the fence before each transaction that moves rows."""

    def __init__(self, throttle: Throttle, ending: Cancellation, interrupt: Callable[[], None]) -> None:
        """``interrupt`` kills the statements of running steps."""
        self._throttle = throttle
        self._ending = ending
        self._interrupt = interrupt
        self._aside = threading.Event()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """While entered, no row write begins, and running ones are killed, so that none holds the lease row."""
        over = threading.Event()

        def keep_killing() -> None:
            while not over.is_set():  # a KILL between two statements of a transaction has no effect
                self._interrupt()
                over.wait(KILL_SECONDS)

        self._aside.set()
        killer = threading.Thread(target=keep_killing, name="stand-aside", daemon=True)
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join()
            self._aside.clear()

    def refuse_writes(self) -> None:
        """Called before each row-moving transaction begins and commits."""
        if self._throttle.pause.paused:
            raise Interrupted(Reason.PAUSED, "paused: this step is repeated after the pause")
        if self._aside.is_set():
            raise Interrupted(Reason.STANDING_ASIDE, "this step is repeated once the source is unlocked")

    def wait_allowed(self) -> None:
        self._throttle.pause.wait_resumed(self._ending)
        while self._aside.is_set() and not self._ending.wait(IDLE_SECONDS):
            pass
