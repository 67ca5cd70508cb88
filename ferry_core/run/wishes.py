"""What people and operators want of a running Ferry: paused, approved, aborted, how fast. The last writer wins.

Thread-safe. Written by the ControlServer's threads and by signals, read by the coordinator and the workers.
"""

import threading
from collections.abc import Callable

from ferry_core.api.choices import CutoverMode
from ferry_core.api.directive import Directive


class Wishes:
    """Starts from the manifest; verbs change single wishes, a directive replaces them all."""

    def __init__(self, directive: Directive) -> None:
        self._condition = threading.Condition()
        self._directive = directive
        self._series = 1
        self.spec_paused = directive.paused
        self.paused_by_verb: bool | None = None
        """The last pause or resume verb; None: as the spec says."""
        self._listeners: list[Callable[[], None]] = []
        self.stopping = threading.Event()
        self.aborted = threading.Event()
        if directive.aborted:
            self.aborted.set()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Called after each change, in the thread that made it."""
        self._listeners.append(listener)

    @property
    def directive(self) -> Directive:
        """Everything that is wanted now."""
        with self._condition:
            return self._directive

    @property
    def paused(self) -> bool:
        return self.directive.paused

    @property
    def series(self) -> int:
        """Number of the series of cutover attempts: a new approval or a higher maxAttempts begins a new one."""
        with self._condition:
            return self._series

    @property
    def wants_cutover(self) -> bool:
        cutover = self.directive.cutover
        return cutover.mode is CutoverMode.AUTOMATIC or cutover.approved

    def replace(self, directive: Directive) -> None:
        """Take over a directive; one of an older generation is ignored."""
        with self._condition:
            if directive.generation < self._directive.generation:
                return
            self.spec_paused, self.paused_by_verb = directive.paused, None
            self._take(directive)
        self._tell()

    def _take(self, directive: Directive) -> None:
        """Under the lock."""
        before = self._directive
        approved_again = directive.cutover.approved and not before.cutover.approved
        if approved_again or directive.cutover.max_attempts > before.cutover.max_attempts:
            self._series += 1
        self._directive = directive
        if directive.aborted:
            self.aborted.set()

    def change(self, **fields: object) -> None:
        """Change single fields of the directive: what the verbs of a local run do."""
        with self._condition:
            self._take(self._directive.model_copy(update=fields))
        self._tell()

    def pause(self, paused: bool) -> None:
        """The pause and resume verbs."""
        with self._condition:
            self.paused_by_verb = paused
        self.change(paused=paused)

    def restore_pause(self, paused: bool | None, over: bool) -> None:
        """What an earlier run's last verb said, unless ``spec.paused`` is another since, or a newer verb was given."""
        if paused is not None and over == self.spec_paused and self.paused_by_verb is None:
            self.pause(paused)

    def approve(self) -> None:
        """The cutover verb; given again it begins a new series of attempts."""
        with self._condition:
            self._series += 1
        self.change(cutover=self.directive.cutover.model_copy(update={"approved": True}))

    def stop(self) -> None:
        """End the run, keeping its state."""
        self.stopping.set()
        self._tell()

    def abort(self) -> None:
        """End the run for good: undo the source lock, keep the target."""
        self.aborted.set()
        self._tell()

    def wait_changed(self, timeout: float) -> None:
        """Until anything is wished anew, or ``timeout`` seconds passed."""
        with self._condition:
            self._condition.wait(timeout)

    def _tell(self) -> None:
        with self._condition:
            self._condition.notify_all()
        for listener in self._listeners:
            listener()
