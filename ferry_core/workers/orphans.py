"""Once all rows are copied: reads rows again whose parent the target does not have.

A cascade through two tables is followed by the middle table's rows on the target. Where the target never had such a
row, because its chunk was read later, or has lost it, because an earlier run died between two commits, its children are
found here: nothing on the target is their parent. Later ``changes.derived_keys`` looks for such rows.
docs/correctness.md says why this is needed. ``run.operations`` starts it in each run, before the verification.
"""

import logging
from collections.abc import Callable

from ferry_core.cancellation import Cancellation
from ferry_core.changes.buffer import ChangeBuffer
from ferry_core.moves.move import TableMove
from ferry_core.moves.move_set import MoveSet
from ferry_core.mysql.session import Session
from ferry_core.retries import Retries
from ferry_core.rows.referencing import OrphanWalk
from ferry_core.schema.cascades import Cascade
from ferry_core.tables.table import KeyLiterals
from ferry_core.workers.patience import RETRY_SECONDS

log = logging.getLogger(__name__)


def suspect_orphans(
    moves: MoveSet, buffer: ChangeBuffer, connect: Callable[[], Session], cancelled: Cancellation
) -> None:
    """Make the keys of such rows pending. ``connect`` opens a session on the target."""
    for cascade in moves.cascades:
        if cascade.parent_follows:  # otherwise every change that matters is an event
            child = next(move for move in moves if move.table is cascade.child)
            _Orphans(cascade, child, connect, cancelled).suspect(buffer)


class _Orphans:
    """The rows of one child."""

    def __init__(
        self, cascade: Cascade, child: TableMove, connect: Callable[[], Session], cancelled: Cancellation
    ) -> None:
        self._cascade = cascade
        self._child = child
        self._connect = connect
        self._cancelled = cancelled
        self._walk = OrphanWalk(cascade)
        self._session: Session | None = None
        self._retrying = Retries(RETRY_SECONDS, cancelled)

    def suspect(self, buffer: ChangeBuffer) -> None:
        with self._child.gate.flush(self._cancelled.is_set):
            pass  # no chunk or batch that has read before this moment is still to be written
        found = 0
        try:
            while not (self._walk.ended or self._cancelled.is_set()):
                if keys := self._retrying(self._step, lambda _: self._close()):
                    buffer.suspect(self._child, keys)
                    found += len(keys)
        finally:
            self._close()
        if found:
            log.info("%s: %d rows without a parent on the target are read again", self._child.id, found)

    def _step(self) -> list[KeyLiterals]:
        self._session = self._session or self._connect()
        return self._walk.step(self._session)

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None
