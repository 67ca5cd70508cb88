"""Runs work in a thread that its caller can abandon, so that a server that hangs blocks nobody. Used by ``attempt``.

Abandoned work ends by the timeouts of its own sessions.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Starts at once. ``result`` is available after ``ended``."""

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
        """Wait until it ends; False if it does not within the time."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """The exception raised, if it has ended with one."""
        return self._error

    def result(self) -> T:
        """The return value, or the exception raised."""
        if self._error is not None:
            raise self._error
        return self._value
