"""Checks everything still unproven while writes on the source are stopped: in parallel, never past a deadline.

Called by ``verifier`` with connections that it owns. Writers wait for every millisecond spent here.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import NamedTuple

from ferry_core.cancellation import Cancellation
from ferry_core.errors import RetriableError
from ferry_core.reasons import Reason
from ferry_core.tables.table import KeyLiterals, Table
from ferry_core.verify.difference import Difference
from ferry_core.verify.narrow import check_keys
from ferry_core.verify.sessions import ReadSessions
from ferry_core.verify.unproven import Batch, UnprovenKeys

SLICE_SECONDS = 0.1


class LastBatch(NamedTuple):
    """Keys for one statement on each server. If they are equal, ``batch`` is proven."""

    table: Table
    keys: list[KeyLiterals]
    batch: Batch | None


def late(what: str) -> RetriableError:
    """The error for a passed deadline."""
    return RetriableError(Reason.VERIFICATION_DEADLINE, what)


def check_batches(
    batches: Sequence[LastBatch],
    pairs: Sequence[ReadSessions],
    deadline: float,
    unproven: UnprovenKeys,
    check_cancelled: Callable[[], None],
) -> list[Difference]:
    """One worker per pair of connections. RetriableError when the deadline (time.monotonic) passes first.

    ``check_cancelled`` is called all the time; what it raises ends the check.
    """
    waiting = deque(batches)
    found: list[Difference] = []
    expired = Cancellation(deadline, late("the keys that were still unproven took longer than the deadline"))

    def work(pair: ReadSessions) -> None:
        while waiting and not expired.is_set():
            try:
                last = waiting.popleft()
            except IndexError:
                return  # another worker took it between the two lines above

            def check(last: LastBatch = last) -> list[Difference]:
                return check_keys(last.table, last.keys, pair.source(last.table), pair.target)

            differing = pair.retrying(check, expired)
            found.extend(differing)
            if not differing and last.batch is not None:
                unproven.proven(last.batch)

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
