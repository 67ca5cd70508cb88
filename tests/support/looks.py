"""Every function of ours that asks a server about its tables, for tests of what a server may leave out."""

import contextlib
from collections.abc import Callable
from contextlib import nullcontext

from ferry_core.api.selection import Tables
from ferry_core.mysql.session import Session
from ferry_core.preflight.structure import structures
from ferry_core.rows.target_keys import has_hash_unique, target_key_index
from ferry_core.schema.counters import raise_counters
from ferry_core.schema.create import create_missing, definition, taken_names
from ferry_core.schema.foreign_keys import add_foreign_keys
from ferry_core.tables.describe import columns_of, indexes_of, sizes_of
from ferry_core.tables.discovery import discover, new_tables
from ferry_core.tables.table import Table, TableName


class NoFence:
    def hold(self, working: Session) -> contextlib.AbstractContextManager[None]:  # noqa: ARG002 - the real one's shape
        return nullcontext()


Look = Callable[[Session, Table], object]
"""The answer, comparable."""


LOOKS: dict[str, Look] = {
    "selection": lambda session, table: [
        (one.id, one.key, one.columns, one.secondary_unique)
        for one in discover(session, Tables(include=[f"{table.source.schema}.*"]))
    ],
    "new tables": lambda session, table: new_tables(session, Tables(include=[f"{table.source.schema}.*"]), []),
    "columns": lambda session, table: columns_of(session, [table.source.schema]),
    "indexes": lambda session, table: indexes_of(session, [table.source.schema]),
    "sizes": lambda session, table: set(sizes_of(session, [table.source.schema])),
    "structure": lambda session, table: structures(session, [table.source]),
    "the target's key": target_key_index,
    "hash keys": has_hash_unique,
    "taken names": lambda session, table: taken_names(session, TableName(table.source.schema, "mine"), "FOREIGN KEY"),
    "counters": lambda session, table: raise_counters(session, session, [table], NoFence()),
    "constraints": lambda session, table: definition(session, table.source).foreign_keys,
    "missing tables": lambda session, table: create_missing(session, session, [table], NoFence()),
    "foreign keys": lambda session, table: add_foreign_keys(session, session, [table], NoFence()),
}
