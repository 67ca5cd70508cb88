"""Reads the target's lease table, which says which Ferry owns which tables. Used by ``context`` and ``offline``.

Only the fence writes that table. Here it is read by runs that do not own anything yet.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ferry_core.api.report import Phase
from ferry_core.consistency.own_tables import LEASE, OWN_COLUMNS, SCHEMA, parse_tables
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.faults import table_is_gone
from ferry_core.mysql.listings import exists
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.tables.table import TableName

OWN_SCHEMA = SCHEMA


@dataclass(frozen=True)
class Lease:
    """One Ferry's row: its id, its phase, and the target tables that it claims."""

    ferry_uid: str
    name: str
    phase: str
    source_id: str
    tables: frozenset[TableName]
    perhaps: frozenset[TableName]  # some or all of these: a row of an earlier version is ambiguous
    locks_source: bool  # whether it holds the source's old read_only values
    unwritten: frozenset[TableName]
    by_table: bool  # for both see ``own_tables.Claims``


def read_leases(target: Session) -> Sequence[Lease]:
    """Every row; none if the schema or the table does not exist."""
    _refuse_foreign(target)
    if not exists(target, LEASE):
        return []
    try:
        rows = target.query(f"SELECT ferry_uid, name, phase, source_id, tables, cutover FROM {LEASE}")
    except DataError as error:
        if not table_is_gone(error):
            raise
        return []  # the cleanup of the last other Ferry dropped the table
    return [_lease([(value or b"").decode() for value in row]) for row in rows]


def _refuse_foreign(target: Session) -> None:
    """Raise if somebody else's tables have the names of ours."""
    rows = target.query(
        f"SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{SCHEMA}'"
    )
    found: dict[str, set[str]] = defaultdict(set)
    for table, column in rows:
        found[(table or b"").decode().lower()].add((column or b"").decode().lower())
    for own, columns in OWN_COLUMNS.items():
        if lacking := sorted(columns - found.get(own.name, columns)):
            raise ConfigError(
                Reason.STATE_UNUSABLE,
                f"{target.endpoint.where}: {own} was not made by mysql-ferry: it lacks {', '.join(lacking)}. Its "
                f"schema {SCHEMA} is where Ferries keep their state: rename it, or drop it if nothing needs it",
                server=target.endpoint.role,
            )


def _lease(texts: list[str]) -> Lease:
    uid, name, phase, source_id, tables, cutover = texts
    claims = parse_tables(tables, phase)
    readings = [TableName.readings(text) for text in claims.tables]
    certain = frozenset(read[0] for read in readings if len(read) == 1)
    perhaps = frozenset(table for read in readings if len(read) > 1 for table in read)
    locks_source = "read_only" in json.loads(cutover or "{}") and phase != Phase.ABORTED.value
    not_written = frozenset(read for text in claims.unwritten for read in TableName.readings(text))
    return Lease(uid, name, phase, source_id, certain, perhaps, locks_source, not_written, claims.by_table)
