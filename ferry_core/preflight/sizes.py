"""Estimates how much there is to copy and how long it takes. Used by ``ferry check`` and to judge binlog retention."""

from collections.abc import Iterator

from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.result import Check, Finding, passed
from ferry_core.text import counted

ROWS_PER_SECOND = 100_000
BYTES_PER_SECOND = 60_000_000
"""Measured on two cores with both servers on the same machine; the slower server is the limit."""


def copy_seconds(context: PreflightContext) -> int:
    """A rough estimate from the servers' own statistics. Rows that a filter leaves out count if they are read."""
    rows = sum(table.rows_walked for table in context.tables)
    size = sum(table.rows_walked * table.average_row_bytes for table in context.tables)
    limit = context.spec.throttle.max_rows_per_second or ROWS_PER_SECOND
    return int(max(rows / min(limit, ROWS_PER_SECOND), size / BYTES_PER_SECOND))


def _sizes(context: PreflightContext) -> Iterator[Finding]:
    rows = sum(table.rows_moved for table in context.tables)
    size = sum(table.rows_moved * table.average_row_bytes for table in context.tables)
    tables, duration = counted(len(context.tables), "table"), _roughly(copy_seconds(context))
    yield passed(
        f"{tables}, about {rows:,} rows and {_size(size)} without indexes; copying takes {duration}. Make sure "
        f"that {context.target_facts.where} has enough free disk space: that cannot be checked from here"
    )


def _size(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


def _roughly(seconds: int) -> str:
    return f"about {seconds // 60} min" if seconds >= 60 else "less than a minute"


CHECKS = (Check("sizes", "both", _sizes),)
