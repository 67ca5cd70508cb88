"""Checks the selection against what its author probably meant; information_schema hides what an account may not read.

``refuse_gone`` is called by a run that resumes.
"""

import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.session import Session
from ferry_core.preflight.context import PreflightContext
from ferry_core.preflight.facts import ServerFacts, decoded
from ferry_core.preflight.grants import schema_pattern
from ferry_core.preflight.result import Check, Finding, Status
from ferry_core.reasons import Reason
from ferry_core.tables.patterns import readings
from ferry_core.tables.table import TableName

_WILDCARD = re.compile(r"[*?\[]")


def _selection(context: PreflightContext) -> Iterator[Finding]:
    source = context.source_facts
    for problem in context.problems:
        message, grants = problem.message, ""
        if problem.reason == Reason.PATTERN_MATCHES_NOTHING and (hidden := _hidden_schemas(context, source)):
            message += _similar(context, hidden)
            grants = _grants(source, hidden)
            message += (
                f"; or it is hidden: on {source.where} the account {source.account} may not read all of "
                f"{', '.join(hidden)}; run there: {grants}"
            )
        yield Finding(Status.FAILED, Reason(problem.reason), message, statement=grants)


def refuse_gone(session: Session, gone: Sequence[str]) -> None:
    """Refuse to resume when the source lacks tables that the run has begun to move.

    Raises ConfigError if they are only hidden from the account, DataError SchemaChanged otherwise.
    """
    source = ServerFacts(session)
    names = [TableName.parse(table) for table in gone]
    hidden = [name for name in names if not source.grants.on_table("SELECT", *name)]
    if hidden:
        grants = "; ".join(f"GRANT SELECT ON {name.sql} TO {source.account}" for name in hidden)
        raise ConfigError(
            Reason.MISSING_PRIVILEGE,
            f"{source.where}: the account {source.account} lacks SELECT on {', '.join(map(str, hidden))}, which this "
            f"Ferry has begun to move; run there: {grants}",
        )
    if gone:
        raise DataError(
            Reason.SCHEMA_CHANGED,
            f"{source.where} does not have {', '.join(gone)} any more, which this Ferry has begun to move: dropped or "
            "renamed while it was down. Restore the table under its name, or start over with a Ferry of another name "
            "and without the table",
        )


def _hidden_schemas(context: PreflightContext, source: ServerFacts) -> list[str]:
    """Schemas that the selection names, and of which the account may not see every table."""
    selection = context.spec.tables
    patterns = [*selection.include, *(rule.match for rule in selection.rules)]
    schemas = {reading.schema for pattern in patterns for reading in readings(pattern)}
    return sorted(
        schema for schema in schemas if not _WILDCARD.search(schema) and not source.grants.on_schema("SELECT", schema)
    )


def _grants(source: ServerFacts, schemas: Sequence[str]) -> str:
    wildcards = not source.is_on("partial_revokes")
    return "; ".join(
        f"GRANT SELECT ON {schema_pattern(schema, wildcards=wildcards)}.* TO {source.account}" for schema in schemas
    )


def _similar(context: PreflightContext, schemas: Sequence[str]) -> str:
    """A misspelt schema looks like a hidden one."""
    shown = [decoded(row[0]) for row in context.source.query("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")]
    found = [name for schema in schemas if schema not in shown for name in get_close_matches(schema, shown, 1)]
    return f"; did you mean {' or '.join(dict.fromkeys(found))}?" if found else ""


CHECKS = (Check("selection", "source", _selection),)
