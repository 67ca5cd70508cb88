"""Checks that every row filter is one SQL condition that depends on the row alone.

For a changed row, the stream reads the row and evaluates the filter in the same SELECT. If the result of a filter can
change without a change of the row (NOW(), a variable, another table), rows would be left behind that nobody reads
again. A server refuses to compile an impure CHECK constraint, so the filter is tried as one on a TEMPORARY table with
the source table's columns, which nobody else sees and which ends with its session.

A target of the other family gets the columns that it would have. What it cannot compile has to be proven by words.
"""

from collections.abc import Iterator, Mapping, Sequence

from ferry_core.errors import DataError
from ferry_core.mysql.literals import identifier
from ferry_core.mysql.session import Session
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.filter_words import unproven_words
from ferry_core.preflight.lease import OWN_SCHEMA
from ferry_core.preflight.result import Check, Finding, failed, warning
from ferry_core.reasons import Reason
from ferry_core.schema.tokens import readings
from ferry_core.tables.alike import plain_collation
from ferry_core.tables.describe import indexes_of
from ferry_core.tables.discovery import rule_of
from ferry_core.tables.families import NoCounterpartError, of_the_same_values
from ferry_core.tables.keys import index_for_filter
from ferry_core.tables.table import Column, Table, TableName
from ferry_core.text import shortlist

HELPER = "row_filter_check"
SHOWN = 20
LARGE_ROWS = 1_000_000
"""Reading as many rows takes ten seconds and more (``sizes.ROWS_PER_SECOND``)."""
IMPURE = frozenset({"SYSDATE", "RANDOM_BYTES", "PS_CURRENT_THREAD_ID", "PS_THREAD_ID"})
"""Functions that MySQL 9.7 allows in a CHECK although their value does not depend on the row alone."""


def _conditions(context: PreflightContext) -> Iterator[Finding]:
    for table in context.tables:
        if table.row_filter and (problem := invalidity(context, table, table.row_filter)):
            given = "tables.rules[].where" if _of_a_rule(context, table) else "values in tables.tenant"
            yield failed(
                Reason.ROW_FILTER_INVALID,
                f"the row filter of {table.id} is not a SQL condition over it: {problem}; correct its {given}",
            )


def _of_a_rule(context: PreflightContext, table: Table) -> bool:
    """Whether the row filter is a ``where``, not ``tables.tenant``."""
    rule = rule_of(table.source, context.spec.tables)
    return rule is not None and bool(rule.where)


def _purity(context: PreflightContext) -> Iterator[Finding]:
    for table in context.tables:
        if not table.row_filter or invalidity(context, table, table.row_filter):
            continue  # reported by the other check
        if not _of_a_rule(context, table):
            continue  # tables.tenant: a column and constants
        try:
            problem = _impurity(context, table, table.row_filter)
        except NoCounterpartError:
            continue  # reported by the check of families
        if problem:
            yield failed(
                Reason.ROW_FILTER_NOT_PURE,
                f"the row filter of {table.id} must depend on the row alone (no time of day, random value, variable, "
                f"subquery or stored function) and name columns without their table: {problem}",
            )


def invalidity(context: PreflightContext, table: Table, row_filter: str) -> str | None:
    """What is wrong with the filter. Checked before the filter becomes part of any statement."""
    return _shape(row_filter) or _on_source(context, table, row_filter)


def _shape(row_filter: str) -> str | None:
    """The filter is put in parentheses, and must not be able to close them."""
    if "/*!" in row_filter or "/*M!" in row_filter:
        return "it holds a version comment (/*! or /*M!), which servers of different versions read differently"
    tokens = next(readings(row_filter), None)
    if tokens is None:
        return "a quote or a comment does not end"
    depth = 0
    for token in tokens:
        if token.is_mark("(") or token.is_mark(")"):
            depth += 1 if token.text == "(" else -1
        if depth < 0 or token.is_mark(";"):
            return f"unexpected {token.text}"
    return "a parenthesis does not close" if depth else None


def _on_source(context: PreflightContext, table: Table, row_filter: str) -> str | None:
    """The source's error message for it; no row is read."""
    return _refusal(context.source, f"SELECT 1 FROM {table.source.sql} WHERE FALSE AND ({row_filter}\n) LIMIT 0")


def _impurity(context: PreflightContext, table: Table, row_filter: str) -> str | None:
    words = {token.word for token in next(readings(row_filter)) if token.kind == "word"}
    if found := words & IMPURE - {column.name.upper() for column in table.columns}:
        return f"{', '.join(sorted(found))} is not allowed"
    session, schema = workshop(context)
    helper = TableName(schema, HELPER)
    session.execute(f"DROP TEMPORARY TABLE IF EXISTS {helper.sql}")
    columns = ", ".join(definition(context, column) for column in table.columns)
    # MariaDB stores the text of the CHECK in the table's character set.
    problem = _refusal(
        session,
        f"CREATE TEMPORARY TABLE {helper.sql} ({columns}, CHECK (({row_filter}\n) IS TRUE)) CHARACTER SET utf8mb4",
    )
    if problem is None:
        session.execute(f"DROP TEMPORARY TABLE {helper.sql}")
    elif context.crosses:
        unproven = unproven_words(row_filter, [column.name for column in table.columns])
        return f"{problem} (not known to depend on the row alone: {shortlist(unproven, SHOWN)})" if unproven else None
    return problem


def definition(context: PreflightContext, column: Column) -> str:
    # An explicit NULL: a bare TIMESTAMP may get a default that the sql_mode refuses.
    charset = f" CHARACTER SET {column.charset} COLLATE {column.collation}" if column.collation else ""
    if context.crosses:
        column = of_the_same_values(column, context.target.version)
        charset = f" CHARACTER SET {plain_collation(column.charset)}" if column.charset else ""
    return f"{identifier(column.name)} {column.column_type}{charset} NULL"


def workshop(context: PreflightContext) -> tuple[Session, str]:
    """A schema in which a temporary table may be created: our own on the target, created if it is missing.

    MariaDB needs no schema for that. The schema is not dropped: that could remove the lease of a Ferry that starts now.
    """
    if not context.target_facts.mariadb:
        context.target.execute(f"CREATE SCHEMA IF NOT EXISTS {identifier(OWN_SCHEMA)}")
    return context.target, OWN_SCHEMA


def _refusal(session: Session, statement: str) -> str | None:
    """The server's error message if it rejects the statement itself."""
    try:
        session.query(statement)
    except DataError as error:
        return error.problem
    return None


def _indexes(context: PreflightContext) -> Iterator[Finding]:
    for table in context.tables:
        rule = rule_of(table.source, context.spec.tables)
        if rule is None or not rule.index or table.filter_index:
            continue
        lacks = "there is none, or it is hidden, or not over whole columns"
        why = lacks if table.row_filter else "the table has no row filter"
        yield failed(
            Reason.RULE_INDEX_INVALID,
            f"{context.source_facts.where}: index {rule.index!r} of rule {rule.match!r} cannot find the rows of "
            f"{table.id}: {why}; correct the rule, or remove its index; without it every row of the "
            "table is read",
            [table],
        )


def _every_row(context: PreflightContext) -> Iterator[Finding]:
    """Correct, but each pass over the table reads all rows that the filter leaves out, too."""
    large = [
        each for each in context.tables if each.row_filter and not each.whole and each.rows_estimated >= LARGE_ROWS
    ]
    if context.reads_lock:
        names = shortlist([table.id for table in large], SHOWN)
        why = "reads without GTIDs lock rows (GtidModeOff) and find them by the key, so no index helps"
    else:
        large = [table for table in large if not table.finding_index]
        candidates = _candidates(context, large)
        names = shortlist([f"{table.id} ({candidates[table]})" for table in large], SHOWN)
        why = "name an index in tables.rules[].index"
    if large:
        yield warning(
            Reason.FILTER_READS_EVERY_ROW,
            f"{context.source_facts.where}: the copy and the verification read every row of these tables, and leave "
            f"out those that the row filter does not select: {names}; {why}",
        )


def _candidates(context: PreflightContext, tables: Sequence[Table]) -> Mapping[Table, str]:
    """For each of these tables an index that begins with a column of its row filter."""
    names = [table.source for table in tables]
    unique, others = (indexes_of(context.source, names, unique=unique) for unique in (True, False))
    found = {}
    for table in tables:
        indexes = [*unique.get(table.source, ()), *others.get(table.source, ())]
        mentioned = {
            token.text.lower() for token in next(readings(table.row_filter or ""), ()) if token.kind != "string"
        }
        columns = [column.name for column in table.columns if column.name.lower() in mentioned]
        by_column = (index_for_filter(table.columns, indexes, column=column) for column in columns)
        index = next(filter(None, by_column), "")
        found[table] = f"index: {index}" if index else f"no index begins with {' or '.join(columns) or 'its column'}"
    return found


CHECKS = (
    Check("indexes of row filters", "source", _indexes),
    Check("rows that filters read", "source", _every_row),
    Check("row filters", "source", _conditions),
    Check("row filters pure", "target", _purity, writes=True),
)
