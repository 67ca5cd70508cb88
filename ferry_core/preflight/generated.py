"""Checks generated columns whose stored values depend on the session that wrote a row: the target computes its own.

The target's sessions use the source's global settings (``mysql.computing``) and UTC; the session that wrote a row may
have used others.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ferry_core.api.choices import Acknowledgement
from ferry_core.mysql.listings import rows_of
from ferry_core.mysql.literals import identifier
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.preflight.result import Check, Finding, Status
from ferry_core.reasons import Reason
from ferry_core.tables.table import TableName

_STORED = re.compile(r"\b(STORED|PERSISTENT)\b", re.IGNORECASE)
_NEVER = re.compile(r"(?!)")
_ZONE = re.compile(r"\b(from_unixtime|unix_timestamp)\(", re.IGNORECASE)
_LOCALE = re.compile(r"\b(dayname|monthname)\(|\bdate_format\((?=.*%[abMW]|[^']*$)", re.IGNORECASE | re.DOTALL)
_DIVISION = re.compile(r" / ")


@dataclass
class _Columns:
    """Columns of one table by name. An index over an expression counts as one more generated column."""

    timestamps: set[str] = field(default_factory=set)
    padded: set[str] = field(default_factory=set)
    expressions: dict[str, str] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    indexed: set[str] = field(default_factory=set)

    def depending(self, columns: set[str], function: re.Pattern[str] = _NEVER) -> set[str]:
        """Generated columns that read these columns or call this function, directly or through other generated
        columns.
        """
        found = columns | {name for name, words in self.expressions.items() if function.search(words)}
        while more := {name for name, words in self.expressions.items() if _names(words, found)} - found:
            found |= more
        return found & (self.stored | self.indexed)


def _names(expression: str, columns: set[str]) -> bool:
    return any(identifier(column).lower() in expression.lower() for column in columns)


def _time_zone(context: PreflightContext) -> Iterator[Finding]:
    names, stored = [], False
    for table, columns in _selected(context):
        depending = columns.depending(columns.timestamps, _ZONE)
        stored = stored or bool(depending & columns.stored)
        names += [f"{table}.{column}" for column in depending]
    if names:
        yield _finding(
            context,
            Reason.GENERATED_FROM_TIMESTAMP,
            f"{', '.join(sorted(names))} store values that are generated from TIMESTAMP columns or UNIX times: the "
            "target computes its own under time_zone '+00:00', which differ if the writing session used another.",
            stored=stored,
        )


def _settings(context: PreflightContext) -> Iterator[Finding]:
    found: dict[str, set[str]] = {}
    stored = False
    for table, columns in _selected(context):
        for setting, depending in _by_setting(columns, context.source_facts, context.target_facts):
            stored = stored or bool(depending & columns.stored)
            found.setdefault(setting, set()).update(f"{table}.{column}" for column in depending)
    parts = [f"{', '.join(sorted(names))} of {setting}" for setting, names in found.items() if names]
    if parts:
        yield _finding(
            context,
            Reason.GENERATED_BY_SESSION,
            f"generated columns store values that depend on settings of the session that wrote a row: "
            f"{'; '.join(parts)}. The target computes its own, which differ if that session used other settings.",
            stored=stored,
        )


def _by_setting(columns: _Columns, source: ServerFacts, target: ServerFacts) -> Iterator[tuple[str, set[str]]]:
    here, there = (facts.variable("lc_time_names") for facts in (source, target))
    yield f"lc_time_names ({here} globally, {there} on the target)", columns.depending(set(), _LOCALE)
    here, there = (facts.variable("div_precision_increment") for facts in (source, target))
    if here != there:
        # A server that has the table open computes with the settings of the session that opened it.
        yield f"div_precision_increment ({here} globally, {there} on the target)", columns.depending(set(), _DIVISION)
    if "PAD_CHAR_TO_FULL_LENGTH" in source.variable("sql_mode"):
        yield "sql_mode (PAD_CHAR_TO_FULL_LENGTH globally, never on the target)", columns.depending(columns.padded)


def _finding(context: PreflightContext, reason: Reason, what: str, *, stored: bool) -> Finding:
    message = f"{context.source_facts.where}: {what} "
    if not stored:
        message += "The contents of an index are not compared: "
    elif Acknowledgement.GENERATED_VALUES in context.spec.acknowledge:
        message += "Stored ones are not compared (acknowledged): "
    else:
        message += (
            "The verification compares stored ones, and a difference ends the run (RowsDiffer): leave the tables out, "
            f"or set acknowledge: [{Acknowledgement.GENERATED_VALUES}]; then "
        )
    message += (
        "rebuild these tables on the target before the cutover under the application's settings (SET time_zone, "
        "ALTER TABLE ... FORCE, ALGORITHM=COPY)"
    )
    known = stored and Acknowledgement.GENERATED_VALUES in context.spec.acknowledge
    return Finding(Status.ACKNOWLEDGED if known else Status.WARNING, reason, message)


def _selected(context: PreflightContext) -> Iterator[tuple[TableName, _Columns]]:
    selected = {table.source for table in context.tables}
    return ((table, columns) for table, columns in _columns(context).items() if table in selected)


def _columns(context: PreflightContext) -> dict[TableName, _Columns]:
    names = [table.source for table in context.tables]
    found: dict[TableName, _Columns] = {}
    for row in rows_of(context.source, names, "COLUMNS", "COLUMN_NAME, DATA_TYPE, EXTRA, GENERATION_EXPRESSION"):
        schema, table, column, kind, extra, expression = map(decoded, row)
        columns = found.setdefault(TableName(schema, table), _Columns())
        if expression:
            columns.expressions[column] = expression
            if _STORED.search(extra):
                columns.stored.add(column)
        elif kind.lower() == "timestamp":
            columns.timestamps.add(column)
        elif kind.lower() == "char":
            columns.padded.add(column)
    over = f"COLUMN_NAME, INDEX_NAME, {context.source.version.index_expression}"
    for row in rows_of(context.source, names, "STATISTICS", over):
        schema, table, column, index, expression = map(decoded, row)
        columns = found.setdefault(TableName(schema, table), _Columns())
        if expression:
            columns.expressions[f"index {index}"] = expression
            columns.indexed.add(f"index {index}")
        elif column in columns.expressions:
            columns.indexed.add(column)
    return found


CHECKS = (
    Check("generated columns: time zone", "source", _time_zone),
    Check("generated columns: settings", "source", _settings),
)
