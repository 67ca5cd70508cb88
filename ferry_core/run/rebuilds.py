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

    def look(self, source: Session) -> Sequence[TableMove]:
        """The tables that were rebuilt since the last call; the first call returns none."""
        found = []
        rows = rows_of(source, self._moves, "tables", "create_time") if self._moves else []
        for schema, name, built in rows:
            move = self._moves.get(TableName((schema or b"").decode(), (name or b"").decode()))
            if move is not None and self._built.setdefault(move, built) != built:
                self._built[move] = built
                found.append(move)
        return found
