"""Estimates how many rows pass the row filters, which the statistics of a table do not say. Used by ``discovery``.

EXPLAIN reads a few pages of an index, and no rows. Without an index for the filter it is a guess.
"""

import time
from collections.abc import Sequence
from dataclasses import replace

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.tables.table import Table

BUDGET_SECONDS = 20.0
"""For all tables together: what is not estimated by then counts as the whole table."""


def with_rows_passing(session: Session, tables: Sequence[Table]) -> list[Table]:
    """The tables, those with a row filter with an estimate of the rows that pass it."""
    deadline = time.monotonic() + BUDGET_SECONDS
    return [
        replace(table, rows_passing=_estimate(session, table))
        if table.row_filter and time.monotonic() < deadline
        else table
        for table in tables
    ]


def _estimate(session: Session, table: Table) -> int | None:
    explain = "EXPLAIN EXTENDED" if session.flavor is Flavor.MARIADB else "EXPLAIN FORMAT=TRADITIONAL"
    index = f" FORCE INDEX ({identifier(table.filter_index)})" if table.filter_index else ""
    try:
        plan = session.query(f"{explain} SELECT 1 FROM {table.source.sql}{index} WHERE (\n{table.row_filter}\n)")
    except (ConfigError, DataError):
        return None  # preflight says what is wrong with the filter
    *_, rows, percent, _ = plan[0]
    # Of a table of one row, or one that the server knows to have no such row, the plan has no figures.
    return min(round(float(rows) * float(percent or 100) / 100), table.rows_estimated) if rows is not None else None
