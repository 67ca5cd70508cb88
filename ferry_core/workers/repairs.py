"""What becomes of rows that differ: the run ends, or they are copied again. Used by ``background_verifier``.

A repair is no write of its own: the row's key is added to the change buffer, so the next generation reads the row on
the source (R1) and writes it, under the table's gate, the fence, a pause and a throttle, as for a changed row. Whatever
is newer is read too, so no older row ever replaces a newer one.
"""

import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import TableMove
from ferry_core.tables.table import ALL_ROWS_RAW, KeyLiterals, Table
from ferry_core.text import shortlist
from ferry_core.verify.difference import (
    NAMED_TABLES,
    TOO_MANY,
    Difference,
    RowsDiffer,
    RowsDifferAgain,
    RowsKept,
    summary,
)
from ferry_core.verify.unproven import UnprovenKeys
from ferry_core.verify.verifier import row_key

log = logging.getLogger(__name__)

MOST_REPAIRS = 2
"""How often one row is copied again. If it differs once more, another copy will not help."""
REMEMBERED_ROWS = 100_000
MOST_ROWS = 100_000
"""How many rows of one table are copied again. More are faster and clearer copied from the beginning."""

_KEPT = "so these rows stay as they are on the target. Compare them, and write back on the source what it has lost"
_THEN = "The next start copies the source's rows over the target's, and deletes those that only the target has"
_NOT_ALL = (
    "There may be more such rows of {tables}: the next start compares these tables again, and still keeps their rows; "
    "delete on the target those that nobody needs"
)
_REBUILT = (
    "their tables were rebuilt, repaired or altered on the source, which may have dropped rows without an event, "
    f"{_KEPT}. "
)
_RESTARTED = (
    f"the source was restarted since this Ferry has copied rows, and may have lost some of them in a crash, {_KEPT}. "
)
_NO_TRANSACTIONS = (
    "a repair of a MyISAM or Aria table drops rows that it cannot read, without an event, also when the server opens "
    f"the table after a crash, {_KEPT}. Delete the others on the target, then start again"
)

Place = tuple[TableMove, KeyLiterals]


class Counted(Protocol):
    """Hears of rows that differ, for the status and the metrics."""

    def differ(self, by_table: Mapping[str, int]) -> None: ...

    def repaired(self, by_table: Mapping[str, int]) -> None: ...


def refuse_to_copy(differing: Sequence[Difference], moves: Iterable[TableMove], decided: Collection[Table]) -> None:
    """Raise RowsDiffer for rows that must stay as they are on the target. ``decided``: no other row of these tables
    differs.
    """
    if generated := [one for one in differing if one.only_generated]:
        raise RowsDiffer(generated)
    replacing = [one for one in differing if one.replaces]
    if dropped := [one for one in replacing if not one.table.transactional]:
        raise RowsKept(dropped, _NO_TRANSACTIONS, ())
    rebuilt = {move.table for move in moves if move.unproven.rebuilt}
    if altered := [one for one in differing if one.table in rebuilt]:
        raise RowsKept(altered, _REBUILT + _next_start(altered, decided), decided)
    restarted = {move.table for move in moves if move.unproven.restarted}
    if lost := [one for one in replacing if one.table in restarted]:
        raise RowsKept(lost, _RESTARTED + _next_start(lost, decided), decided)


class Repairs:
    """Used in the verification's thread only; ``open`` may be read by any thread."""

    def __init__(
        self,
        moves: Iterable[TableMove],
        buffer: ChangeBuffer,
        unproven: UnprovenKeys,
        counted: Counted,
    ) -> None:
        self._moves = moves
        self._buffer = buffer
        self._unproven = unproven
        self._counted = counted
        self._times: OrderedDict[Place, int] = OrderedDict()
        self._open: dict[Place, int] = {}
        """With the number of the repair, as an event of the key."""
        self._of_table: Counter[TableMove] = Counter()
        self.found = 0
        """Rows found to differ so far."""

    @property
    def open(self) -> int:
        """Number of rows that are to be copied again, or compared after that."""
        return len(self._open)

    def repair(self, differing: Sequence[Difference], decided: Collection[Table] = ()) -> None:
        """Have these rows copied again. Blocks while the change buffer is full. ``decided``: no other row of these
        tables differs.

        Raises RowsDiffer where a copy changes nothing or may delete the last copy of a row, and for too many rows;
        RowsDifferAgain for rows that were copied again too often.
        """
        moves = {move.table: move for move in self._moves}
        refuse_to_copy(differing, self._moves, decided)
        chosen: defaultdict[TableMove, list[Difference]] = defaultdict(list)
        for difference in differing:
            move = moves.get(difference.table)
            if move is not None and not self._buffer.is_pending(move, row_key(move, difference.key)):
                chosen[move].append(difference)
        again = [
            difference
            for move, its in chosen.items()
            for difference in its
            if self._times.get((move, difference.key), 0) >= MOST_REPAIRS
        ]
        if again:
            raise RowsDifferAgain(again, MOST_REPAIRS)
        for move, its in chosen.items():
            self._copy_again(move, its)

    def _copy_again(self, move: TableMove, differing: Sequence[Difference]) -> None:
        news = [difference for difference in differing if (move, difference.key) not in self._open]
        if news:
            self.found += len(news)
            self._of_table[move] += len(news)
            self._counted.differ({move.id: len(news)})
        if self._of_table[move] > MOST_ROWS:
            raise RowsDiffer(differing, f"{self._of_table[move]} rows of {move.id} have differed so far; {TOO_MANY}")
        log.warning("%s; they are copied again", summary(differing))
        for difference in differing:
            place = move, difference.key
            self._open[place] = 0
            self._times[place] = self._times.pop(place, 0) + 1
            if len(self._times) > REMEMBERED_ROWS:
                self._times.popitem(last=False)
        self._buffer.suspect(move, [difference.key for difference in differing])
        if move.table.whole:
            self._open |= {
                (move, difference.key): self._unproven.newest(move, ALL_ROWS_RAW) for difference in differing
            }

    def look(self) -> None:
        """Count the repairs that are over: their rows were compared since and are equal, or changed again.

        A row that is changed all the time is compared under the lock at the latest.
        """
        by_move: defaultdict[TableMove, list[KeyLiterals]] = defaultdict(list)
        for move, key in self._open:
            by_move[move].append(key)
        held: Counter[str] = Counter()
        for move, keys in by_move.items():
            if move.unproven.whole:
                continue  # its next pass tells
            left = set(self._unproven.holds(move, [row_key(move, key) for key in keys]))
            changed = self._changed_since(move, keys)
            for key in keys:
                if row_key(move, key) not in left or key in changed:
                    del self._open[move, key]
                    held[move.id] += 1
        self._tell(held)

    def _changed_since(self, move: TableMove, keys: Sequence[KeyLiterals]) -> Collection[KeyLiterals]:
        """Rows that an event has named since they were copied again. A table copied whole has one key for all."""
        if not move.table.whole:
            return self._unproven.named(move, set(keys), by_events=True)
        newest = self._unproven.newest(move, ALL_ROWS_RAW)
        return [key for key in keys if newest > self._open[move, key]]

    def _tell(self, held: Counter[str]) -> None:
        if held:
            log.info("%d rows that differed are equal now, or were changed since by the source", held.total())
            self._counted.repaired(held)


def _next_start(kept: Sequence[Difference], decided: Collection[Table]) -> str:
    """What it does with these rows."""
    names = sorted({str(one.table.source) for one in kept if one.table not in decided})
    return _NOT_ALL.format(tables=shortlist(names, NAMED_TABLES)) if names else _THEN
