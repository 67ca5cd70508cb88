"""``deletionPolicy: DropTarget``: drops the tables that a Ferry copied, unless they may be in use.

A table is dropped only if it is provably this Ferry's: its lease names the table (it was empty or absent then) and does
not say that it is unwritten, and the checkpoint has the record of its start (R2). Tables are never dropped after a
cutover, nor if another Ferry's lease names them, nor if a foreign table references them. All others are kept and named.
No Ferry claims a table between the look at the leases and the drop. Called by
``offline``.
"""

import json
import os
from collections.abc import Callable, Collection
from pathlib import Path

from ferry_core.api.spec import Ferry, ferry_uid
from ferry_core.checkpoint.state import ObjectsState, RunState
from ferry_core.consistency.fence import COMPLETED, Fence, Lease
from ferry_core.consistency.own_tables import LEASE
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.faults import is_referenced
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.run.claim import claims_kept_out
from ferry_core.run.own_objects import drop_own_objects
from ferry_core.run.setup import open_store
from ferry_core.schema.building import as_written
from ferry_core.tables.discovery import LEFT_OUT, target_name
from ferry_core.tables.table import TableName
from ferry_core.workers.connections import Connections


def drop_target(ferry: Ferry, state_path: Path | None, connections: Connections, fence: Fence, lease: Lease) -> str:
    """Drop our tables; returns what was dropped and what is kept. ``fence`` has just been taken, ``lease`` is from
    before.
    """
    if lease.phase == COMPLETED:
        return "; its tables are kept because they are live"
    state, trouble = _state(ferry, state_path, connections)
    with connections.target() as session, claims_kept_out(session):
        folds = session.number("SELECT @@lower_case_table_names") != 0

        def folded(name: TableName) -> TableName:
            return TableName(name.schema.lower(), name.name.lower()) if folds else name

        def names(texts: Collection[str]) -> set[TableName]:
            return {folded(name) for text in texts for name in TableName.readings(text)}

        found = tables_named(session, names(lease.tables), folded)
        claimed = {folded(name) for text in lease.tables for name in _certain(text)}
        others = set(map(folded, _claimed_by_others(session, ferry_uid(ferry))))
        recorded = [target_name(TableName.parse(known), ferry.spec.tables) for known in state.started] if state else []
        started = set(map(folded, recorded)) - names(lease.unwritten)
        ours = [table for table in found if folded(table) in (started & claimed) - others]
        with fence.hold(session):
            # They come after the first row, so a state without a copied table here is about another target.
            shared = frozenset(name.schema for name in others)
            objects = drop_own_objects(session, state.objects if state and started else ObjectsState(), shared)
            dropped = _drop(session, ours)
    if lease.tables and lease.unwritten.issuperset(lease.tables):
        trouble = "this Ferry has not written to them"
    return _said(dropped, [table for table in found if table not in dropped], trouble) + objects


def _said(dropped: list[TableName], kept: list[TableName], trouble: str) -> str:
    said = f"; dropped {', '.join(map(str, dropped))}" if dropped else "; dropped no table"
    if kept:
        why = trouble or "not provably this Ferry's alone"
        said += f"; kept {', '.join(map(str, kept))} ({why}): drop what you do not need by hand"
    return said


def _certain(text: str) -> list[TableName]:
    """The name in a lease row; empty if an earlier version wrote it ambiguously."""
    readings = TableName.readings(text)
    return readings if len(readings) == 1 else []


def _state(ferry: Ferry, state_path: Path | None, connections: Connections) -> tuple[RunState | None, str]:
    """The checkpoint that records which tables were started, and the reason if there is none."""
    missing = "no checkpoint records which tables it filled"
    if state_path is not None and not os.path.lexists(state_path):
        return None, f"{missing} at {state_path}"
    store = open_store(state_path, connections.target, ferry_uid(ferry))
    try:
        state = store.load()
    except ConfigError as error:
        return None, error.message
    finally:
        store.close()
    if state is None or state.ferry_uid != ferry_uid(ferry):
        return None, missing
    return state, ""


def tables_named(
    session: Session, claimed: set[TableName], folded: Callable[[TableName], TableName]
) -> list[TableName]:
    """Existing tables on the target with the claimed names."""
    rows = rows_of(session, claimed, "tables", "table_type", condition="table_type = 'BASE TABLE'")
    names = {TableName((schema or b"").decode(), (name or b"").decode()) for schema, name, _ in rows}
    return sorted(name for name in names if folded(name) in claimed and name.schema not in LEFT_OUT)


def _claimed_by_others(session: Session, uid: str) -> set[TableName]:
    """Tables that other Ferries' rows name, whatever their phase, in every reading.

    An aborted Ferry has released its tables, and another one may have filled them since.
    """
    rows = session.query(f"SELECT tables FROM {LEASE} WHERE ferry_uid <> {string(uid)}")
    return {name for (tables,) in rows for text in json.loads(tables or b"[]") for name in TableName.readings(text)}


def _drop(session: Session, tables: list[TableName]) -> list[TableName]:
    """Drop these tables; returns those that could be dropped. The server refuses the others because something
    references them.

    With foreign_key_checks the server checks that itself, even for tables that the account cannot see. Tables may
    reference each other: children are dropped first, and in a circle their constraints are.
    """
    session.execute("SET SESSION foreign_key_checks = 1")
    dropped: list[TableName] = []
    for step in (_drop_table, _drop_constraints, _drop_table):
        again = True
        while again:
            left = [table for table in tables if table not in dropped]
            gone = [table for table in left if step(session, table, left)]
            dropped += gone
            again = bool(gone)
    return dropped


def _drop_table(session: Session, table: TableName, _: list[TableName]) -> bool:
    try:
        session.execute(f"DROP TABLE IF EXISTS {table.sql}")
    except DataError as error:
        if not is_referenced(error):
            raise
        return False
    return True


def _drop_constraints(session: Session, table: TableName, left: list[TableName]) -> bool:
    """Drop constraints to remaining tables. It drops no table."""
    rows = session.query(
        "SELECT DISTINCT constraint_name, referenced_table_schema, referenced_table_name"
        " FROM information_schema.key_column_usage WHERE referenced_table_name IS NOT NULL"
        f" AND table_schema = {string(table.schema)} AND table_name = {string(table.name)}"
    )
    for row in rows:
        constraint, *parent = ((value or b"").decode() for value in row)
        if TableName(*parent) in left:
            with as_written(session) as build:  # the server may refuse to alter a table without a primary key
                build(f"ALTER TABLE {table.sql} DROP FOREIGN KEY {identifier(constraint)}")
    return False
