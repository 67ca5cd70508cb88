"""Converts states written by earlier versions to the current format. Called by ``store``.

Format 1 wrote a table as schema and name joined by a dot, without backticks: the same text for `a`.`b.c` and `a.b`.`c`.
If the selection allows only one of them, that one is meant; otherwise the record is ambiguous and the state is refused.
Format 2 had no table whose events count from another position than the start of the run's stream. Format 3 did not
record which tables the Ferry had created. Format 4 had no views, routines, triggers or events, kept that position by
GTIDs alone, and did not record what the source had replicated. Format 5 had no keys that may be NULL: such tables were
copied whole, as they still are with a state that names no such key. Format 6 had no positions by file and offset, and
did not record when the newest binlog file had begun. Format 7 had all indexes created with their tables and no window
of cutover attempts, and did not record when the source was started, nor which tables were rebuilt there. Format 8
recorded a restart of the source once for all tables. Format 9 recorded nothing of the primary of a source that is a
replica.
"""

from typing import Any

from ferry_core.api.selection import Tables
from ferry_core.checkpoint.state import FORMAT
from ferry_core.errors import ConfigError
from ferry_core.reasons import Reason
from ferry_core.tables.discovery import is_selected
from ferry_core.tables.table import TableName

START_OVER = "start over: run ferry cleanup, and empty or drop the tables on the target"


def converted(state: dict[str, Any], form: int, where: str) -> dict[str, Any]:
    """Convert a state from format ``form`` to the newest one. Raises ConfigError if its meaning is ambiguous."""
    known = state.get("tables")
    if form == 1 and isinstance(known, dict):
        state = state | {"tables": {_name(joined, state, where): table for joined, table in known.items()}}
    if form == 8 and state.get("source_restarted") and isinstance(known, dict):
        state = state | {"tables": {name: _restarted(table) for name, table in known.items()}}
    return {name: value for name, value in state.items() if name != "source_restarted"} | {"format": FORMAT}


def _restarted(table: Any) -> Any:
    """A damaged one is left to the model."""
    return table | {"restarted": True} if isinstance(table, dict) else table


def _name(joined: str, state: dict[str, Any], where: str) -> str:
    dots = [at for at, character in enumerate(joined) if character == "."]
    names = [TableName(joined[:dot], joined[dot + 1 :]) for dot in dots]
    if len(names) > 1:
        selection = Tables.model_validate_json(state.get("selection", ""))
        names = [name for name in names if is_selected(name, selection)] or names
    if len(names) != 1:
        raise ConfigError(
            Reason.STATE_AMBIGUOUS,
            f"{where} was written by an earlier version, which kept {' and '.join(name.sql for name in names)} as one "
            f"table, {joined}: how far each is copied is unknown; {START_OVER}",
        )
    return str(names[0])
