"""The selected tables, or why there are none: information_schema hides what an account may not read.

Called where a selection meets a server, by ``run`` and ``ferry check``.
"""

import re
from collections.abc import Sequence

from ferry_core.api.reasons import Reason
from ferry_core.api.selection import Tables
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.session import Session
from ferry_core.preflight.facts import ServerFacts
from ferry_core.preflight.grants import schema_pattern
from ferry_core.tables.discovery import discover
from ferry_core.tables.patterns import readings
from ferry_core.tables.table import Table, TableName

_WILDCARD = re.compile(r"[*?\[]")


def selected_tables(session: Session, selection: Tables) -> list[Table]:
    """As ``discover``; where a pattern matches nothing, it also names the schemas that the account may not read."""
    try:
        return discover(session, selection)
    except ConfigError as error:
        if error.reason != Reason.PATTERN_MATCHES_NOTHING:
            raise
        hidden = _unreadable(session, selection)
        if not hidden:
            raise
        raise ConfigError(error.reason, f"{error.message}; or it is hidden: {hidden}") from error


def refuse_gone(session: Session, gone: Sequence[str]) -> None:
    """Tables that a run has begun to move, and that its source lacks now: without them it would hand over too little.

    Raises ConfigError for those that are only hidden, DataError SchemaChanged for the others.
    """
    source = ServerFacts(session)
    names = [TableName.parse(table) for table in gone]
    hidden = [name for name in names if not source.grants.on_table("SELECT", *name)]
    if hidden:
        grants = "; ".join(f"GRANT SELECT ON {name.sql} TO {source.account}" for name in hidden)
        raise ConfigError(
            "MissingPrivilege",
            f"{source.where}: the account {source.account} lacks SELECT on {', '.join(map(str, hidden))}, which this "
            f"Ferry has begun to move; run there: {grants}",
        )
    if gone:
        raise DataError(
            "SchemaChanged",
            f"{source.where} does not have {', '.join(gone)} any more, which this Ferry has begun to move: dropped or "
            "renamed while it was down. Bring the table back under its name, or start over under another name of the "
            "Ferry and without the table",
        )


def _unreadable(session: Session, selection: Tables) -> str:
    source = ServerFacts(session)
    patterns = [*selection.include, *(rule.match for rule in selection.rules)]
    schemas = {reading.schema for pattern in patterns for reading in readings(pattern)}
    hidden = sorted(
        schema for schema in schemas if not _WILDCARD.search(schema) and not source.grants.on_schema("SELECT", schema)
    )
    if not hidden:
        return ""
    wildcards = not source.is_on("partial_revokes")
    grants = "; ".join(
        f"GRANT SELECT ON {schema_pattern(schema, wildcards=wildcards)}.* TO {source.account}" for schema in hidden
    )
    return (
        f"on {source.where} the account {source.account} may not read all of {', '.join(hidden)}; run there: {grants}"
    )
