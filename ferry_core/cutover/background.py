"""Work in a thread that its caller may leave behind: whoever waits for a server that hangs must hold up nobody.

Called by ``attempt``. A piece of work that was left behind ends by the timeouts of its own sessions.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Begins at once; ``result`` after ``ended``."""

    def __init__(self, name: str, body: Callable[[], T]) -> None:
        self._body = body
        self._value: T
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._body()
        except BaseException as error:  # noqa: BLE001 - raised by ``result``
            self._error = error

    def ended(self, seconds: float) -> bool:
        """Whether it ends within the time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What it returned; raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._value
