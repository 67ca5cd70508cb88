"""Finds tables that appear on the source after the selection was made: ``schema.onNewTable``.

``Ignore`` reports them, so that whoever approves a cutover knows which tables it leaves out. ``Fail`` ends the run, and
with ``Copy`` it begins again from its checkpoint, with the new table in its state: so the table starts as rule R2 says,
with its own position in the stream, and all other tables resume. What was written to it before that position is read by
its copy.

Tables are listed at each start, when the stream has met DDL, while a run waits for an approval, before each attempt,
and once more under its lock if there was DDL meanwhile. Called by ``operations``, in the main thread and in the one of
an attempt; ``setup`` looks at each start.
"""

import logging
import time
from collections.abc import Callable

from ferry_core.api.choices import OnNewTable
from ferry_core.errors import FerryError, RetriableError
from ferry_core.mysql.session import Session
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.joining import refuse_new
from ferry_core.run.setup import RunContext
from ferry_core.tables.discovery import new_tables

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""How often to list the source's tables while a person decides whether to cut over, or while there is DDL."""
PATIENCE_SECONDS = 10.0
"""Timeout.

Meanwhile nothing else is decided, not even an abort, so a source that hangs must not delay that for long.
"""


class NewTables:
    """Of one start of a run. ``ddl`` counts the statements of the stream that may have made a table."""

    def __init__(self, context: RunContext, reporter: StatusReporter, ddl: Callable[[], int]) -> None:
        self._context = context
        self._reporter = reporter
        self._ddl = ddl
        self._spec = context.ferry.spec
        self._known = {table.id for table in context.tables}
        self._due = self._due_after_ddl = 0.0
        self._seen = 0

    @property
    def _matters(self) -> bool:
        return self._spec.schema_.on_new_table is not OnNewTable.IGNORE

    def look(self, *, cut_over: bool = False) -> None:
        """List and report the new tables. Raises NewTable, unless ``cut_over``: nothing can be done about them then."""
        self._due = time.monotonic() + LOOK_SECONDS
        try:
            with self._context.connections.source_control(PATIENCE_SECONDS) as source:
                found = new_tables(source, self._spec.tables, self._known)
        except FerryError as error:
            log.warning("the source did not list tables, so new ones are not reported: %s", error)
            return
        if not cut_over:
            refuse_new(self._context.ferry, found, self._known)
        self._reporter.set_new_tables(found)

    def look_if_due(self) -> None:
        """The same, unless it was done recently."""
        if time.monotonic() >= self._due:
            self.look()

    def refuse(self) -> bool:
        """Raise NewTable for what the run must not leave out. Returns False if the source does not answer."""
        if not self._matters:
            return True
        try:
            with self._context.connections.source_control(PATIENCE_SECONDS) as source:
                self._refuse(source)
        except RetriableError as error:
            log.warning("the source did not list tables, so new ones are not known: %s", error)
            return False
        finally:
            self._due_after_ddl = time.monotonic() + LOOK_SECONDS
        return True

    def refuse_after_ddl(self) -> None:
        """The same, if the stream has met DDL since."""
        if self._matters and self._ddl() != self._seen and time.monotonic() >= self._due_after_ddl:
            self.refuse()

    def refuse_under_lock(self, source: Session) -> None:
        """The stream has read all that came before the lock."""
        if self._matters and self._ddl() != self._seen:
            self._refuse(source)

    def _refuse(self, source: Session) -> None:
        seen = self._ddl()
        refuse_new(self._context.ferry, new_tables(source, self._spec.tables, self._known), self._known)
        self._seen = seen
