"""Checks ``tables.tenant``: each selected table has the column, each value is one of its type, and rows have it.

A comparison converts silently: on an INT '42x' finds the rows of 42, and 'acme' those of 0. So each value is stored in
a column of the same type, on a TEMPORARY table of the target, and must come back equal and without a warning.
"""

import time
from collections.abc import Iterator

from ferry_core.errors import ConfigError, DataError, Interrupted
from ferry_core.mysql.limited import query_within
from ferry_core.mysql.literals import identifier, string
from ferry_core.mysql.session import Session
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.result import Check, Finding, failed, warning
from ferry_core.preflight.row_filters import definition, workshop
from ferry_core.reasons import Reason
from ferry_core.tables.discovery import rule_of, tenant_column
from ferry_core.tables.families import NoCounterpartError
from ferry_core.tables.table import Column, Table, TableName
from ferry_core.text import shortlist

HELPER = "tenant_value_check"
SHOWN = 20
LOOK_SECONDS = 2
BUDGET_SECONDS = 20.0
"""For looking for rows of all values. Without an index a value without rows reads the whole table."""


def _columns(context: PreflightContext) -> Iterator[Finding]:
    tenant = context.spec.tables.tenant
    if tenant is None:
        return
    without = [
        table.id
        for table in context.tables
        if tenant_column(table.columns, tenant) is None and rule_of(table.source, context.spec.tables) is None
    ]
    if without:
        yield failed(
            Reason.TENANT_COLUMN_MISSING,
            f"{context.source_facts.where}: these tables have no column {tenant.column}, by which tables.tenant "
            f"chooses rows: {shortlist(without, SHOWN)}. Leave them out with tables.exclude, or give each a rule in "
            "tables.rules: with a where to choose its rows, or without one to move all of them",
        )


def _values(context: PreflightContext) -> Iterator[Finding]:
    alike: dict[str, list[tuple[Table, Column]]] = {}
    for table, column in _filtered(context):
        try:
            alike.setdefault(definition(context, column), []).append((table, column))
        except NoCounterpartError:
            continue  # reported by the check of families
    for of_one_type in alike.values():
        table, column = of_one_type[0]
        if wrong := list(_unfit(context, column)):
            names = shortlist([each.id for each, _ in of_one_type], SHOWN)
            yield failed(
                Reason.TENANT_VALUE_INVALID,
                f"tables.tenant: {shortlist(wrong, SHOWN)} cannot be a value of column {column.name} "
                f"({column.column_type}) of {names}: a comparison would convert it, and find "
                "other rows or none. Correct it, or give these tables a rule with a where",
                [each for each, _ in of_one_type],
            )


def _filtered(context: PreflightContext) -> Iterator[tuple[Table, Column]]:
    """The tables whose rows ``tables.tenant`` chooses, each with its column."""
    for table in context.tables:
        rule, column = (
            rule_of(table.source, context.spec.tables),
            tenant_column(table.columns, context.spec.tables.tenant),
        )
        if column is not None and not (rule is not None and rule.where):
            yield table, column


def _wanted(context: PreflightContext) -> list[str]:
    return context.spec.tables.tenant.values if context.spec.tables.tenant is not None else []


def _unfit(context: PreflightContext, column: Column) -> Iterator[str]:
    """The values that a column of this type does not store unchanged."""
    session, schema = workshop(context)
    helper, name = TableName(schema, HELPER), identifier(column.name)
    session.execute(f"DROP TEMPORARY TABLE IF EXISTS {helper.sql}")
    session.execute(f"CREATE TEMPORARY TABLE {helper.sql} ({definition(context, column)}) CHARACTER SET utf8mb4")
    for at, value in enumerate(_wanted(context)):
        if not _stored_unchanged(session, helper, name, value):
            yield f"values[{at}]"
    session.execute(f"DROP TEMPORARY TABLE {helper.sql}")


def _stored_unchanged(session: Session, helper: TableName, name: str, value: str) -> bool:
    try:
        session.execute(f"INSERT INTO {helper.sql} VALUES ({string(value)})")
        if session.warnings():
            return False
        equal = session.query(f"SELECT 1 FROM {helper.sql} WHERE {name} = {string(value)} LIMIT 1")
        return bool(equal) and not session.warnings()
    except (ConfigError, DataError):
        return False


def _rows(context: PreflightContext) -> Iterator[Finding]:
    tables = sorted(_filtered(context), key=lambda each: not each[0].filter_index)
    deadline = time.monotonic() + BUDGET_SECONDS
    idle = [
        f"values[{at}]"
        for at, value in enumerate(_wanted(context))
        if not _may_have_rows(context, tables, value, deadline)
    ]
    if tables and idle:
        yield warning(
            Reason.TENANT_WITHOUT_ROWS,
            f"{context.source_facts.where}: no selected table has a row of tables.tenant.{shortlist(idle, SHOWN)} in "
            f"column {tables[0][1].name} now: perhaps it is misspelt",
        )


def _may_have_rows(context: PreflightContext, tables: list[tuple[Table, Column]], value: str, deadline: float) -> bool:
    """Whether a row has the value, or it takes too long to find out."""
    for table, column in tables:
        if time.monotonic() > deadline:
            return True
        index = f" FORCE INDEX ({identifier(table.filter_index)})" if table.filter_index else ""
        condition = f"{identifier(column.name)} = {string(value)}"
        try:
            if query_within(
                context.source, LOOK_SECONDS, f"SELECT 1 FROM {table.source.sql}{index} WHERE {condition} LIMIT 1"
            ):
                return True
        except (DataError, Interrupted):
            return True
    return False


CHECKS = (
    Check("tenant", "source", _columns),
    Check("tenant's values", "target", _values, writes=True),
    Check("tenant's rows", "source", _rows),
)
