"""Rows whose text may not fit a packet: fetched raw and escaped here instead of by the source. Called by ``copier``.

The source sends raw columns of any length, while the result of a function is bounded by its max_allowed_packet.
"""

import threading

from ferry_core.mysql.session import Row
from ferry_core.rows.statements import Statements

BIG_ROW = threading.Lock()
"""One big row in flight in the whole process: each may take several times its size in memory."""


def load_line(statements: Statements, row: Row) -> bytes:
    """The row as one load-file line, from what ``Statements.raw_row`` gave."""
    return b",".join(
        _quoted(value) if each.unbounded else b"NULL" if value is None else value
        for each, value in zip(statements.codecs, row, strict=True)
    )


def _quoted(value: bytes | None) -> bytes:
    if value is None:
        return b"NULL"
    return b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
