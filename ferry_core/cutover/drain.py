"""Under the lock: wait until the stream has read everything in the source's binlog. Called twice by ``attempt``.

It must reach both the GTIDs and the place of the end (see ``binlog.ending``); without GTIDs, the place.
"""

import time
from collections.abc import Callable
from typing import Protocol

from ferry_core.binlog.ending import BinlogEnd, end_under_lock
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.cutover.other_writers import refuse_unstreamed
from ferry_core.cutover.outcome import AttemptFailed, late
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.file_position import FilePosition
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.gtid import Position, source_position
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason

_POLL_SECONDS = 0.002
_ASK_SECONDS = 0.02

Wait = Callable[[Callable[[float], bool]], bool]
"""Calls the given function with the time until which it may wait, again and again: True once the function returns True,
False when it is too late.
"""


class SourceStream(Protocol):
    """The streamer."""

    def reached(self, end: BinlogEnd) -> bool:
        """Whether everything before ``end`` has been read."""

    def source_has_last_read(self) -> bool:
        """Whether the source has the last transaction read, at its place."""

    def prove_history(self) -> None:
        """Raise DataError if the source does not have what was read."""


def stream_to_end(control: Session, stream: SourceStream, buffer: ChangeBuffer, wait: Wait, wait_shorter: Wait) -> None:
    """Raises AttemptFailed if it is too late, or if the source does not have what was read.

    ``wait_shorter`` leaves time to say so.
    """
    end = end_under_lock(control)
    refuse_unstreamed(control, buffer.processed.position)
    if not wait(lambda until: _reached(stream, end, until)):
        raise late(f"the stream had not reached {end}, the end of the source's binlog")
    seen = buffer.processed.position

    def has_read() -> bool:
        return _has_read(control, stream, seen)

    # Where only some tables are locked, a commit on another one may be in the binlog a while before it is executed.
    if not (wait_shorter(lambda until: _soon(until, has_read)) or has_read()):
        # The dump of a source that was reset continues as if nothing were written any more.
        raise AttemptFailed(
            Reason.SOURCE_HISTORY_LOST,
            f"the source does not have what was read from its binlog up to '{seen}'. If it was reset, rows may differ "
            "without any event about them: start over with a fresh copy. If a commit there waits for a replica "
            "(semi-synchronous replication), the next attempt may succeed",
        )


def _has_read(control: Session, stream: SourceStream, seen: Position) -> bool:
    """Whether the source has what was read."""
    if isinstance(seen, FilePosition):
        try:
            stream.prove_history()
        except (DataError, ConfigError) as error:
            raise AttemptFailed(error.reason, error.message) from error
        return True
    if source_position(control).contains(seen):
        return True
    # On MySQL the GTID sets are enough. On MariaDB the source may have logged a lower number out of order at the end.
    return control.flavor is not Flavor.MYSQL and stream.source_has_last_read()


def _soon(until: float, asked: Callable[[], bool]) -> bool:
    while not asked():
        if time.monotonic() >= until:
            return False
        time.sleep(_ASK_SECONDS)
    return True


def _reached(stream: SourceStream, end: BinlogEnd, until: float) -> bool:
    while not stream.reached(end):
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL_SECONDS)
    return True
