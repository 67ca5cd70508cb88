"""Rebuilds of source tables that the binlog does not report: ``OPTIMIZE LOCAL TABLE``, DDL under ``sql_log_bin=0``.

MySQL computes stored generated columns again by some of them, with the settings of that session. The server keeps the
time at which each table was built. Called by ``operations``, when the verification begins and before each attempt.
"""

from collections.abc import Iterable, Sequence

from ferry_core.moves.move import TableMove
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.session import Session
from ferry_core.tables.table import TableName


class Rebuilds:
    """Watches the tables with stored generated columns that are compared."""

    def __init__(self, moves: Iterable[TableMove]) -> None:
        self._moves = {move.table.source: move for move in moves if move.table.stored_columns}
        self._built: dict[TableMove, bytes | None] = {}

    def note(self, source: Session) -> None:
        """Remember how the tables were built. Call it before the verification begins."""
        self._built |= self._read(source)

    def look(self, source: Session) -> Sequence[TableMove]:
        """The tables that were rebuilt since the last call, and those that could not be noted before."""
        now = self._read(source)
        found = [move for move, built in now.items() if move not in self._built or self._built[move] != built]
        self._built |= now
        return found

    def _read(self, source: Session) -> dict[TableMove, bytes | None]:
        rows = rows_of(source, self._moves, "tables", "create_time") if self._moves else []
        named = ((TableName((schema or b"").decode(), (name or b"").decode()), built) for schema, name, built in rows)
        return {self._moves[name]: built for name, built in named if name in self._moves}
