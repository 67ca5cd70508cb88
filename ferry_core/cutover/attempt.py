"""One attempt to hand over: stop writes, drain, prove, check that nothing slipped through, record; or undo all of it.

    be the only Ferry that does so on this source      it has one read_only for all
    record the intent and the old read_only values in the lease row
    stop writes on the source                          bounded by the deadline
    no XA transaction is open                          it would pass the lock
    XA RECOVER is empty                                XA COMMIT passes the lock
    stream to the source's final position, flush all
    prove the keys changed since their last proof
    stream to the position of that moment              an event of a selected table in between: the attempt failed
    record Completed                                   from here on nobody unlocks

Every way out before the last step unlocks, fenced: the lease row locked, epoch and phase checked, then the stored
values restored. A run that dies in between is undone by the next start through ``undo``. Called by the coordinator.
"""

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from ferry_core.api.report import Stage
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.fence import Fence
from ferry_core.cutover.blockers import blockers
from ferry_core.cutover.source_lock import SourceLock
from ferry_core.errors import AmbiguousError, RetriableError
from ferry_core.mysql.gtid import source_position
from ferry_core.mysql.session import Session
from ferry_core.mysql.xa import prepared_xids

log = logging.getLogger(__name__)

UNLOCK_SECONDS = 600.0
SETTLE_SECONDS = 60.0
SLICE_SECONDS = 0.1
PASSERS_SECONDS = 2.0
"""How long writes stay blocked for XA transactions to end: those of applications are over within milliseconds."""


class AttemptFailed(Exception):
    """The attempt is over; ``reason`` is that of the CutOver condition."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended; ``reason`` is Done, or why not."""

    reason: str
    message: str
    blocked_milliseconds: int
    changes: int = 0
    """The change buffer's count when nothing was under way any more: every later one was not handed over."""

    @property
    def done(self) -> bool:
        return self.reason == "Done"


@dataclass(frozen=True)
class Handover:
    """What an attempt works with. ``prove(deadline)`` returns a text naming what differs, or is not proven in time.

    ``go_on`` is called all the time; it raises what ends the run: a stop, an abort, a thread's failure. ``make_way``
    keeps this run's own row writes away: one that waits for a lock holds the lease row, which the unlock needs.
    ``stopped`` is called once writes are stopped, ``reached`` with the name of each step after that.
    """

    fence: Fence
    lock: SourceLock
    control: Callable[[], Session]
    buffer: ChangeBuffer
    prove: Callable[[float], str | None]
    go_on: Callable[[], None]
    make_way: Callable[[], AbstractContextManager[None]]
    stopped: Callable[[], None]
    deadline_seconds: float
    reached: Callable[[str], None] = lambda _: None

    def attempt(self) -> Attempt:
        """Raises AmbiguousError when it is unknown whether Completed was recorded, Fenced when a newer run exists."""
        try:
            self.lock.begin(self.deadline_seconds, self.go_on)
            self.fence.record(phase=Stage.CUTTING_OVER.value, cutover=self.lock.stored())
            changes = self._drain(time.monotonic() + self.deadline_seconds)
        except (AttemptFailed, RetriableError) as error:
            in_the_way = self._in_the_way(error)
            self._undo()
            message = error.message + in_the_way
            return Attempt(error.reason, message, self.lock.block.milliseconds)
        except BaseException:
            self._undo()
            raise
        if not complete(self.fence):
            self._undo()
            blocked = self.lock.block.milliseconds
            return Attempt("TargetLost", "the target was lost before Completed was recorded", blocked)
        return Attempt("Done", "writes may move to the target", self.lock.block.milliseconds, changes)

    def _undo(self) -> None:
        try:
            with self.make_way():
                undo(self.fence, self.lock)
        finally:
            self.lock.end()

    def _drain(self, deadline: float) -> int:
        self.lock.acquire(deadline - time.monotonic(), self.fence.read, self.go_on)
        self.stopped()
        with self.control() as control:
            self._await_passers(control, deadline)
            _refuse_prepared(control)  # in this order: what is open becomes prepared, never the other way round
            self._stream_to_end(control, deadline)
            changes = self.buffer.changes
            if not self._wait(self.buffer.wait_empty, deadline):
                raise _late(f"{self.buffer.pending_keys()} changed keys were not on the target yet")
            self.reached("drained")
            differing = self.prove(deadline)
            if differing:
                raise AttemptFailed("RowsDiffer", differing)
            self.reached("verified")
            self._stream_to_end(control, deadline)
            _refuse_prepared(control)
            if self.buffer.changes != changes:
                raise AttemptFailed(
                    "SourceStillWritten",
                    f"{self.buffer.changes - changes} row changes of selected tables came after writes were stopped; "
                    "find who may write in spite of read_only (accounts with SUPER or READ ONLY ADMIN, XA COMMIT)",
                )
            if not self.lock.held():
                raise AttemptFailed(
                    "SourceUnlocked",
                    "somebody allowed writes on the source again (or it was restarted) before the hand-over was "
                    "recorded; nothing but this Ferry may change read_only during the cutover",
                )
            if time.monotonic() > deadline:
                raise _late("everything was done, but too late")
            return changes

    def _wait(self, wait: Callable[[float], bool], deadline: float) -> bool:
        """``wait(until)`` in slices, between which the run may be told to end."""
        while time.monotonic() < deadline:
            self.go_on()
            if wait(min(deadline, time.monotonic() + SLICE_SECONDS)):
                return True
        return False

    def _await_passers(self, control: Session, deadline: float) -> None:
        """Nobody can join them under the lock; most end within milliseconds."""
        found: list[str] = []

        def none_left(_: float) -> bool:
            found[:] = self.lock.passers(control)
            return not found

        if not self._wait(none_left, min(deadline, time.monotonic() + PASSERS_SECONDS)):
            raise AttemptFailed(
                "XaOpen",
                f"XA transactions were open when writes were stopped, and could be committed after the hand-over: "
                f"{'; '.join(found)}; end them first",
            )

    def _stream_to_end(self, control: Session, deadline: float) -> None:
        end = source_position(control)
        if not self._wait(
            lambda until: self.buffer.wait_processed(lambda mark: mark.position.contains(end), until), deadline
        ):
            raise _late(f"the stream had not reached {end}")
        seen = self.buffer.processed.position
        if not source_position(control).contains(seen):
            # The dump of a source that was reset goes on as if nothing were written any more.
            raise AttemptFailed(
                "SourceHistoryLost",
                f"the source does not have what was read from its binlog up to '{seen}': was it reset? Then rows may "
                "differ that no event will tell of: start over with a fresh copy",
            )

    def _in_the_way(self, error: Exception) -> str:
        if getattr(error, "reason", "") not in ("DeadlineExceeded", "LockConflict", "LockTimeout"):
            return ""
        try:
            with self.control() as control:
                found = blockers(control)
        except RetriableError as lost:
            return f" (transactions in the way could not be listed: {lost})"
        return f"; transactions open on the source: {'; '.join(found)}" if found else ""


def undo(fence: Fence, lock: SourceLock) -> bool:
    """Allow writes again if this Ferry stopped them: fenced, and tried until it is certain.

    False: they stay stopped by another Ferry, which has done so since.
    Raises AmbiguousError when source or target stay out of reach, Fenced when a newer run took over (it will undo).
    """
    retrying = Retrying(
        retry=retry_if_exception_type(RetriableError),
        wait=wait_exponential_jitter(multiplier=0.1, max=5.0, jitter=0.1),
        stop=stop_after_delay(UNLOCK_SECONDS),
        reraise=True,
    )
    try:
        return bool(retrying(_undo_once, fence, lock))
    except RetriableError as error:
        raise AmbiguousError(
            "SourceLocked",
            f"writes on the source may still be blocked and cannot be allowed again: {error.message}; start the Ferry "
            "again or run `ferry abort` when both servers can be reached",
        ) from error


def _undo_once(fence: Fence, lock: SourceLock) -> bool:
    allowed = True
    with fence.exclusively() as (session, lease):
        if lease.phase == Stage.CUTTING_OVER.value:
            if lease.cutover:
                allowed = lock.release(lease.cutover)
            fence.update(session, phase=Stage.STREAMING.value, cutover={})
    return allowed


def complete(fence: Fence) -> bool:
    """Record Completed; False if that certainly did not happen. Raises AmbiguousError if nobody can tell."""
    retrying = Retrying(
        retry=retry_if_exception_type(RetriableError),
        wait=wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1),
        stop=stop_after_delay(SETTLE_SECONDS),
        reraise=True,
    )
    try:
        fence.complete()
    except RetriableError as lost:
        log.warning("recording the hand-over: %s", lost)
        try:
            return bool(retrying(fence.completed))
        except RetriableError as error:
            raise AmbiguousError(
                "OwnershipAmbiguous",
                f"the target was lost while the hand-over was recorded ({error.message}); writes on the source stay "
                "blocked: bring the target back and start the Ferry again, it will find out",
            ) from error
    return True


def _refuse_prepared(control: Session) -> None:
    xids = prepared_xids(control)
    if xids:
        raise AttemptFailed(
            "XaPrepared",
            f"XA transactions are prepared and could be committed after the lock: {', '.join(xids)} "
            "(formatID,gtrid,bqual); decide them first",
        )


def _late(what: str) -> AttemptFailed:
    return AttemptFailed("DeadlineExceeded", f"{what} when cutover.deadline was over")
