"""The last step of an attempt: the record of the cutover, and the one place that decides who owns the rows.

Until the COMMIT of that record is handed to its socket no cutover can have happened, so the attempt may be given up and
the source unlocked without asking the target. From then on it may not, until the target has reported the outcome.
``give_up`` and ``record`` use one lock, so that never both happen. Called by ``attempt``.
"""

import logging
import threading
import time
from collections.abc import Callable

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential_jitter

from ferry_core.consistency.fence import Fence
from ferry_core.cutover.outcome import AttemptFailed
from ferry_core.errors import AmbiguousError, ConnectionLost, Fenced, FerryError, RetriableError
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

log = logging.getLogger(__name__)

SETTLE_SECONDS = 60.0


class Recording:
    """One per attempt. Any thread may call ``check``; the thread that runs the attempt calls ``record``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._given_up = False
        self._sent_at: float | None = None

    @property
    def sent_for(self) -> float | None:
        """For how many seconds the outcome of the cutover has been unknown.

        None: the cutover has certainly not happened.
        """
        sent_at = self._sent_at
        return None if sent_at is None else time.monotonic() - sent_at

    def give_up(self) -> bool:
        """From now on nothing is recorded. Returns False if it may have been recorded already."""
        with self._lock:
            self._given_up = self._sent_at is None
            return self._given_up

    def check(self) -> None:
        """Raise if the attempt was given up."""
        if self._given_up:
            raise AttemptFailed(Reason.DEADLINE_EXCEEDED, "the attempt was given up")

    @property
    def given_up(self) -> bool:
        return self._given_up

    def record(self, fence: Fence, hurried: Callable[[], Session], last_look: Callable[[], None]) -> None:
        """Returns when it is recorded. ``last_look`` is called right before the COMMIT; what it raises is raised.

        ``hurried`` opens the sessions that ask for the outcome. Raises AmbiguousError if the outcome stays unknown.
        After every other error it was certainly not recorded, except Fenced: then a newer run knows.
        """

        def send() -> None:
            last_look()
            with self._lock:
                self.check()
                self._sent_at = time.monotonic()

        try:
            fence.complete(send)
        except FerryError as error:
            if self._sent_at is not None:
                log.warning("recording the cutover: %s", error)
                if _settle(fence.by(hurried), error):
                    return
                with self._lock:
                    self._sent_at = None
            if isinstance(error, ConnectionLost):
                raise AttemptFailed(
                    Reason.TARGET_LOST, f"the target was lost before the cutover was recorded: {error.message}"
                ) from error
            raise


def _settle(fence: Fence, lost: FerryError) -> bool:
    """Find out whether it was recorded after all."""
    retrying = Retrying(
        retry=retry_if_exception_type(RetriableError),
        wait=wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1),
        stop=stop_after_delay(SETTLE_SECONDS),
        reraise=True,
    )
    try:
        return bool(retrying(fence.completed))
    except Fenced:
        raise
    except FerryError as error:
        raise AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, f"{lost.message}; {error.message}") from error
