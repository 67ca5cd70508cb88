"""Rows whose text may not fit a packet: fetched raw, and escaped here instead of by the source. Used by ``copier``.

The source sends raw columns of any length, but limits the result of a function to its max_allowed_packet.
"""

import threading

from ferry_core.mysql.session import Row
from ferry_core.rows.statements import Statements

BIG_ROW = threading.Lock()
"""One big row at a time in the whole process, because each may take several times its size in memory."""


def load_line(statements: Statements, row: Row) -> bytes:
    """The row as one line of a load file, from the columns of ``Statements.raw_row``."""
    return b",".join(
        _quoted(value) if each.unbounded else b"NULL" if value is None else value
        for each, value in zip(statements.codecs, row, strict=True)
    )


def _quoted(value: bytes | None) -> bytes:
    if value is None:
        return b"NULL"
    return b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
