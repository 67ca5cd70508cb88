"""Creates triggers and sets events after the record of the cutover, while the run stays visible and can be stopped.

The work is done in a thread, because a target that hangs would hold the run for as long as its sessions wait. What may
pass is retried as long as triggers come into being; then the run ends, and names what is missing. A stop ends it at
once. The next start continues here. Used by the coordinator, and by ``startup`` after a kill.
"""

import logging
import time
from collections.abc import Callable

from ferry_core.api.report import Stage
from ferry_core.api.spec import Spec
from ferry_core.checkpoint.state import RunState
from ferry_core.checkpoint.target import TargetStore
from ferry_core.consistency.fence import Fence
from ferry_core.cutover.background import Background
from ferry_core.errors import RetriableError, ServerRestarted, Terminated
from ferry_core.reasons import Reason
from ferry_core.run.objects import AFTER, TargetObjects
from ferry_core.run.own_objects import restored_late
from ferry_core.run.setup import RunContext
from ferry_core.schema.objects import created_kinds
from ferry_core.text import shortlist

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.1
TELL_SECONDS = 2.0
"""How long it may take before people are told what is missing."""
PATIENCE_SECONDS = 60.0
"""How long no trigger may come into being before the run ends. A CREATE TRIGGER waits 5 s for users of its table."""
AGAIN_SECONDS = 1.0
SHOWN = 10


class LateWork:
    """``tick`` is called all the time; it must not raise. ``stopping`` tells whether to stop, ``tell`` tells people."""

    def __init__(
        self,
        objects: TargetObjects,
        tick: Callable[[], None],
        stopping: Callable[[], bool],
        tell: Callable[[str], None],
    ) -> None:
        self._objects = objects
        self._tick = tick
        self._stopping = stopping
        self._tell = tell
        self._told = False
        self._trouble = "the target has not answered"
        self._left = -1
        self._began = self._news = time.monotonic()

    def finish(self) -> int:
        """Returns milliseconds.

        Raises RetriableError when patience is over and Terminated after a stop; both name what is missing. Raises
        DataError if the target refuses something.
        """
        while True:
            work = Background("objects", self._objects.finish)
            while not work.ended(SLICE_SECONDS):
                self._look()
            try:
                work.result()
            except ServerRestarted:
                raise
            except RetriableError as error:
                self._trouble = error.message
            else:
                return round((time.monotonic() - self._began) * 1000)
            self._pause()

    def _look(self) -> None:
        now, left = time.monotonic(), len(self._objects.left)
        if left != self._left:
            self._left, self._news = left, now
        self._tick()
        if now - self._began > TELL_SECONDS:
            self._say()
        if self._stopping():
            raise Terminated(Reason.STOPPED, f"stopped after the cutover; {self._missing()}")
        if now - self._news > PATIENCE_SECONDS:
            raise RetriableError(Reason.OBJECTS_MISSING, self._missing())

    def _pause(self) -> None:
        until = time.monotonic() + AGAIN_SECONDS
        while time.monotonic() < until:
            self._look()
            time.sleep(SLICE_SECONDS)

    def _say(self) -> None:
        text = self._missing()
        self._tell(text)
        if not self._told:
            self._told = True
            log.error("%s", text)
            for one, it in (self._objects.left or self._objects.after_cutover).items():
                log.error("%s (sql_mode '%s'): %s", one, it.sql_mode, it.statement.decode("utf-8", "replace"))

    def _missing(self) -> str:
        names = [str(one) for one in self._objects.left or self._objects.after_cutover]
        return (
            "the cutover is recorded and applications may use the target, but these may be missing or disabled: "
            f"{shortlist(names, SHOWN)} ({self._trouble}). The next start of this Ferry finishes them; by hand: "
            "their statements are in the log"
        )


def finish_left(
    context: RunContext,
    state: RunState,
    tick: Callable[[], None],
    stopping: Callable[[], bool],
    tell: Callable[[str], None],
) -> None:
    """Finish the work of a run that ended between the record of its cutover and the last trigger."""
    if state.objects.finished or context.lease is None:
        return
    fence = Fence(context.connections.lease, context.uid, context.lease.epoch)
    objects = TargetObjects(context.ferry.spec, context.tables, context.connections, fence)
    objects.adopt(None if state.objects.late is None else restored_late(state.objects.late))
    LateWork(objects, tick, stopping, tell).finish()
    state.objects.finished = True
    state.objects.late = None
    state.stage = Stage.COMPLETED.value
    if isinstance(context.store, TargetStore):
        context.store.fence = fence
    context.store.save(state, max(state.epoch, fence.epoch))


def unknown_without_state(spec: Spec) -> str:
    """What a run whose state is lost cannot tell about its triggers and events."""
    if not created_kinds(spec.schema_.objects).intersection(AFTER):
        return ""
    return (
        ", so it is unknown whether all triggers exist and all events are enabled there: compare SHOW TRIGGERS and "
        "SHOW EVENTS of both servers"
    )
