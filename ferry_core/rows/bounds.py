"""Finds the ends of chunks: index-only walks that return key bounds as literals. Used by ``iterator``.

Where an index finds the rows that pass a row filter, it is walked, and only those rows count. Its entries of one value
are in the key's order, because InnoDB appends the key to each. The session is one for row filters then.
"""

from ferry_core.errors import DataError
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.codecs import codec
from ferry_core.tables.nullable import rendered
from ferry_core.tables.predicates import after, order_by, where
from ferry_core.tables.table import KeyLiterals, KeyRange, Table
from ferry_core.text import shortlist


def next_bound(session: Session, table: Table, lo: KeyLiterals | None, rows: int) -> KeyLiterals | None:
    """The key of the ``rows``-th row after ``lo``. None when the table ends before it.

    Filtered-out rows count too, unless there is an index of the filter.
    """
    if table.whole:
        return None
    condition = _passing(table, after(table.key, lo) if lo is not None else "TRUE")
    # A PRIMARY KEY over prefixes is read in its order, but an ORDER BY would sort the rest of the table for each chunk.
    # Another order would only make chunks of other sizes.
    in_order = table.key.prefixed and not table.finding_index and table.key.index_name == "PRIMARY"
    order = "" if in_order else f" ORDER BY {order_by(table.key)}"
    found = session.query(
        f"SELECT {_literals(session, table)} FROM {_from(table)} WHERE {condition}{order} LIMIT 1 OFFSET {rows - 1}"
    )
    refuse_warnings(session, table)
    return rendered(table, found[0]) if found else None


def midpoint(session: Session, table: Table, chunk: KeyRange) -> KeyLiterals | None:
    """A bound that halves the range's rows. None when it has fewer than two."""
    condition = _passing(table, where(table.key, chunk))
    rows = session.number(f"SELECT COUNT(*) FROM {_from(table)} WHERE {condition}")
    if rows < 2:
        return None
    found = session.query(
        f"SELECT {_literals(session, table)} FROM {_from(table)} WHERE {condition}"
        f" ORDER BY {order_by(table.key)} LIMIT 1 OFFSET {rows // 2 - 1}"
    )
    refuse_warnings(session, table)
    return rendered(table, found[0]) if found else None


def _from(table: Table) -> str:
    index = table.finding_index or table.key.index_name
    return f"{table.source.sql} FORCE INDEX ({identifier(index)})" if index else table.source.sql


def _passing(table: Table, condition: str) -> str:
    # On its own line, so that a comment in the filter ends with the filter.
    return f"({condition}) AND (\n{table.row_filter}\n)" if table.finding_index else condition


def _literals(session: Session, table: Table) -> str:
    return ",".join(codec(column, session.flavor).key_literal() for column in table.key.columns)


def refuse_warnings(session: Session, table: Table) -> None:
    """A walk that caused warnings may have missed keys."""
    if warnings := session.warnings():
        shown = shortlist([f"{warned.code} {warned.message}" for warned in warnings], 3, "; ")
        raise DataError(Reason.SOURCE_WARNING, f"walking the key of {table.id}: {shown}")
