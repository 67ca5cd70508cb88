"""Checks whether rows contain values that the target cannot hold. Samples for a limited time, so it may miss some.

JSON is transferred as text, which does not preserve a DECIMAL or a date in it: a run stops at such a row. TIMESTAMPs
end in 2038 on most servers and in 2106 on newer MariaDB.
"""

import time
from collections.abc import Callable, Iterator

from ferry_core.errors import Interrupted
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.limited import query_within
from ferry_core.mysql.literals import identifier
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.foreign_keys import with_dependants
from ferry_core.preflight.result import Check, Finding, failed, passed, refused, warning
from ferry_core.preflight.row_filters import invalidity
from ferry_core.reasons import Reason
from ferry_core.tables.codecs import codec
from ferry_core.tables.table import Table
from ferry_core.text import counted, shortlist

ROWS_AT_EACH_END = 500
TABLE_SECONDS = 2
BUDGET_SECONDS = 20.0
SHOWN = 10
FINDS_DECIMALS = (8, 0, 33)
"""Of MySQL. Before 8.0.4 there is no JSON_TABLE, without which a DECIMAL in JSON looks like a DOUBLE of the same size
and text. That of 8.0.15 takes no introducer before a path, without which 8.0.33 refuses one where literals are binary.
Of those in between none was tried.
"""


def last_timestamp(server: ServerFacts) -> str:
    """The last moment, in UTC, that a TIMESTAMP of this server can hold."""
    return "2106-02-07 06:28:15" if server.mariadb and server.version >= (11, 5) else "2038-01-19 03:14:07"


def _json(context: PreflightContext) -> Iterator[Finding]:
    conditions = {}
    for table in context.tables:
        if context.source_facts.mariadb or not context.source_facts.grants.on_table("SELECT", *table.source):
            continue  # JSON is text on MariaDB; the privileges check reports what may not be read
        parts = (codec(column, Flavor.MYSQL).changed_expression() for column in table.copied_columns)
        if condition := " OR ".join(filter(None, parts)):
            conditions[table] = condition
    if not conditions:
        return
    if context.source_facts.version < FINDS_DECIMALS:
        yield refused(
            context,
            Reason.JSON_PRECISION,
            f"{context.source_facts.where}: {_names(list(conditions))} have JSON columns, and MySQL "
            f"{context.source_facts.version_text} cannot find each DECIMAL in them: such a DECIMAL becomes a DOUBLE, "
            "and neither the copy nor the verification reports it",
            with_dependants(context, list(conditions)),
        )
    found, unseen = _sampled(context, conditions, _at_both_ends)
    if found:
        yield refused(
            context,
            Reason.JSON_PRECISION,
            f"{context.source_facts.where}: {_names(found)} hold JSON that changes when it is read again from its text "
            "(a DECIMAL becomes a DOUBLE, a date a string), and a run stops at the first such row",
            with_dependants(context, found),
        )
    if unseen:
        yield _unseen(context, unseen, "JSON that does not survive its text")
    if not found:
        yield passed(
            f"no JSON that changes in the first and last {ROWS_AT_EACH_END} rows of {counted(len(conditions), 'table')}"
        )


def _at_both_ends(table: Table, condition: str) -> Iterator[str]:
    where = f"WHERE ({table.row_filter}\n)" if table.row_filter else ""
    for order in ("", " DESC") if table.key.columns else ("",):
        by = ", ".join(identifier(column.name) + order for column in table.key.columns)
        rows = f"SELECT {condition} AS found FROM {table.source.sql} {where} {f'ORDER BY {by}' if by else ''}"
        yield f"SELECT 1 FROM ({rows} LIMIT {ROWS_AT_EACH_END}) AS sample WHERE found LIMIT 1"


def _timestamps(context: PreflightContext) -> Iterator[Finding]:
    last = last_timestamp(context.target_facts)
    if last >= last_timestamp(context.source_facts):
        return
    conditions = {}
    for table in context.tables:
        names = [identifier(column.name) for column in table.copied_columns if column.data_type == "timestamp"]
        if names and context.source_facts.grants.on_table("SELECT", *table.source):
            conditions[table] = " OR ".join(f"{name} > '{last}.999999'" for name in names)
    found, unseen = _sampled(context, conditions, _anywhere)
    if found:
        yield failed(
            Reason.TIMESTAMP_OUT_OF_RANGE,
            f"{context.source_facts.where}: {_names(found)} hold TIMESTAMPs after {last} UTC, the last that "
            f"{context.target_facts.where} ({context.target_facts.version_text}) can hold: correct these rows, make "
            "the columns DATETIME, or choose a target of MariaDB 11.5 or later",
            with_dependants(context, found),
        )
    if unseen:
        yield _unseen(context, unseen, f"TIMESTAMPs after {last} UTC")


def _anywhere(table: Table, condition: str) -> Iterator[str]:
    where = f" AND ({table.row_filter}\n)" if table.row_filter else ""
    yield f"SELECT 1 FROM {table.source.sql} WHERE ({condition}){where} LIMIT 1"


def _sampled(
    context: PreflightContext, conditions: dict[Table, str], statements: Callable[[Table, str], Iterator[str]]
) -> tuple[list[Table], list[Table]]:
    """Tables in which a row was found, and tables whose statements took too long."""
    deadline = time.monotonic() + BUDGET_SECONDS
    found, unseen = [], []
    for table, condition in conditions.items():
        if table.row_filter and invalidity(context, table, table.row_filter):
            continue  # reported by a check of its own
        try:
            if time.monotonic() > deadline:
                unseen.append(table)
            elif any(query_within(context.source, TABLE_SECONDS, one) for one in statements(table, condition)):
                found.append(table)
        except Interrupted:
            unseen.append(table)
    return found, unseen


def _unseen(context: PreflightContext, tables: list[Table], what: str) -> Finding:
    return warning(
        Reason.ROWS_NOT_SAMPLED,
        f"{context.source_facts.where}: no time was left to look for {what} in {_names(tables)}; a run would stop at "
        "such a row",
    )


def _names(tables: list[Table]) -> str:
    return shortlist([table.id for table in tables], SHOWN)


CHECKS = (
    # They read rows, so they come after checks that only ask, and before the trial, which takes longest.
    Check("JSON that survives its text", "source", _json),
    Check("moments that fit", "source", _timestamps),
)
