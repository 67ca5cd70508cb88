"""What people and operators want of a running Ferry: paused, approved, aborted, how fast. The last writer wins.

Thread-safe. Written by the ControlServer's threads and by signals, read by the coordinator and the workers.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ferry_core.api.directive import Directive
from ferry_core.api.safety_override import SafetyOverride
from ferry_core.errors import Terminated
from ferry_core.intent.cutover_request import CutoverRequest
from ferry_core.reasons import Reason


def aborted() -> Terminated:
    """How a run ends by an abort."""
    return Terminated(Reason.ABORTED, "aborted: copying has stopped, the target is kept as it is")


class Intent:
    """Starts from the manifest; verbs change single intent, a directive replaces them all."""

    def __init__(self, directive: Directive) -> None:
        self._condition = threading.Condition()
        self._directive = directive
        self._override: SafetyOverride | None = None
        self._series = 1
        request = CutoverRequest.of(directive.cutover)
        # A start without permission is no withdrawal: under an operator it is given only by the directive.
        self._first_request = self._request = request if request.wanted else None
        self.spec_paused = directive.paused
        self.paused_by_verb: bool | None = None
        """The last pause or resume verb; None: as the spec says."""
        self._listeners: list[Callable[[], None]] = []
        self._one_listens = threading.RLock()
        self._cutting_over = False
        self.stopping = threading.Event()
        self.aborted = threading.Event()
        if directive.aborted:
            self.aborted.set()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Called after each change, in the thread that made it, one thread at a time.

        It reads what is wanted by then: of two changes at once the later call sees both, so none is applied over a
        newer one. A pause applied late would stop an attempt to cut over that has begun, with writes stopped.
        """
        self._listeners.append(listener)

    @contextmanager
    def followed(self, listener: Callable[[], None]) -> Iterator[None]:
        """Inside, ``listener`` is called at once and after each change."""
        self.on_change(listener)
        try:
            with self._one_listens:
                listener()
            yield
        finally:
            with self._one_listens:
                self._listeners.remove(listener)

    @property
    def directive(self) -> Directive:
        """Everything that is wanted now."""
        with self._condition:
            return self._directive

    @property
    def paused(self) -> bool:
        """Not while cutting over: it would only keep writes on the source blocked until the deadline."""
        with self._condition:
            return self._directive.paused and not self._cutting_over

    def cutting_over(self, under_way: bool) -> None:
        """An attempt begins, or has failed: a pause that was request for meanwhile takes effect then."""
        with self._condition:
            self._cutting_over = under_way
        self._tell()

    @property
    def series(self) -> tuple[int, CutoverRequest]:
        """Number of the series of cutover attempts, and what was said last of them.

        A new approval or a higher maxAttempts begins a new series. The first is the one that a restart goes on with.
        """
        with self._condition:
            return self._series, self._request or CutoverRequest.of(self._directive.cutover)

    @property
    def wants_cutover(self) -> bool:
        return CutoverRequest.of(self.directive.cutover).wanted

    def replace(self, directive: Directive) -> None:
        """Take over a directive; one of an older generation is ignored."""
        with self._condition:
            if directive.generation < self._directive.generation:
                return
            if self._override is not None and directive.generation < self._override.generation:
                directive = self._override.applied_to(directive)
            else:
                self._override = None
            self.spec_paused, self.paused_by_verb = directive.paused, None
            self._ask(CutoverRequest.of(directive.cutover))
            self._take(directive)
        self._tell()

    def override(self, override: SafetyOverride) -> None:
        """Obey of a directive that is refused what holds back; its generation is not acted on."""
        with self._condition:
            if override.generation < self._directive.generation:
                return
            self._override = override.with_what_held(self._override)
            directive = self._override.applied_to(self._directive)
            if override.paused:
                self.spec_paused, self.paused_by_verb = True, None
            if override.withdrawn:
                self._ask(CutoverRequest.of(directive.cutover))
            self._take(directive)
        self._tell()

    def _take(self, directive: Directive) -> None:
        """Under the lock."""
        self._directive = directive
        if directive.aborted:
            self.aborted.set()

    def _ask(self, request: CutoverRequest) -> None:
        """Under the lock."""
        if self._request is None:
            self._first_request = request
        elif request.begins_anew(self._request):
            self._series += 1
        self._request = request

    def restore_series(self, before: CutoverRequest) -> None:
        """What was said last to an earlier run: the same said again to this one, already or to come, is nothing new."""
        with self._condition:
            if self._first_request is None:
                self._request = before
            elif self._first_request.begins_anew(before):
                self._series += 1

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
            cutover = self._directive.cutover.model_copy(update={"approved": True})
            self._ask(CutoverRequest.of(cutover))
        self.change(cutover=cutover)

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
        with self._one_listens:
            for listener in tuple(self._listeners):
                listener()
