"""Raises AUTO_INCREMENT on the target right before a cutover attempt, so that little of it is left for the write block.

Each counter takes an ALTER, some 15 ms. What this cannot do, or what changes afterwards, is done under the lock, where
every counter is compared again. Called by ``operations``.
"""

import logging
import time
from collections.abc import Callable, Sequence

from ferry_core.cancellation import Cancellation
from ferry_core.consistency.fence import Fence
from ferry_core.cutover.background import Background
from ferry_core.errors import Interrupted, RetriableError
from ferry_core.reasons import Reason
from ferry_core.schema.counters import raise_counters
from ferry_core.tables.table import Table
from ferry_core.workers.connections import Connections

log = logging.getLogger(__name__)

SECONDS = 20.0
SLICE_SECONDS = 0.1


def raise_early(
    connections: Connections, tables: Sequence[Table], fence: Fence, check_cancelled: Callable[[], None]
) -> None:
    """``check_cancelled`` is called all the time; a server that hangs is abandoned after ``SECONDS``."""
    over = Cancellation()

    def work() -> None:
        with connections.source_control() as source, connections.target() as target:
            raise_counters(source, target, tables, fence, over.check)

    working = Background("early-counters", work)
    until = time.monotonic() + SECONDS
    try:
        while not working.ended(SLICE_SECONDS) and time.monotonic() < until:
            check_cancelled()
    finally:
        over.cancel(Interrupted(Reason.TARGET_TABLE_BUSY, f"it took longer than {SECONDS:g} s"))
    try:
        if working.ended(0):
            working.result()
    except RetriableError as error:
        log.info("AUTO_INCREMENT could not be raised before the attempt: %s", error)
