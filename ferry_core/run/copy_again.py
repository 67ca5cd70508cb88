"""Copies tables again whose definition was changed on the source (``schema.onChange: Recopy``).

The run begins again from its checkpoint, in which such a table has no record of a start any more. So it is created
again on the target and goes through R2 from the beginning, with its own position in the stream, while all other tables
resume. A table whose rows cascades of a changed one may change is copied again too: the stream ignores events of the
changed one up to its new start, and with them what they say about rows of others.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ferry_core.checkpoint.state import RunState, TableState
from ferry_core.consistency.fence import Fence
from ferry_core.errors import ConfigError, DataError
from ferry_core.mysql.listings import exists, holds_rows
from ferry_core.mysql.session import Session
from ferry_core.reasons import Reason
from ferry_core.schema.cascades import Cascade
from ferry_core.schema.drop import drop_if_empty
from ferry_core.text import shortlist
from ferry_core.verify.difference import RowsKept

if TYPE_CHECKING:
    from ferry_core.run.setup import RunContext
    from ferry_core.run.started import Started, Startup

log = logging.getLogger(__name__)

GONE_SECONDS = 30.0
"""How long a selected table may be away: it may be renamed, and then renamed back, or loaded again."""
LOOK_SECONDS = 0.5
NAMED = 5


def to_copy_again(error: BaseException, startup: "Startup", run: "Started | None") -> frozenset[str]:
    """Ids of the tables to copy, or to copy again, because of ``error``; none once the cutover is recorded."""
    if not isinstance(error, DataError) or (run is not None and run.recorded):
        return frozenset()
    copies_again = startup.copies_again or error.changed <= frozenset(startup.joining)
    return error.appeared | (error.changed if copies_again else frozenset())


@contextmanager
def changes_named(startup: "Startup", started: Callable[[], "Started | None"]) -> Iterator[None]:
    """Raise SchemaChanged for an error that a changed definition explains.

    A statement may meet the new definition before the stream shows the change. It explains no row that only the target
    has.
    """
    try:
        yield
    except RowsKept:
        raise
    except (DataError, ConfigError) as error:
        run = started()
        named = isinstance(error, DataError) and (error.changed or error.appeared)
        if (startup.copies_again or startup.joining) and run is not None and not run.recorded and not named:
            run.operations.definitions_read()
        raise


def with_children(changed: Collection[str], cascades: Iterable[Cascade]) -> frozenset[str]:
    """Ids of these tables, and of all whose rows change with theirs without an event."""
    found = set(changed)
    while more := {one.child.id for one in cascades if one.parent.id in found} - found:
        found |= more
    return frozenset(found)


def forget(state: RunState, tables: Collection[str]) -> None:
    """Nothing of these tables is copied, as far as the state knows."""
    for table in tables:
        state.tables[table] = state.tables[table].forgotten
    if tables:
        state.foreign_keys_added = False


def until_back(
    validate: Callable[[], "RunContext"], say: Callable[[str], None], wait: Callable[[float], None]
) -> "RunContext":
    """The result of ``validate``, which is repeated for a while if a table is gone, and if it fails in another way than
    before: a table that is altered meanwhile looks different to each check.
    """
    deadline, failure = time.monotonic() + GONE_SECONDS, ""
    while True:
        try:
            return validate()
        except ConfigError as error:
            if error.message == failure or time.monotonic() > deadline:
                raise
            failure = error.message
            say(f"validating again, for up to {GONE_SECONDS:.0f} s: {error.message}")
        except DataError as error:
            if error.reason != Reason.SCHEMA_CHANGED or time.monotonic() > deadline:
                raise
            say(f"waiting {GONE_SECONDS:.0f} s for a table to come back: {error.message}")
        wait(LOOK_SECONDS)


def refuse_only_copies(
    context: "RunContext", target: Session, tell: Callable[[DataError], None], save: Callable[[], None]
) -> None:
    """Raise SchemaChanged, once, before tables are copied again that may have the only copy of rows.

    ``save`` stores that somebody was told, by ``tell``: the next start copies them again.
    """
    stored = context.state.tables if context.state is not None else {}
    marked = [table for table in context.tables if table.id in stored and stored[table.id].only_copies]
    kept = [table for table in marked if exists(target, table.target) and holds_rows(target, table.target)]
    if not kept:
        return
    error = DataError(
        Reason.SCHEMA_CHANGED,
        f"{target.endpoint.where} may have the only copy of rows in "
        f"{shortlist([str(table.target) for table in kept], NAMED)}: the source was restarted since they were copied, "
        "or has rebuilt or repaired these tables, and no pass has found them equal since. Now they were changed on the "
        "source, so they are to be copied again. Save what the source may have lost: the next start deletes these rows "
        "and copies the source's",
    )
    log.error("%s", error.message)  # before it is recorded: this run may be killed right after that
    tell(error)
    for table in kept:
        stored[table.id] = TableState(joins=stored[table.id].joins)
    save()
    raise error


def drop_changed(context: "RunContext", fence: Fence, target: Session) -> None:
    """Drop the tables to copy again that this Ferry has created. They are created from their present definitions."""
    tables = [table for table in context.tables if table.id in context.dropped_again and exists(target, table.target)]
    if not tables:
        return
    unwritten = fence.read().unwritten
    with fence.hold(target):
        for table in tables:
            if str(table.target) in unwritten:  # rows in it would be somebody else's
                drop_if_empty(target, table.target)
            else:
                target.execute(f"DROP TABLE IF EXISTS {table.target.sql}")
    log.info("dropped on the target, to be copied again: %s", ", ".join(str(table.target) for table in tables))
