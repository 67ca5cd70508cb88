"""Are the tables still what validation found? Definitions are read before the stream begins and may change meanwhile.

Once the stream's start is fixed everything is read again: from there on the stream shows each DDL statement. Called by
``setup`` at a resume, by ``ferry`` at each start and by ``stages`` before each attempt to cut over.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from ferry_core.api.reasons import Reason
from ferry_core.api.selection import Tables
from ferry_core.checkpoint.state import RunState
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.session import Session
from ferry_core.preflight import PreflightContext
from ferry_core.preflight.target import unlike
from ferry_core.schema.significant import differences, digest, printable
from ferry_core.tables.discovery import Rediscovered, rediscover, reread
from ferry_core.tables.table import Table

SINCE_VALIDATION = "since this run has looked at them"
SINCE_THE_START = "since this run began"
SHOWN = 3


def refuse_changed(source: Session, selection: Tables, tables: Sequence[Table], since: str) -> None:
    """Raise SchemaChanged for tables that are not as they were; ``since`` says since when, in words."""
    now = reread(source, selection, [table.source for table in tables])
    found = {table: said for table in tables if (said := differences(table, now.get(table.source)))}
    if found:
        raise _schema_changed(source, found, since)


@contextlib.contextmanager
def reason_given(refuse: Callable[[], None]) -> Iterator[None]:
    """What fails for data's sake may do so since a definition was changed: then ``refuse`` says that instead."""
    try:
        yield
    except DataError:
        refuse()
        raise


def refuse_target_changed(context: PreflightContext) -> None:
    """The tables on the target, those made just now included, still take the source's rows."""
    for finding in unlike(context):
        raise ConfigError(finding.reason, finding.message)


def rediscovered(source: Session, selection: Tables, state: RunState) -> Rediscovered:
    """The tables that a run began with; SchemaChanged if one is not what it was at the last checkpoint."""
    since = "while this Ferry was not running"
    try:
        found = rediscover(source, selection, state.tables)
    except ConfigError as error:
        if error.reason != Reason.NO_USABLE_KEY:
            raise
        raise DataError(Reason.SCHEMA_CHANGED, f"definitions were changed {since}: {error.message}") from error
    changed = {
        table: f"it is now {printable(table.definition)}"
        for table in found.tables
        if (known := state.tables[table.id].definition) and known != digest(table)
    }
    if changed:
        raise _schema_changed(source, changed, since)
    return found


def _schema_changed(source: Session, found: Mapping[Table, str], since: str) -> DataError:
    shown = "; ".join(f"{table.id}: {said}" for table, said in list(found.items())[:SHOWN])
    more = f" (and {len(found) - SHOWN} more)" if len(found) > SHOWN else ""
    return DataError(
        Reason.SCHEMA_CHANGED,
        f"{source.endpoint.role} {source.endpoint.address}: definitions were changed {since}: {shown}{more}. "
        f"{_start_over(found)}",
    )


def _start_over(tables: Collection[Table]) -> str:
    names = ", ".join(sorted(table.target.sql for table in list(tables)[:SHOWN]))
    return (
        "Start over with the new definitions: run ferry cleanup (in a cluster delete the Ferry), drop the changed "
        f"tables on the target ({names}), empty or drop the others, and start again"
    )
