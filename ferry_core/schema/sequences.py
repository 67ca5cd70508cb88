"""Raises the target's sequences to the source's, so that no number is given twice. Only MariaDB has sequences.

A server reserves numbers ahead and stores the first one that is not reserved, so no number from there on was given.
Called under the cutover's lock. Only a source that is read-only gives no more numbers then: LOCK TABLES ... READ, also
of the sequence itself, keeps nobody from NEXTVAL and SETVAL (measured on 10.11). ``objects`` creates them.
"""

import logging
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ferry_core.api.selection import Tables
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import string
from ferry_core.mysql.session import Session
from ferry_core.schema.create import Fence
from ferry_core.tables.patterns import matches
from ferry_core.tables.table import Table, TableName

log = logging.getLogger(__name__)


class _Place(NamedTuple):
    """Where a sequence stands; a later place is greater. ``value`` grows downwards if the increment is negative."""

    rounds: int
    value: int
    sign: int


def raise_sequences(
    source: Session, target: Session, selection: Tables, tables: Sequence[Table], fence: Fence
) -> list[TableName]:
    """Raise each sequence of the tables' schemas that exists on both ends and is behind on the target; returns those.

    A sequence that an exclude pattern names is left alone.
    """
    if not source.flavor is target.flavor is Flavor.MARIADB:
        return []
    schemas = {name: selection.rename_schemas.get(name, name) for name in {table.source.schema for table in tables}}
    there = sequences_of(target, schemas.values())
    raised = []
    for name in sequences_of(source, schemas):
        to = TableName(schemas[name.schema], name.name)
        if to not in there or any(matches(name, pattern) for pattern in selection.exclude):
            continue
        wanted = _place(source, name)
        if _place(target, to) >= wanted:
            continue
        number = wanted.value * wanted.sign
        try:
            with fence.hold(target):
                target.query(f"SELECT SETVAL({to.sql}, {number}, 0, {wanted.rounds})")
        except (ConfigError, DataError) as error:
            log.warning("the target's sequence %s may give numbers again that the source gave: %s", to, error)
        else:
            raised.append(to)
    return raised


def sequence_names(source: Session, selection: Tables, tables: Sequence[Table]) -> dict[TableName, TableName]:
    """The sequences of the tables' schemas, with their names on the target, which DEFAULTs there have to use."""
    if source.flavor is not Flavor.MARIADB:
        return {}
    found = sequences_of(source, {table.source.schema for table in tables})
    return {name: TableName(selection.rename_schemas.get(name.schema, name.schema), name.name) for name in found}


def sequences_of(session: Session, schemas: Collection[str]) -> list[TableName]:
    """The sequences in these schemas."""
    if not schemas:
        return []
    names = ", ".join(map(string, sorted(schemas)))
    rows = session.query(
        "SELECT TABLE_SCHEMA, TABLE_NAME FROM information_schema.TABLES"
        f" WHERE TABLE_TYPE = 'SEQUENCE' AND TABLE_SCHEMA IN ({names}) ORDER BY 1, 2"
    )
    return [TableName((schema or b"").decode(), (name or b"").decode()) for schema, name in rows]


def _place(session: Session, name: TableName) -> _Place:
    row = session.row(f"SELECT cycle_count, next_not_cached_value, increment FROM {name.sql}", 3)
    rounds, value, increment = (int(number or 0) for number in row)
    sign = -1 if increment < 0 else 1
    return _Place(rounds, value * sign, sign)
