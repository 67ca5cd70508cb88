"""XA transactions that were prepared in the stream and are gone from the source without a decision in its binlog.

A crash can take a prepared transaction from InnoDB whose XA PREPARE is in the binlog; nothing will ever decide it, and
its keys would hold the checkpoint back for ever. It is gone for certain if, with its PREPARE visible, XA RECOVER does
not name it, and the binlog up to an end that was asked for after that does not decide it: an XID leaves XA RECOVER only
after its decision is in the binlog (tried on both families with an XA COMMIT that waits). Then its keys are read again
as they are now, which is always right. Run in a thread of its own by ``workers.engine``.
"""

import logging
import time
from collections.abc import Callable

from ferry_core.binlog.ending import BinlogEnd, end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.visibility import Visibility
from ferry_core.errors import RetriableError
from ferry_core.mysql.session import Session
from ferry_core.mysql.xa import prepared_xids

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
REACH_SECONDS = 60.0


class DroppedXa:
    """``look`` now and then; what two looks in a row find gone is given up."""

    _gone: dict[str, StreamMark]

    def __init__(
        self,
        buffer: ChangeBuffer,
        connect: Callable[[], Session],
        visibility: Visibility,
        reached: Callable[[BinlogEnd], bool],
        wait: Callable[[float], bool],
    ) -> None:
        """``wait`` sleeps for some seconds; True when the run ends."""
        self._buffer = buffer
        self._connect = connect
        self._visibility = visibility
        self._reached = reached
        self._wait = wait
        self._gone = {}

    def run(self) -> None:
        """Until the run ends. Where only locks make rows visible, a PREPARE that stalls cannot be told from none."""
        while not self._wait(LOOK_SECONDS) and not self._visibility.lock_clause:
            try:
                self.look()
            except RetriableError as error:
                log.debug("prepared XA transactions were not looked for: %s", error)

    def look(self) -> None:
        held = self._buffer.undecided()
        if not held:
            return
        with self._connect() as session:
            if not self._visibility.wait(session, self._buffer.processed, lambda: self._wait(0)):
                return
            present = set(prepared_xids(session))
            end = end_of_binlog(session)
        gone = {xid: mark for xid, mark in held.items() if xid not in present}
        deadline = time.monotonic() + REACH_SECONDS
        while not self._reached(end):
            if self._wait(0.1) or time.monotonic() > deadline:
                return
        for xid, mark in gone.items():
            if self._gone.get(xid) is mark and self._buffer.dropped(xid, mark):
                log.warning(
                    "XA transaction %s (formatID,gtrid,bqual) is gone from the source without a decision, in a crash: "
                    "its rows are read again",
                    xid,
                )
        self._gone = gone
