"""The watch for writes that the source accepts after the cutover: when it ends, and what it has found. Used by
``data_operations``.

The watch covers all that is in the source's binlog when ``cutover.watchFor`` is over, so it goes on until the stream
has passed that position, however far it lags behind. If the source cannot be asked for it, or nothing more arrives, the
watch ends after a while and says what it has not seen.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable

from ferry_core.binlog.ending import BinlogEnd
from ferry_core.binlog.filter_values import condition_of
from ferry_core.binlog.late_rows import LateRows
from ferry_core.binlog.sink import RowKey, literals_of
from ferry_core.binlog.status import StreamStatus
from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.cutover.background import Background
from ferry_core.errors import FerryError, RetriableError
from ferry_core.moves.move import TableMove
from ferry_core.mysql.session import Session
from ferry_core.retries import Retries
from ferry_core.tables.table import KeyLiterals, Table
from ferry_core.text import counted
from ferry_core.verify.difference import named_key

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 60.0
"""How long to wait for the source's answer, or for more from its stream."""
AGAIN_SECONDS = 1.0
ANSWER_SECONDS = 10.0
"""How long to ask the source whether it selects a row."""
NAMED_KEYS = 5
"""Keys of each table in a message."""


class WatchedEnd:
    """Made when the window is over. ``ask`` may take long: it gets a thread of its own."""

    def __init__(
        self, ask: Callable[[], BinlogEnd], reached: Callable[[BinlogEnd], bool], status: Callable[[], StreamStatus]
    ) -> None:
        self._ask = ask
        self._reached = reached
        self._status = status
        self._asking: Background[BinlogEnd] | None = Background("watch-end", ask)
        self._end: BinlogEnd | None = None
        self._trouble = ""
        self._read = -1
        self._news = self._next = time.monotonic()

    def passed(self) -> bool:
        """Whether everything in the window has been read."""
        if self._end is None:
            self._end = self._answer()
        return self._end is not None and self._reached(self._end)

    def _answer(self) -> BinlogEnd | None:
        if self._asking is None:
            if time.monotonic() >= self._next:
                self._asking = Background("watch-end", self._ask)
            return None
        if not self._asking.ended(0):
            return None
        asked, self._asking = self._asking, None
        try:
            return asked.result()
        except FerryError as error:
            self._trouble, self._next = error.message, time.monotonic() + AGAIN_SECONDS
            return None

    @property
    def given_up(self) -> bool:
        """Whether nothing has arrived for a while."""
        now, status = time.monotonic(), self._status()
        if status.bytes != self._read and not status.caught_up:
            self._read, self._news = status.bytes, now
        return now - self._news > PATIENCE_SECONDS

    @property
    def unseen(self) -> str:
        """What was not watched."""
        ends = "its end is unknown" if self._end is None else f"it ends at {self._end}"
        why = f" ({self._trouble})" if self._trouble else ""
        return (
            "the source's binlog was not read to the end of cutover.watchFor: read up to "
            f"{self._status().processed.position}, {ends}{why}; later writes on the source were not looked for"
        )


class LateWrites:
    """What the source has taken since the cutover, without rows that a row filter does not select, as far as the events
    show it (``binlog.late_rows``).
    """

    def __init__(self, buffer: ChangeBuffer, late: LateRows[TableMove], source: Callable[[], Session]) -> None:
        self._buffer = buffer
        self._late = late
        self._source = source
        self._known: dict[tuple[Table, KeyLiterals], bool] = {}
        self._silent = False
        """Whether the source has not answered once: it is not waited for again."""

    def listen(self) -> None:
        """Before writes are stopped: after the cutover nothing may be missing."""
        self._late.listen(lambda: self._buffer.changes)

    def stop(self) -> None:
        """The attempt has failed."""
        self._late.stop()

    def changes(self, since: int, moves: Iterable[TableMove]) -> int:
        """How many came after that number."""
        if not any(move.table.row_filter for move in moves):
            return self._buffer.changes - since
        return max(0, self._late.count(since, self._selected))

    def rows(self) -> list[str]:
        return late_rows(self._buffer, lambda move: self._late.ruled_out(move, self._selected))

    def _selected(self, move: TableMove, values: KeyLiterals) -> bool:
        """Whether a row with these values may be selected."""
        if (move.table, values) not in self._known:
            self._known[move.table, values] = self._ask(condition_of(move.table, values))
        return self._known[move.table, values]

    def _ask(self, condition: str) -> bool:
        def answer() -> bool:
            with self._source() as session:
                return session.number(condition) != 0

        try:
            return not condition or self._silent or Retries(ANSWER_SECONDS, Cancellation())(answer)
        except FerryError as error:
            log.warning("late writes count, because the source does not say whether they are selected: %s", error)
            self._silent = isinstance(error, RetriableError)
            return True


def late_rows(buffer: ChangeBuffer, ruled_out: Callable[[TableMove], Collection[RowKey]] = lambda _: ()) -> list[str]:
    """The rows changed on the source since the cutover, a line for each table: nothing takes their keys any more."""
    found = []
    for move in buffer.pending_by_move():
        keys, decode = buffer.pending_snapshot(move)
        others = ruled_out(move)
        keys = [key for key in keys if key not in others]
        if move.table.whole:
            found.append(f"{move.id} (a table without a key)")
        elif keys:
            named = [named_key(move.table, literals_of(key, decode)) for key in keys[:NAMED_KEYS]]
            rest = f" and {len(keys) - len(named)} more" if len(keys) > len(named) else ""
            found.append(f"{move.id}: {counted(len(keys), 'row')} ({'; '.join(named)}{rest})")
    return sorted(found)
