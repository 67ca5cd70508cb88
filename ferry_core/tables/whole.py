"""What is known of a table that is copied whole before its first copy. Called by ``preflight`` and ``changes``."""

import re

from ferry_core.tables.table import Table, unquoted

ROWS_PER_SECOND = 40_000
BYTES_PER_SECOND = 10_000_000
"""Guesses for emptying, reading, loading and comparing over one connection to each server."""
_COUNTER = re.compile(r"^  (`(?:[^`]|``)+`) .* AUTO_INCREMENT", re.MULTILINE)
_PRIMARY = re.compile(r"^  PRIMARY KEY ", re.MULTILINE)


def estimated_seconds(table: Table) -> float:
    """How long a copy of the table takes, according to the server's statistics."""
    rows = table.rows_estimated
    return max(rows / ROWS_PER_SECOND, rows * table.average_row_bytes / BYTES_PER_SECOND)


def size(table: Table) -> str:
    """According to the server's statistics, for a message."""
    return f"about {table.rows_estimated:,} rows, {table.rows_estimated * table.average_row_bytes / 1e6:,.0f} MB"


def no_longer_whole(table: Table) -> str:
    """What has the table copied by its key, as an instruction."""
    if table.copied_whole:
        return f"make the foreign keys of {table.id} that cascade RESTRICT"
    return f"add a key: {add_key(table)}"


def counter(table: Table) -> str:
    """Its AUTO_INCREMENT column, which has an index and probably no value twice; empty if there is none."""
    found = _COUNTER.search(table.definition)
    return unquoted(found[1]) if found else ""


def add_key(table: Table) -> str:
    """The statement that adds a key without any effect on applications.

    A table has at most one PRIMARY KEY (over prefixes, if it is no usable key) and one AUTO_INCREMENT column.
    """
    if counter := _COUNTER.search(table.definition):
        return f"ALTER TABLE {table.source.sql} ADD UNIQUE INDEX ferry_key ({counter[1]})"
    kind = "UNIQUE" if _PRIMARY.search(table.definition) else "PRIMARY KEY"
    return (
        f"ALTER TABLE {table.source.sql} ADD COLUMN ferry_id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE {kind}"
    )
