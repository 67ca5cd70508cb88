"""Which tables' filtered rows are found by an index. Called by ``setup``.

Where its entries for the filter are in the key's order (one value of all its columns), each chunk reads its own rows
only. Else each chunk reads every entry that the filter finds: worse than reading the whole table once, if chunks are
many. Reads that lock rows find them by the key (``rows.statements``), so bounds have to as well.
"""

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import replace

from ferry_core.errors import DataError, Interrupted
from ferry_core.mysql.limited import query_within
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.tables.predicates import order_by
from ferry_core.tables.table import Table
from ferry_core.text import shortlist

log = logging.getLogger(__name__)

TABLE_SECONDS = 2
BUDGET_SECONDS = 20.0
"""For counts of all tables together. A condition that few rows match may still read the whole index."""


def found_by_index(session: Session, tables: Sequence[Table], chunk_bytes: int, *, reads_lock: bool) -> list[Table]:
    """The tables, marked where the index of the filter is not used."""
    indexed = [table for table in tables if table.filter_index and not table.whole]
    deadline = time.monotonic() + BUDGET_SECONDS
    unused = {table for table in indexed if reads_lock or not worth_it(session, table, chunk_bytes, deadline)}
    if unused:
        why = (
            "reads lock rows (GtidModeOff)" if reads_lock else "each chunk would read all of its entries for the filter"
        )
        names = shortlist(sorted(table.id for table in unused), 5)
        log.warning("rows of the filters of %s are not found by an index: %s", names, why)
    return [replace(table, filter_index_unused=table in unused) for table in tables]


def worth_it(session: Session, table: Table, chunk_bytes: int, deadline: float) -> bool:
    """Whether chunks found by the index read less than the whole table: copied and compared, each once for its end and
    once for its rows. If it takes long to find out, they do not.
    """
    rows = f"FROM {table.source.sql} FORCE INDEX ({identifier(table.filter_index)}) WHERE (\n{table.row_filter}\n)"
    try:
        plan = session.query(f"EXPLAIN FORMAT=TRADITIONAL SELECT 1 {rows} ORDER BY {order_by(table.key)} LIMIT 1")
    except DataError:
        return True  # preflight says what is wrong with the filter
    if not any(b"filesort" in (step[-1] or b"") for step in plan):
        return True
    rows_per_chunk = max(1, chunk_bytes // max(1, table.average_row_bytes))
    most = max(rows_per_chunk, math.isqrt(table.rows_estimated * rows_per_chunk // 2))
    if time.monotonic() > deadline:
        return False
    try:
        ((count,),) = query_within(
            session, TABLE_SECONDS, f"SELECT COUNT(*) FROM (SELECT 1 {rows} LIMIT {most + 1}) AS found"
        )
    except (DataError, Interrupted):  # preflight says what is wrong with the filter
        return False
    return int(count or 0) <= most
