"""Checks that the tables are still what validation found.

Definitions are read before the stream begins and may change meanwhile. Once the start of the stream is fixed everything
is read again: from there on the stream shows each DDL statement. Called by ``setup`` at a resume, ``startup`` at each
start, ``operations`` before each cutover attempt, and by the streamer for DDL.
"""

import contextlib
import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ferry_core.api.selection import Tables
from ferry_core.binlog.ending import BinlogEnd, end_of_binlog
from ferry_core.binlog.sink import Altered
from ferry_core.checkpoint.state import RunState
from ferry_core.consistency.visibility import Visibility
from ferry_core.errors import ConfigError, DataError, RetriableError, ServerRestarted
from ferry_core.moves.move import TableMove
from ferry_core.mysql.session import Session
from ferry_core.preflight import PreflightContext
from ferry_core.preflight.again import refuse_new_trouble
from ferry_core.reasons import Reason
from ferry_core.run.copy_again import forget, with_children
from ferry_core.schema.cascades import cascades_among, logs_cascades
from ferry_core.schema.significant import differences, digest, printable
from ferry_core.tables.discovery import Rediscovered, rediscover, reread
from ferry_core.tables.nullable import with_stored_key, with_usable_keys, without_key
from ferry_core.tables.table import WITHOUT_TRANSACTIONS, Table
from ferry_core.text import shortlist

if TYPE_CHECKING:
    from ferry_core.run.setup import RunContext

log = logging.getLogger(__name__)

SINCE_VALIDATION = "since this run has looked at them"
SINCE_THE_START = "since this run began"
SHOWN = 3


def refuse_changed(source: Session, selection: Tables, tables: Sequence[Table], since: str) -> None:
    """Raise SchemaChanged for tables whose definitions changed. ``since`` says since when, in words."""
    now = reread(source, selection, [table.source for table in tables])
    found = {table: difference for table in tables if (difference := differences(table, now.get(table.source)))}
    if found:
        raise _schema_changed(source, found, since)


@contextlib.contextmanager
def reason_given(source: Session, selection: Tables, tables: Sequence[Table]) -> Iterator[None]:
    """The error that a changed definition explains: for example, a table that was created from a definition read before
    the change.
    """
    try:
        yield
    except (DataError, ConfigError):
        refuse_changed(source, selection, tables, SINCE_VALIDATION)
        raise


def still_as_validated(
    context: "RunContext", source: Session, target: Session, visibility: Visibility
) -> "AlteredTables":
    """Once the start of the stream is known: read all tables again, and those on the target, which may be created just
    now.
    """
    spec = context.ferry.spec
    refuse_changed(source, spec.tables, context.tables, SINCE_VALIDATION)
    refuse_new_trouble(PreflightContext(spec, context.uid, source, target, context.tables, context.started))
    return AlteredTables(context.connections.source_control, spec.tables, visibility, end_of_binlog(source))


def rediscovered(
    source: Session, selection: Tables, state: RunState, *, copies_again: bool = False, compares: bool = True
) -> Rediscovered:
    """The tables that a run began with, each with the key that it had.

    Raises SchemaChanged if one has changed since the last checkpoint; with ``copies_again``, and if it is new and not
    copied yet, the state forgets it.
    ``compares`` is False after the cutover: nothing depends on the source's definitions any more.
    """
    since = "while this Ferry was not running"
    again = rediscover(source, selection, state.tables)
    changed = {
        table: f"it is now {printable(table.definition)}"
        for table in again.found.tables
        if compares and (known := state.tables[table.id].definition) and known != digest(table)
    }
    refused = {table: how for table, how in changed.items() if not (copies_again or state.tables[table.id].joins)}
    if refused:
        raise _schema_changed(source, refused, since)
    for table, difference in changed.items():
        log.warning("%s was changed on the source since its start, and is copied again: %s", table.id, difference)
    if changed:
        cascades = [] if logs_cascades(source) else cascades_among(again.found.tables)
        forget(state, with_children([table.id for table in changed], cascades))
    tables = [
        with_stored_key(table, known.nullable_key) if known.started else _with_usable_key(source, table)
        for table, known in ((table, state.tables[table.id]) for table in again.found.tables)
    ]
    return replace(again, found=replace(again.found, tables=tables))


def _with_usable_key(source: Session, table: Table) -> Table:
    (found,) = with_usable_keys(source, [table])
    return found


class AlteredTables:
    """Called in the streamer's thread for DDL after which a table may still be the same (see ``schema.alterations``).

    The comparison reads the source as it is then, after later statements too: two statements that cancel each other
    look like none. So of statements that must be ``alone``, only one may lie between two comparisons: between the last
    one, perhaps of the previous run, and the end of the binlog when the next one was made. The checkpoint stays before
    that statement until the stream has reached that end, so that a resume would see both.
    """

    def __init__(
        self,
        connect: Callable[[], Session],
        selection: Tables,
        visibility: Visibility,
        compared_to: BinlogEnd,
    ) -> None:
        """``compared_to``: end of the binlog when all tables were compared with the checkpoint."""
        self._connect = connect
        self._selection = selection
        self._visibility = visibility
        self._start = compared_to
        self.recomputed: Callable[[TableMove], object] = lambda _move: None
        """Called with a table whose stored generated columns a statement may have recomputed, or whose rows it may have
        dropped because it could not read them; neither causes an event.
        """
        self.hold: Callable[[Callable[[], bool]], object] = lambda _until: None
        """Keeps the checkpoint at the current place of the stream until the function returns True."""

    def compare(
        self, change: Altered[TableMove], reached: Callable[[BinlogEnd], bool], cancelled: Callable[[], bool]
    ) -> str:
        """What differs, in words; empty if nothing relevant does."""
        move = change.followed
        table = move.table
        if change.alone and not self._is_alone(change, reached):
            return "another statement altered it too before the result of the first was compared"
        with self._connect() as source:
            if not self._visibility.wait(source, change.seen, cancelled):
                raise RetriableError(Reason.STOPPED, "the run is stopping")
            now = reread(source, self._selection, [table.source]).get(table.source)
            different = _differences(table, now)
            end = end_of_binlog(source)
        if change.alone:
            move.compared_to, move.compared_behind = end, change.seen
            self.hold(lambda: reached(end))
        if not different:
            if table.stored_columns or table.engine in WITHOUT_TRANSACTIONS:
                self.recomputed(move)
            log.warning(
                "%s was altered on the source (%s): nothing that affects its rows changed, so the run continues; the "
                "target's table is not altered: repeat the statement there if you want it",
                table.id,
                printable(change.statement),
            )
        return different

    def _is_alone(self, change: Altered[TableMove], reached: Callable[[BinlogEnd], bool]) -> bool:
        """Also True when the statement arrives a second time, after the stream has reconnected."""
        move = change.followed
        if reached(move.compared_to or self._start):
            return True
        if move.compared_behind is not None:
            return move.compared_behind == change.seen
        return bool(move.definition) or not move.started  # otherwise the checkpoint has no definition of it


def _differences(table: Table, now: Table | None) -> str:
    """Raise ServerRestarted if only the index changed that gave promised columns their order: a resume takes another
    one, or copies the table whole.
    """
    if now is None or not table.key.promised or now.key == table.key:
        return differences(table, now)
    different = differences(without_key(table), without_key(now))
    if not different:
        raise ServerRestarted(
            Reason.KEY_INDEX_CHANGED,
            f"the index {table.key.index_name} of {table.id}, which begins with the key that its rule names, was "
            "dropped or renamed on the source: from now on another one is used, or the table is copied whole",
        )
    return different


def _schema_changed(source: Session, found: Mapping[Table, str], since: str) -> DataError:
    shown = shortlist([f"{table.id}: {difference}" for table, difference in found.items()], SHOWN, "; ")
    error = DataError(
        Reason.SCHEMA_CHANGED,
        f"{source.endpoint.where}: definitions were changed {since}: {shown}. {_way_out(found)}",
    )
    error.changed = frozenset(table.id for table in found)
    return error


def _way_out(tables: Collection[Table]) -> str:
    names = ", ".join(sorted(table.target.sql for table in list(tables)[:SHOWN]))
    return (
        "Set schema.onChange: Recopy and start again, to have these tables copied again. Or start over with the new "
        f"definitions: run ferry cleanup (in a cluster delete the Ferry), drop the changed tables on the target "
        f"({names}), empty or drop the others, and start again"
    )
