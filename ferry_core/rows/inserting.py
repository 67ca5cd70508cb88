"""Rows as REPLACE ... VALUES, for targets with local_infile=OFF: the text that the source rendered, cut into rows.

A newline may also be inside of a value, between quotes. Called by ``loading``.
"""

import re
from collections.abc import Iterator

from ferry_core.errors import TooLarge
from ferry_core.mysql.session import Session
from ferry_core.mysql.warned import LoadResult
from ferry_core.reasons import Reason
from ferry_core.rows.statements import PACKET_SLACK, Statements

STATEMENT_BYTES = 1 << 20
"""Text of one statement; the parser of a server needs several times its size in memory."""

_ROW = re.compile(rb"(?:[^'\n]++|'(?:[^'\\]++|\\.)*+')++", re.DOTALL)


def insert(target: Session, statements: Statements, payload: bytes) -> Iterator[LoadResult]:
    """Execute statement by statement, each with at least one row. TooLarge for a row that the target does not take."""
    head = f"{statements.replace()} "
    for rows in _grouped(_ROW.findall(payload), min(STATEMENT_BYTES, statements.packet - PACKET_SLACK) - len(head)):
        # Of a single row in VALUES MySQL refuses NULL for a NOT NULL column even if its sql_mode is not strict.
        values = b"SELECT " + rows[0] if len(rows) == 1 else b"VALUES (%s)" % b"),(".join(rows)
        statement = head.encode("utf-8", "surrogateescape") + values
        if len(statement) > statements.packet:
            _refuse_too_long(target, statements, len(statement))
        affected = target.execute(statement, shown=head)
        yield LoadResult(len(rows), affected - len(rows), 0, target.warning_count)


def _grouped(rows: list[bytes], most: int) -> Iterator[list[bytes]]:
    group: list[bytes] = []
    size = 0
    for row in rows:
        if group and size + len(row) > most:
            yield group
            group, size = [], 0
        group.append(row)
        size += len(row) + len("),(")
    if group:
        yield group


def _refuse_too_long(target: Session, statements: Statements, size: int) -> None:
    """Before the server does, which would close the connection."""
    packet = target.number("SELECT @@max_allowed_packet")
    if size >= packet:
        what = f"a row of {size} bytes does not fit the target's max_allowed_packet of {packet}"
        raise TooLarge(Reason.ROWS_TOO_LARGE, f"{statements.table.target}: {what}")
