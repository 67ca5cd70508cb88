"""Where the ``DesiredState`` is kept: changed under one lock, and pulled. Nobody is told of a change.

Verbs and directives change it, in the ControlServer's threads and in that of signals. The coordinator reads it at each
tick, a worker before each step and each commit: what they do follows from one value, whatever order changes came in.
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
        """What is wanted now; reading needs no lock, the value never changes."""
        return self._now

    def change(self, to: Callable[[DesiredState], DesiredState]) -> DesiredState:
        """Replace the value by what ``to`` makes of it; whoever waits for a change wakes up."""
        with self._condition:
            self._now = to(self._now)
            self._condition.notify_all()
            return self._now

    def wait_changed(self, timeout: float) -> None:
        """Until the value is replaced, or ``timeout`` seconds passed."""
        with self._condition:
            self._condition.wait(timeout)
