"""Reports the cutover: gates, attempts, uncertain outcomes, and writes that the source accepts after it. Decides
nothing.

The part of ``StatusReporter`` that the coordinator uses from Streaming on.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ferry_core.api.choices import CutoverMode
from ferry_core.api.report import Stage
from ferry_core.binlog.unresumable import UnresumableEvent
from ferry_core.cutover.gates import LAG, WINDOW, MissingGate, listed
from ferry_core.cutover.outcome import AttemptOutcome
from ferry_core.errors import DataError, FerryError
from ferry_core.reasons import Condition, Reason
from ferry_core.report.logged_progress import LoggedProgress
from ferry_core.report.wording import HOW_TO_APPROVE, HOW_TO_TRY_AGAIN
from ferry_core.text import counted, shortlist

if TYPE_CHECKING:
    from ferry_core.workers.background_verifier import BackgroundVerifier

log = logging.getLogger(__name__)


class CutoverReporter(ABC):
    """Used in the coordinator's thread only."""

    def __init__(self, progress: LoggedProgress) -> None:
        self.progress = progress
        self._verification: BackgroundVerifier | None = None
        self._blocked_milliseconds: int | None = None
        self._written_after = self._writers_waited = 0
        self._waiters_known = True
        self._last_failure = ""
        self._doubted = ""
        self._held = False
        self._max_lag = 0.0

    @property
    def stage(self) -> Stage:
        """The run's stage. The report holds the only copy of it in memory."""
        return self.progress.stage

    @abstractmethod
    def message(self, text: str) -> None:
        """What the run is doing, in one sentence."""

    @abstractmethod
    def lag(self) -> float | None:
        """In seconds; None: unknown."""

    @abstractmethod
    def left_out(self) -> str:
        """Tables that appeared after the start: moved, not moved, or left on the target. Empty if there are none."""

    def and_left_out(self, text: str) -> str:
        """``text``, followed by the tables that appeared after the start."""
        return "; ".join(filter(None, (text, self.left_out())))

    def gates(self, missing: Sequence[MissingGate], *, wanted: bool, exhausted: bool = False) -> None:
        """Report the missing gates. ``exhausted``: no attempt is left until a person acts."""
        set_condition = self.progress.set_condition
        failed = f"; the last attempt failed: {self._last_failure}" if self._last_failure else ""
        if missing:
            set_condition(Condition.READY_FOR_CUTOVER, False, missing[0].reason, listed(missing))
            self.message(f"streaming changes{failed}; before the cutover: {'; '.join(map(str, missing))}")
        else:
            set_condition(Condition.READY_FOR_CUTOVER, True, Reason.GATES_PASSED, self.left_out())
            if not wanted:
                self.message(self.and_left_out(f"ready to cut over; waiting for approval ({HOW_TO_APPROVE}){failed}"))
        self._report_stalled(missing, wanted=wanted, exhausted=exhausted)
        self._report_hold(missing, wanted=wanted)
        self._report_caught_up(next((gate for gate in missing if gate.reason in LAG), None))
        if self._verification is None:
            set_condition(Condition.VERIFIED, None, Reason.UNPROVEN, "verify.mode is None: no row is compared")
        elif self._verification.differing:
            set_condition(Condition.VERIFIED, False, Reason.ROWS_DIFFER, self._verification.differing)
        elif repairing := self._verification.repairing:
            set_condition(Condition.VERIFIED, None, Reason.RUNNING, repairing)
        elif self._verification.proven:
            set_condition(Condition.VERIFIED, True, Reason.NO_DIFFERENCE, self._verification.unseen)
        else:
            set_condition(Condition.VERIFIED, None, Reason.RUNNING)

    def _report_caught_up(self, lagging: MissingGate | None) -> None:
        set_condition = self.progress.set_condition
        if lagging is None:
            set_condition(Condition.CAUGHT_UP, True, Reason.LAG_BELOW_THRESHOLD)
        else:
            unknown = lagging.reason is Reason.LAG_UNKNOWN
            set_condition(Condition.CAUGHT_UP, None if unknown else False, lagging.reason, lagging.message)

    def _report_stalled(self, missing: Sequence[MissingGate], *, wanted: bool, exhausted: bool) -> None:
        missed = next((gate for gate in missing if gate.reason is Reason.WINDOW_MISSED), None)
        if wanted and missed is not None:
            self.progress.set_condition(Condition.STALLED, True, missed.reason, missed.message)
        elif not exhausted:
            self.progress.set_condition(Condition.STALLED, False, Reason.NOT_STALLED)

    def _report_hold(self, missing: Sequence[MissingGate], *, wanted: bool) -> None:
        """Report what the cutover waits for: approval first, then a gate.

        The outcome of an attempt stays visible longer than a gate, except one that a failed attempt cannot outlive.
        """
        set_condition = self.progress.set_condition
        window = next((gate for gate in missing if gate.reason in WINDOW), None)
        if wanted and window is not None and (window.reason is Reason.WINDOW_MISSED or not self._last_failure):
            self._held = True
        if not wanted and (self._held or not missing):
            set_condition(Condition.CUT_OVER, False, Reason.AWAITING_APPROVAL)
            self._held = True
        elif missing and self._held:
            set_condition(Condition.CUT_OVER, False, missing[0].reason, listed(missing))

    def attempt_begins(self, number: int, max_lag: float) -> None:
        self._held = False
        self._max_lag = max_lag
        self._last_failure = self._doubted = ""
        self.progress.set_condition(Condition.CUT_OVER, False, Reason.IN_PROGRESS, f"attempt {number} is running")
        self.message(f"cutting over, attempt {number}: stopping writes on the source")
        self.progress.attempt_begins(number)

    def writes_stopped(self, number: int) -> None:
        self.message(f"cutting over, attempt {number}: writes on the source are stopped")

    def doubt(self, error: FerryError) -> None:
        """Report that it is unknown for now whether the source may be unlocked, while the run still tries to find
        out.
        """
        if error.reason != self._doubted:
            self._doubted = error.reason
            log.error("%s", error.message)
        self.progress.set_condition(Condition.CUT_OVER, False, error.reason, error.message)
        self.message(error.message)

    def attempt_ended(self, attempt: AttemptOutcome) -> None:
        self.progress.attempt_ended(attempt.reason, attempt.blocked_milliseconds)
        self.progress.set_condition(Condition.CUT_OVER, attempt.done, attempt.reason, attempt.message)
        if attempt.done:
            self._blocked_milliseconds = attempt.blocked_milliseconds
            self._report_caught_up(None)
            self.progress.set_condition(Condition.STALLED, False, Reason.NOT_STALLED)
        else:
            self._last_failure = f"{attempt.reason}: {attempt.message}"
            then = ", writes are allowed again" if attempt.blocked_milliseconds else ""
            self.message(f"cutover attempt failed{then}: {attempt.message}")

    def objects_missing(self, text: str) -> None:
        """The cutover is recorded, and triggers or events are not finished yet."""
        self.progress.set_condition(Condition.STALLED, True, Reason.OBJECTS_MISSING, text)
        self.message(text)

    def attempts_exhausted(self, attempts: int, mode: CutoverMode) -> None:
        last = f", the last one: {self._last_failure}" if self._last_failure else ""
        text = f"{counted(attempts, 'attempt')} failed{last}; {HOW_TO_TRY_AGAIN[mode]}"
        self.progress.set_condition(Condition.CUT_OVER, False, Reason.ATTEMPTS_EXHAUSTED, text)
        self.progress.set_condition(Condition.STALLED, True, Reason.ATTEMPTS_EXHAUSTED, text)
        self.message(text)

    def source_written(self, changes: int, rows: Callable[[], Sequence[str]]) -> None:
        """The source accepted writes after the cutover. ``rows`` names them, a line for each table."""
        if changes > self._written_after:
            self._written_after = changes
            text = (
                f"after the cutover the source took {counted(changes, 'row change')} of selected tables, which the "
                f"target does not have: find who writes, and apply by hand: {shortlist(rows(), 20, ', ')}"
            )
            log.error("%s", text)
            self.progress.set_condition(Condition.STALLED, True, Reason.SOURCE_WRITTEN_AFTER_CUTOVER, text)

    def writers_waited(self, end_lock: Callable[[], Sequence[str]]) -> bool:
        """``end_lock`` ends the lock on the source and gives the statements that had waited for it.

        False once that is not known; then a write may go unnoticed.
        """
        try:
            waiting = end_lock()
        except FerryError as error:
            self._waiters_known = False
            self.not_watched(f"which statements on the source waited until its lock ended is not known: {error}")
            return False
        if waiting:
            self._writers_waited += len(waiting)
            text = (
                f"when the lock on the source ended, {counted(len(waiting), 'statement')} there waited for locked "
                "tables and may have written since, also later in their transactions: the target does not have that: "
                f"{shortlist(waiting, 10, '; ')}"
            )
            log.error("%s", text)
            self.progress.set_condition(Condition.STALLED, True, Reason.SOURCE_WRITTEN_AFTER_CUTOVER, text)
        return self._waiters_known

    @staticmethod
    def writers_in_doubt(end_lock: Callable[[], Sequence[str]]) -> str:
        """The same when it is not known whether the cutover was recorded: a text, empty if nothing waited."""
        try:
            waiting = end_lock()
        except FerryError as error:
            return f". Which statements on the source waited until its lock ended is not known: {error}"
        if not waiting:
            return ""
        return (
            f". When the lock on the source ended, {counted(len(waiting), 'statement')} there waited for locked "
            "tables and may have written since: if the cutover was recorded, the target does not have that: "
            f"{shortlist(waiting, 10, '; ')}"
        )

    def source_changed(self, error: DataError) -> None:
        """After the cutover the stream met something that no run can follow: a statement, or a changed table."""
        self._written_after += 1
        what = error.what if isinstance(error, UnresumableEvent) else error.message
        text = f"selected tables were changed on the source after the cutover: {what}"
        log.error("%s", text)
        self.progress.set_condition(Condition.STALLED, True, Reason.SOURCE_WRITTEN_AFTER_CUTOVER, text)

    def not_watched(self, text: str) -> None:
        """Writes that the source accepted after the cutover may have gone unnoticed."""
        log.warning("%s", text)
        self.progress.set_message(f"cut over; writes may move to the target; {text}")

    @property
    def written_after(self) -> int:
        """Writes on the source that are not on the target, as far as they are known."""
        return self._written_after + self._writers_waited

    def report_lag_of_attempt(self) -> None:
        """Report the lag during an attempt.

        At other times the gates report it, and they also require it to stay small for a while.
        """
        if self.stage is Stage.CUTTING_OVER:
            lag = self.lag()
            if lag is None:
                self._report_caught_up(MissingGate(Reason.LAG_UNKNOWN, "lag unknown during the attempt"))
            elif lag > self._max_lag:
                self._report_caught_up(MissingGate(Reason.LAG_ABOVE_THRESHOLD, f"lag {lag:.1f} s during the attempt"))
