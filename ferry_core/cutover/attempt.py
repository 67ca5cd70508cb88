"""One cutover attempt: stop writes, drain, verify, check that nothing was missed, record; or undo all of it.

    acquire the cutover mutex                          a source has one read_only for all Ferries
    record the intent and the old read_only values in the lease row
    stop writes on the source                          bounded by the deadline
    check for other writers                            XA and replication bypass the lock (``other_writers``)
    wait until a source that is a replica has applied all that its primary has executed  (``primary``)
    stream to the source's final position, flush everything
    verify the keys changed since they were last verified
    stream to the position of that moment              an event of a selected table in between fails the attempt
    record Completed                                   from here on nobody unlocks
    flush that record to the target's disk             (``durable``)

A separate thread runs the steps, and the coordinator's thread only waits for it: a server that hangs delays the steps,
but not the deadline, a stop or the unlock. Until the COMMIT of the last step is sent (``recording``) the attempt may be
given up at any moment: then the source is unlocked, and the abandoned steps change nothing any more. If the run dies in
between, the next start undoes the attempt (``unlocking``). Called by the coordinator.
"""

import logging
import math
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_delay,
    stop_when_event_set,
    wait_fixed,
)

from ferry_core.api.report import Stage
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.fence import Fence
from ferry_core.cutover.background import Background
from ferry_core.cutover.blockers import blockers
from ferry_core.cutover.drain import SourceStream, stream_to_end
from ferry_core.cutover.durable import DURABLE_SECONDS, make_durable, not_durable
from ferry_core.cutover.messages import ambiguous, locked, record_lost
from ferry_core.cutover.mutex import CutoverMutexLost
from ferry_core.cutover.other_writers import (
    OTHER_WRITERS_SECONDS,
    refuse_replication,
    refuse_unlogged,
    refuse_xa,
)
from ferry_core.cutover.outcome import WRITES_STOPPED, AttemptFailed, AttemptOutcome, late
from ferry_core.cutover.primary import Primary
from ferry_core.cutover.recording import Recording
from ferry_core.cutover.source_lock import SourceLock
from ferry_core.cutover.unlocking import ATTEMPT, UNLOCK_SECONDS, LeaseCorrector, undo
from ferry_core.errors import AmbiguousError, FerryError, RetriableError, TerminalError, Terminated
from ferry_core.mysql.replication import Replicated
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.text import counted

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.1
LATE_SECONDS = 0.3
"""The steps notice the deadline by themselves and know best what was missing.

After this extra time they are abandoned.
"""
BEFORE_SECONDS = 5.0
"""How long the target may take to record the intent. Writes continue meanwhile."""
TELL_SECONDS = 2.0
"""How long a server may stay silent before people are told that the source may stay locked."""
LEASE_SECONDS = 2.0
"""How long a failed attempt waits until the lease row records that. Writes are allowed by then."""
LOCK_TIMEOUT_SECONDS = 2.0
"""How long a failed attempt waits to learn who kept writes from being stopped. Writes are allowed by then."""
STOP_SECONDS = 10.0
"""How long a stop waits for a server that decides whether the source may be unlocked. A Pod's grace period is 60 s."""

STOPPING_WRITES = "stopping writes"
STREAMED = "streamed to the end"
"""The step after which no change is to come."""
VERIFIED = "verified"

T = TypeVar("T")


@dataclass
class CutoverAttempt:
    """What an attempt works with. ``prove(deadline, check)`` returns a text that names what differs.

    ``check_cancelled`` is called all the time in the caller's thread; it raises what ends the run: a stop, an abort, a
    thread's failure. ``hurried`` opens target sessions with a short timeout. ``stopped`` is called once writes are
    stopped, ``reached`` with the name of each step, ``doubt`` while it is unknown whether, or how, the source may be
    unlocked. ``may_replicate`` means that the user, who stops the writes, has acknowledged replication on the source.
    ``replicated`` is what the source had replicated when the run started.
    """

    fence: Fence
    lock: SourceLock
    control: Callable[[], Session]
    hurried: Callable[[], Session]
    buffer: ChangeBuffer
    stream: SourceStream
    prove: Callable[[float, Callable[[], None]], str | None]
    check_cancelled: Callable[[], None]
    corrector: LeaseCorrector
    stopped: Callable[[], None]
    deadline_seconds: float
    connected: Callable[[Session], AbstractContextManager[object]] = nullcontext
    """Entered before writes are stopped, so that writers do not wait for the sessions of ``prove`` to open. Called with
    the attempt's session on the source, which ``prove`` and ``streamed`` may use.
    """
    streamed: Callable[[], None] = lambda: None
    """Called when the stream has read everything up to its last look; raises what it must not have read."""
    confirm: Callable[[], None] = lambda: None
    """Called right before writes are stopped; raises AttemptFailed if they must not be."""
    reached: Callable[[str], None] = lambda _: None
    doubt: Callable[[FerryError], None] = lambda _: None
    may_replicate: bool = False
    replicated: Replicated | None = None
    primary: Primary | None = None
    """The server whose writes are stopped, if the source is its replica."""
    _recording: Recording = field(default_factory=Recording)
    _deadline: float = math.inf
    _doing: str = "asking the target"
    _intent: dict[str, str] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _undone: threading.Event = field(default_factory=threading.Event)

    def run(self) -> AttemptOutcome:
        """Raises AmbiguousError when it is unknown whether Completed was recorded, Fenced when a newer run exists."""
        self.corrector.cancel()
        self._deadline = time.monotonic() + self.deadline_seconds + BEFORE_SECONDS
        steps = Background("cutover", self._steps)
        try:
            changes = self._await(steps)
        except BaseException as error:
            if not self._recording.give_up():
                raise  # it may be recorded: nobody unlocks
            try:
                self._undo()
            finally:
                self._undone.set()
            if not isinstance(error, AttemptFailed | RetriableError):
                raise
            cause = self._lock_timeout(steps) or error
            return AttemptOutcome(cause.reason, cause.message + self._in_the_way(cause), self.lock.block.milliseconds)
        self._keep_record()
        return AttemptOutcome(Reason.DONE, "writes may move to the target", self.lock.block.milliseconds, changes)

    # -- the caller's thread ------------------------------------------------------------------------------------------

    def _await(self, steps: Background[int]) -> int:
        """The steps' result.

        Raises what ``check_cancelled`` does; also raises past the deadline, unless it may be recorded.
        """
        asked_to_stop: float | None = None
        told_stopped = False
        while not steps.ended(SLICE_SECONDS):
            if self._stopped.is_set() and not told_stopped:
                told_stopped = True
                self.stopped()
            try:
                self.check_cancelled()
            except BaseException:
                if self._recording.sent_for is None:
                    raise
                asked_to_stop = asked_to_stop or time.monotonic()
            unknown_for = self._recording.sent_for
            if unknown_for is None:
                if time.monotonic() > self._deadline + LATE_SECONDS:
                    raise late(f"a server had not answered ({self._doing})")
            elif unknown_for > TELL_SECONDS:
                self.doubt(self._ambiguous(f"it has not answered for {unknown_for:.0f} s"))
            if asked_to_stop is not None and time.monotonic() > asked_to_stop + STOP_SECONDS:
                raise self._ambiguous("it had not answered when the run was stopped")
        try:
            return steps.result()
        except AmbiguousError as error:
            raise self._ambiguous(error.message) from error

    def _keep_record(self) -> None:
        """Do not report a cutover that a power cut could undo."""
        keeping = Background("cutover-record", lambda: make_durable(self.hurried, self.fence))
        self._waited(lambda: keeping.ended(SLICE_SECONDS), DURABLE_SECONDS)
        if not keeping.ended(0):
            not_durable("the target does not answer")
            return
        try:
            keeping.result()
        except AmbiguousError as error:
            by_hand = self.lock.by_hand(self._intent)
            text = record_lost(error.message, by_hand, stays=self.lock.outlives_run)
            raise AmbiguousError(error.reason, text) from error

    def _ambiguous(self, why: str) -> AmbiguousError:
        by_hand = self.lock.by_hand(self._intent)
        return AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, ambiguous(why, by_hand, stays=self.lock.outlives_run))

    def _locked(self, why: str) -> AmbiguousError:
        return AmbiguousError(Reason.SOURCE_LOCKED, locked(why, self.lock.by_hand(self._intent)))

    def _undo(self) -> None:
        """Allow writes again, then record that in the lease row. Meanwhile the run stays visible and can be stopped."""
        over = threading.Event()
        undoing = Background("cutover-undo", lambda: self._allow(over))
        began, stop_after = time.monotonic(), math.inf
        try:
            while not undoing.ended(SLICE_SECONDS):
                waited = time.monotonic() - began
                if self._asked_to_stop():
                    stop_after = min(stop_after, waited + STOP_SECONDS)
                if waited > TELL_SECONDS:
                    self.doubt(self._locked("a server does not answer"))
                if waited > stop_after:
                    over.set()
                    raise self._locked("no answer before the run was stopped")
            undoing.result()
        except (RetriableError, TerminalError) as error:
            raise self._locked(error.message) from error
        finally:
            self.lock.end()
        if self._intent:
            correction = self.corrector.correct(self.fence.by(self.hurried), self._intent.get(ATTEMPT, ""))
            self._waited(lambda: correction.ended(SLICE_SECONDS), LEASE_SECONDS)

    def _allow(self, over: threading.Event) -> None:
        """Unlock by the cutover mutex on the source, which needs no target; without the mutex, as the lease says."""
        retrying = Retrying(
            retry=retry_if_exception(_may_be_retried),
            wait=wait_fixed(0.2),
            stop=stop_after_delay(UNLOCK_SECONDS) | stop_when_event_set(over),
            reraise=True,
        )
        try:
            retrying(self.lock.unlock)
        except CutoverMutexLost as lost:
            log.warning("%s: reading the lease to find out who may allow writes", lost.message)
            with self.corrector.suspend_writes():
                undo(self.fence.by(self.hurried), self.lock, over)

    def _lock_timeout(self, steps: Background[int]) -> RetriableError | None:
        """The error of abandoned steps that end now, if it names who kept writes from being stopped.

        A busy source takes longer than LATE_SECONDS to end the statement that waited: that it answered late says less.
        """
        if self._doing != STOPPING_WRITES:
            return None
        self._waited(lambda: steps.ended(SLICE_SECONDS), LOCK_TIMEOUT_SECONDS)
        error = steps.error
        return error if isinstance(error, RetriableError) and error.reason is Reason.SOURCE_LOCK_TIMEOUT else None

    def _waited(self, ended: Callable[[], bool], seconds: float) -> None:
        end = time.monotonic() + seconds
        while not ended() and time.monotonic() < end and not self._asked_to_stop():
            pass

    def _asked_to_stop(self) -> bool:
        try:
            self.check_cancelled()
        except Terminated:
            return True
        except FerryError:
            return False  # raised again by the next tick, once the source is unlocked
        return False

    def _in_the_way(self, error: AttemptFailed | RetriableError) -> str:
        if error.reason not in (Reason.DEADLINE_EXCEEDED, Reason.LOCK_CONFLICT):
            return ""
        try:
            with self.control() as control, self._written(control) as written:
                found = blockers(written)
        except RetriableError as lost:
            return f" (blocking transactions could not be listed: {lost})"
        return f"; transactions open on the source: {'; '.join(found)}" if found else ""

    # -- the steps' thread --------------------------------------------------------------------------------------------

    def _steps(self) -> int:
        """Returns the change buffer's count once no change was in progress."""
        check = self._recording.check
        try:
            self.fence.read()  # a superseded run must not end its successor's sessions on the source
            self.lock.begin(self.deadline_seconds, check)
            intent = self.lock.intent(self.deadline_seconds) | {ATTEMPT: uuid.uuid4().hex}
            if self.primary is not None:
                intent |= self.primary.named()
            check()
            self._intent = intent
            self.fence.record(phase=Stage.CUTTING_OVER.value, cutover=intent)
            deadline = time.monotonic() + self.deadline_seconds
            self._deadline = deadline
            changes = self._drain(deadline)
            self._step("recording the cutover")
            self._recording.record(self.fence, self.hurried, lambda: self._refuse_unlocked(deadline))
        except BaseException:
            if self._recording.given_up:
                self._undone.wait()  # the thread that gave up unlocks by the mutex, and may do so before it is acquired
                self.lock.end()
            raise
        return changes

    def _step(self, doing: str) -> None:
        self._recording.check()
        self._doing = doing

    def _drain(self, deadline: float) -> int:
        with self.control() as control, self._written(control) as written, self.connected(control):
            self.confirm()
            if self.primary is not None:
                self.primary.refuse_apart(control, written)
            self._step(STOPPING_WRITES)
            if (left := deadline - time.monotonic()) <= 0:
                raise late("writes were not stopped yet")
            self.lock.acquire(left, self._confirm, self._recording.check)
            self._stopped.set()
            self.reached(WRITES_STOPPED)
            self._step("draining")
            self._refuse_other_writers(control, written, deadline)
            self._stream_to_end(control, written, deadline)
            self.reached(STREAMED)
            changes = self.buffer.changes
            if not self._wait(self.buffer.wait_empty, deadline):
                raise late(f"{self.buffer.pending_keys()} changed keys were not on the target yet")
            self.reached("drained")
            self._step("comparing rows")
            differing = self.prove(deadline, self._recording.check)
            if differing:
                raise AttemptFailed(Reason.ROWS_DIFFER, differing)
            self.reached(VERIFIED)
            self._step("looking for late changes")
            self._stream_to_end(control, written, deadline)
            self.streamed()
            self._refuse_other_writers(control, written, deadline)
            if self.primary is not None:
                self.primary.refuse_apart(control, written)
            if self.buffer.changes != changes:
                raise AttemptFailed(
                    Reason.SOURCE_STILL_WRITTEN,
                    f"{counted(self.buffer.changes - changes, 'row change')} of selected tables came after writes were "
                    "stopped; find who still writes: with sourceLock ReadOnly an account with SUPER or READ ONLY "
                    "ADMIN, or an XA COMMIT; otherwise a writer that was not stopped",
                )
            return changes

    def _written(self, control: Session) -> AbstractContextManager[Session]:
        """A session on the server whose writes are stopped."""
        return nullcontext(control) if self.primary is None else self.primary.connect()

    def _refuse_other_writers(self, control: Session, written: Session, deadline: float) -> None:
        until = min(deadline, time.monotonic() + OTHER_WRITERS_SECONDS)
        refuse_xa(written, lambda looked: self._wait(looked, until), self.lock)
        if self.primary is not None or not self.may_replicate:  # acknowledged for the source alone
            refuse_replication(written)
        refuse_unlogged(control, self.replicated)

    def _confirm(self) -> None:
        self.fence.read()
        self._recording.check()

    def _refuse_unlocked(self, deadline: float) -> None:
        """The last checks, when only the COMMIT of the record is left to send."""
        if not self.lock.held():
            raise AttemptFailed(
                Reason.SOURCE_UNLOCKED,
                "writes on the source were allowed again before the cutover was recorded: somebody did that, ended the "
                "session that holds the lock, or restarted the source; nothing but this Ferry may change read_only or "
                "end its sessions during the cutover",
            )
        if time.monotonic() > deadline:
            raise late("everything was done, but after the deadline")

    def _wait(self, wait: Callable[[float], bool], deadline: float) -> bool:
        """``wait(until)`` in slices, between which the attempt may be given up."""
        while time.monotonic() < deadline:
            self._recording.check()
            if wait(min(deadline, time.monotonic() + SLICE_SECONDS)):
                return True
        return False

    def _stream_to_end(self, control: Session, written: Session, deadline: float) -> None:
        if self.primary is not None:
            self.primary.await_applied(control, written, lambda applied: self._wait(applied, deadline))

        def shorter(asked: Callable[[float], bool]) -> bool:
            return self._wait(asked, (time.monotonic() + deadline) / 2)

        stream_to_end(control, self.stream, self.buffer, lambda reached: self._wait(reached, deadline), shorter)


def _may_be_retried(error: BaseException) -> bool:
    return isinstance(error, RetriableError) and not isinstance(error, CutoverMutexLost)
