"""Rebuilds of source tables that the binlog does not report: ``OPTIMIZE`` and ``REPAIR LOCAL TABLE``, DDL under
``sql_log_bin=0``, the repair that a server makes by itself when it opens a crashed table.

MySQL computes stored generated columns again by some of them, with the settings of that session. A repair of a table
without transactions drops rows that it cannot read. The server keeps the times at which each table was built and
checked. Called by ``data_operations``, when the verification begins, a table starts over, and before each attempt.
"""

from collections.abc import Iterable, Sequence

from ferry_core.moves.move import TableMove
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.session import Session
from ferry_core.tables.table import WITHOUT_TRANSACTIONS, Table, TableName

_TIMES = "CONCAT_WS(' ', create_time, check_time)"


def _may_lose(table: Table) -> bool:
    return bool(table.stored_columns) or table.engine in WITHOUT_TRANSACTIONS


class Rebuilds:
    """Watches the tables with stored generated columns, and those without transactions."""

    def __init__(self, moves: Iterable[TableMove]) -> None:
        self._all = moves
        self._built: dict[TableMove, bytes | None] = {}

    def note(self, source: Session, moves: Iterable[TableMove] | None = None) -> None:
        """Remember how the tables were built: of all moves before the verification begins, of ``moves`` before their
        first row is read. Of any other table that would hide what happened to it meanwhile.
        """
        self._built |= self._read(source, self._all if moves is None else moves)

    def look(self, source: Session) -> Sequence[TableMove]:
        """The tables that were rebuilt since the last call, and those that could not be noted before."""
        now = self._read(source, self._all)
        found = [move for move, built in now.items() if move not in self._built or self._built[move] != built]
        self._built |= now
        return found

    def _read(self, source: Session, of: Iterable[TableMove]) -> dict[TableMove, bytes | None]:
        moves = {move.table.source: move for move in of if _may_lose(move.table)}
        rows = rows_of(source, moves, "tables", _TIMES) if moves else []
        named = ((TableName((schema or b"").decode(), (name or b"").decode()), built) for schema, name, built in rows)
        return {moves[name]: built for name, built in named if name in moves}
