"""Rows whose text may not fit a packet: fetched raw, and escaped here instead of by the source. Used by ``copier``.

The source sends raw columns of any length, but limits the result of a function to its max_allowed_packet.
"""

import threading

from ferry_core.mysql.session import Row
from ferry_core.rows.statements import Statements
from ferry_core.tables.codecs import Codec

BIG_ROW = threading.Lock()
"""One big row at a time in the whole process, because each may take several times its size in memory."""


def load_line(statements: Statements, row: Row) -> bytes:
    """The row as one line of a load file, from its columns as of ``Statements.raw_row``."""
    return b",".join(
        b"NULL" if value is None else _quoted(statements, each, value) if each.unbounded else value
        for each, value in zip(statements.codecs, row, strict=True)
    )


def _quoted(statements: Statements, column: Codec, value: bytes) -> bytes:
    introducer = column.introducer.encode() if statements.literals else b""
    return introducer + b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
