"""Generated columns whose kept values depend on the session that wrote a row: the target computes its own in UTC."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ferry_core.api.reasons import Reason
from ferry_core.mysql.literals import identifier
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import decoded, name_list
from ferry_core.preflight.result import Check, Finding, warning
from ferry_core.tables.table import TableName

_KEPT = re.compile(r"\b(STORED|PERSISTENT)\b", re.IGNORECASE)


@dataclass
class _Columns:
    """Of one table, by name."""

    timestamps: set[str] = field(default_factory=set)
    expressions: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # generated, and stored or indexed

    def depending(self) -> list[str]:
        """Kept ones that read a TIMESTAMP column, be it by way of other generated columns."""
        found = set(self.timestamps)
        while more := {name for name, words in self.expressions.items() if _names(words, found)} - found:
            found |= more
        return sorted(self.kept & found)


def _names(expression: str, columns: set[str]) -> bool:
    return any(identifier(column).lower() in expression.lower() for column in columns)


def _session_dependent(context: PreflightContext) -> Iterator[Finding]:
    selected = {table.source for table in context.tables}
    names = []
    for table, columns in _columns(context).items():
        if table in selected:
            names += [f"{table}.{column}" for column in columns.depending()]
    if names:
        yield warning(
            Reason.GENERATED_FROM_TIMESTAMP,
            f"{context.source_facts.where}: {', '.join(sorted(names))} keep values that are generated from TIMESTAMP "
            "columns: the target computes its own under time_zone '+00:00', which differ where the writing session had "
            "another, and nothing compares them; rebuild these tables there before the cutover under the "
            "application's (SET time_zone, ALTER TABLE ... FORCE, ALGORITHM=COPY), or leave them out",
        )


def _columns(context: PreflightContext) -> dict[TableName, _Columns]:
    where = f"TABLE_SCHEMA IN ({name_list({table.source.schema for table in context.tables})})"
    found: dict[TableName, _Columns] = {}
    for row in context.source.query(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, EXTRA, GENERATION_EXPRESSION "
        f"FROM information_schema.COLUMNS WHERE {where}"
    ):
        schema, table, column, kind, extra, expression = map(decoded, row)
        columns = found.setdefault(TableName(schema, table), _Columns())
        if expression:
            columns.expressions[column] = expression
            if _KEPT.search(extra):
                columns.kept.add(column)
        elif kind.lower() == "timestamp":
            columns.timestamps.add(column)
    for row in context.source.query(
        f"SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE {where}"
    ):
        schema, table, column = map(decoded, row)
        if column in (columns := found[TableName(schema, table)]).expressions:
            columns.kept.add(column)
    return found


CHECKS = (Check("generated columns", "source", _session_dependent),)
