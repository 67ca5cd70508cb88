"""The watch after the cutover: reports writes that the source still accepts. Used by ``coordinator``, in its thread."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from ferry_core.errors import DataError, FerryError, KeyUnusable
from ferry_core.intent.intent import Intent
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.phases import Exit
from ferry_core.run.started import Started

if TYPE_CHECKING:
    from ferry_core.run.late_writes import WatchedEnd

log = logging.getLogger(__name__)


class Watch:
    """``follow`` once, for ``cutover.watchFor``."""

    def __init__(self, run: Started, reporter: StatusReporter, intent: Intent, nap: Callable[[], None]) -> None:
        self._run = run
        self._reporter = reporter
        self._intent = intent
        self._nap = nap

    def follow(self) -> Exit:
        run, watch_for = self._run, float(self._intent.now.directive.cutover.watch_for)
        run.operations.keep_lock(watch_for)
        log.info("watching the source for late writes for %g s", watch_for)
        until = time.monotonic() + watch_for
        end: WatchedEnd | None = None
        while True:
            passed = watch_for == 0 or (end is not None and end.passed())  # asked before the changes are counted
            if self._broke_off():
                break
            self._reporter.tick()
            self._look_at_lock()
            if passed:
                log.info("watched the source: %d changes since the cutover", max(0, self._written))
                run.checkpoints.state.watched = True
                break
            if end is not None and (end.given_up or self._intent.now.stopping):
                self._reporter.not_watched(end.unseen)
                break
            if end is None and (time.monotonic() >= until or self._intent.now.stopping):
                log.info("the watch ends once the stream has read what is in the source's binlog now")
                self._reporter.writers_waited(run.operations.stop_keeping_lock)
                end = run.operations.watched_end()
            self._nap()
        if not self._reporter.writers_waited(run.operations.stop_keeping_lock):
            run.checkpoints.state.watched = False
        with suppress(FerryError):  # otherwise the next start says that nobody has watched it
            run.checkpoints.save()
        return Exit.SOURCE_WRITTEN if self._reporter.written_after else Exit.SOURCE_QUIET

    @property
    def _written(self) -> int:
        return self._run.operations.late_changes(self._run.handed_over)

    def _broke_off(self) -> bool:
        """Report what was written. Returns whether the source can no longer be watched."""
        operations, written = self._run.operations, self._written
        if written:  # checked first: an event right after the record may have ended a flush, and the engine with it
            self._reporter.source_written(written, operations.late_rows)
        try:
            operations.check()
        except DataError as error:
            self._reporter.source_changed(error)
            self._run.checkpoints.state.watched = True
        except KeyUnusable:
            self._reporter.source_written(max(written, 1), operations.late_rows)
        except FerryError as error:
            self._reporter.not_watched(f"the source can no longer be watched for late writes: {error}")
        else:
            return False
        return True

    def _look_at_lock(self) -> None:
        if self._run.operations.lock_lost:
            self._reporter.writers_waited(self._run.operations.stop_keeping_lock)
