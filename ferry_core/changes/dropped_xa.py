"""Finds XA transactions whose XA PREPARE is in the binlog but that the source has lost without a decision.

A crash can remove a prepared transaction from InnoDB although its XA PREPARE is in the binlog. Nothing will ever decide
it, and its keys would hold the checkpoint back for ever. It is certainly gone if its PREPARE is visible, XA RECOVER
does not list it, and the binlog up to an end requested after XA RECOVER contains no decision: an XID leaves XA RECOVER
only after its decision is in the binlog (tested on both families with a stalled XA COMMIT). Then its keys are read
again as they are now, which is always correct. ``workers.engine`` runs this in a thread of its own.
"""

import logging
import time
from collections.abc import Callable

from ferry_core.binlog.ending import BinlogEnd, end_of_binlog
from ferry_core.binlog.sink import StreamMark
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.consistency.table_start import wait_for_prepares
from ferry_core.consistency.visibility import Visibility
from ferry_core.errors import RetriableError
from ferry_core.mysql.session import Session
from ferry_core.mysql.xa import prepared_xids

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
REACH_SECONDS = 60.0


class DroppedXa:
    """Checks at intervals. A transaction that two checks in a row find gone is dropped."""

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
        """Run until the run ends. If only locks make rows visible, a stalled PREPARE cannot be told from a lost one."""
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
            if not wait_for_prepares(session, lambda: self._wait(0), log.debug):
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
                    "a crash removed XA transaction %s (formatID,gtrid,bqual) from the source without a decision: "
                    "its rows are read again",
                    xid,
                )
        self._gone = gone
