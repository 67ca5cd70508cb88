"""Keeps the ``DesiredState``: changed under one lock, and polled. There are no listeners.

Verbs and directives change it, in threads of the ControlServer and of the signals. The coordinator reads it at each
tick, a worker before each step and each commit. So all of them follow one value, in whatever order the changes came.
"""

import threading
from collections.abc import Callable

from ferry_core.api.directive import Directive
from ferry_core.intent.desired_state import DesiredState


class Intent:
    """Thread-safe."""

    def __init__(self, directive: Directive) -> None:
        self._condition = threading.Condition()
        self._now = DesiredState.at_start(directive)

    @property
    def now(self) -> DesiredState:
        """The current value. Reading needs no lock, because values are immutable."""
        return self._now

    def change(self, to: Callable[[DesiredState], DesiredState]) -> DesiredState:
        """Replace the value by ``to(value)`` and wake up threads that wait for a change."""
        with self._condition:
            self._now = to(self._now)
            self._condition.notify_all()
            return self._now

    def wait_changed(self, timeout: float) -> None:
        """Wait until the value is replaced or ``timeout`` seconds have passed."""
        with self._condition:
            self._condition.wait(timeout)
