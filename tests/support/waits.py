"""What a test waits for: a condition, or work in a thread of its own."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 180.0
"""For what is over at once on an idle machine: a busy one takes 20 times as long. Only a failing test waits it out."""


def wait_until(reached: Callable[[], object], what: str = "it happens", seconds: float = PATIENCE_SECONDS) -> float:
    """Wait until ``reached`` returns something true; returns how many seconds that took."""
    began = time.monotonic()
    while not reached():
        assert time.monotonic() - began < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.01)
    return time.monotonic() - began


class Background:
    """Work in a thread of its own."""

    def __init__(self, body: Callable[[], object]) -> None:
        self._body = body
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._body()
        except BaseException as error:  # noqa: BLE001 - raised where it is joined
            self._error = error

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stays(self, seconds: float = 1.0) -> bool:
        """Whether it is still running after that long."""
        self._thread.join(seconds)
        return self.running

    def join(self, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for its end; raises what it raised."""
        self._thread.join(seconds)
        assert not self.running, "it does not end"
        if self._error is not None:
            raise self._error


class UntilStopped(ABC):
    """What a thread of its own does from ``start`` to ``stop``."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name=type(self).__name__, daemon=True)

    @abstractmethod
    def run(self) -> None:
        """Until ``stopping`` is set."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.stopping.set()
        self._thread.join()


@contextmanager
def meanwhile(body: Callable[[threading.Event], object]) -> Iterator[None]:
    """``body`` runs in a thread of its own until the event that it gets is set, at the end of the block.

    Raises what it raised.
    """
    over = threading.Event()
    work = Background(lambda: body(over))
    try:
        yield
    finally:
        over.set()
        work.join()
