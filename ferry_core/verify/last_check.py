"""Checks everything still unproven while writes on the source are stopped: in parallel, never past a deadline.

Called by ``verifier``. Writers wait for every millisecond spent here.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from ferry_core.cancellation import Cancellation
from ferry_core.errors import RetriableError
from ferry_core.reasons import Reason
from ferry_core.verify.difference import Difference
from ferry_core.verify.groups import Part, differences_of, doubtful
from ferry_core.verify.sessions import RETRY_SECONDS, ReadSessions
from ferry_core.verify.unproven import UnprovenKeys

SLICE_SECONDS = 0.1


def late(what: str) -> RetriableError:
    """The error for a passed deadline."""
    return RetriableError(Reason.VERIFICATION_DEADLINE, what)


class LastCheck:
    """Its sessions are opened before the lock, and kept for the next attempt. Another also uses the first pair."""

    def __init__(
        self, first: ReadSessions, sessions: Callable[[], ReadSessions], workers: int, unproven: UnprovenKeys
    ) -> None:
        self._pairs = [first, *(sessions() for _ in range(workers - 1))]
        self._unproven = unproven
        self._checking = threading.Lock()
        """Held while pairs are used. An attempt that was given up may still use them when the next one begins."""

    def connect(self) -> None:
        """Open the sessions, unless a check still uses them."""
        if self._checking.acquire(blocking=False):
            try:
                for pair in self._pairs[1:]:
                    pair.connect()
            finally:
                self._checking.release()

    def close(self) -> None:
        for pair in self._pairs:
            pair.close()

    def differences(
        self, groups: Sequence[Sequence[Part]], deadline: float, check_cancelled: Callable[[], None]
    ) -> list[Difference]:
        """One worker per pair of connections. RetriableError when the deadline (time.monotonic) passes first.

        ``check_cancelled`` is called all the time; what it raises ends the check.
        """
        with self._checking:
            return self._differences(groups, self._pairs[: len(groups)], deadline, check_cancelled)

    def _differences(
        self,
        groups: Sequence[Sequence[Part]],
        pairs: Sequence[ReadSessions],
        deadline: float,
        check_cancelled: Callable[[], None],
    ) -> list[Difference]:
        waiting = deque(groups)
        found: list[Difference] = []
        expired = Cancellation(deadline, late("the keys that were still unproven took longer than the deadline"))

        def work(pair: ReadSessions) -> None:
            while waiting and not expired.is_set():
                try:
                    group = waiting.popleft()
                except IndexError:
                    return  # another worker took it between the two lines above
                unclear = doubtful(group, pair, expired, RETRY_SECONDS)
                for part in group:
                    differing = differences_of(part, pair, expired, RETRY_SECONDS) if part in unclear else []
                    found.extend(differing)
                    if not differing and part.batch is not None:
                        self._unproven.proven(part.batch)

        with ThreadPoolExecutor(len(pairs), thread_name_prefix="prove") as pool:
            workers = [pool.submit(work, pair) for pair in pairs]
            try:
                while wait(workers, min(SLICE_SECONDS, max(0.0, deadline - time.monotonic()))).not_done:
                    check_cancelled()
                    expired.check()
            except BaseException:
                expired.cancel()
                for pair in pairs:
                    pair.abort()
                raise
        errors = [error for worker in workers if (error := worker.exception()) is not None]
        if errors:
            raise min(errors, key=lambda error: isinstance(error, RetriableError))
        return list(dict.fromkeys(found))
