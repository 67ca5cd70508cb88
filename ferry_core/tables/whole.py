"""What is to be said of a table without a key before it was ever copied. Called by ``preflight`` and ``changes``."""

from ferry_core.tables.table import Table

ROWS_PER_SECOND = 40_000
BYTES_PER_SECOND = 10_000_000
"""Guesses: emptied, read and loaded again over one connection on each end, and compared."""


def estimated_seconds(table: Table) -> float:
    """How long a copy of the table takes, by the server's statistics."""
    rows = table.rows_estimated
    return max(rows / ROWS_PER_SECOND, rows * table.average_row_bytes / BYTES_PER_SECOND)


def add_key(table: Table) -> str:
    """The statement that gives a table a key which applications do not notice."""
    column = "ferry_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE PRIMARY KEY"
    return f"ALTER TABLE {table.source.sql} ADD COLUMN {column}"
