"""Finds tables that appear on the source after the selection was made: ``schema.onNewTable``.

``Ignore`` reports them, so that whoever approves a cutover knows which tables it leaves out. ``Fail`` ends the run, and
with ``Copy`` it begins again from its checkpoint, with the new table in its state: so the table starts as rule R2 says,
with its own position in the stream, and all other tables resume. What was written to it before that position is read by
its copy.

Tables are listed at each start, when the stream has met DDL, while a run waits for an approval, before each attempt,
and once more under its lock if there was DDL meanwhile. A run that copies rows collects them until the copy is done,
because each time costs a start. Called by ``operations``, in the main thread and in the one of an attempt; ``setup``
looks at each start.
"""

import logging
import time
from collections.abc import Callable

from ferry_core.api.choices import OnNewTable
from ferry_core.api.report import Stage
from ferry_core.cutover.background import Background
from ferry_core.errors import FerryError, RetriableError
from ferry_core.mysql.session import Session
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.joining import refuse_new
from ferry_core.run.setup import RunContext
from ferry_core.tables.discovery import new_tables
from ferry_core.tables.table import TableName

log = logging.getLogger(__name__)

NOT_LISTED = "the source did not list tables, so new ones are not known: %s"
LOOK_SECONDS = 15.0
"""How often to list the source's tables while a person decides whether to cut over, or while there is DDL."""
QUIET_SECONDS = 5.0
"""For how long there must be no more DDL: who creates a table often alters it next, or creates another."""
PATIENCE_SECONDS = 10.0
"""Timeout. While a run waits for an approval nothing else is decided meanwhile, not even an abort."""


class Ddl:
    """When to look at what DDL has made. ``count`` gives the number of statements that the stream has met."""

    def __init__(self, count: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._met = self._seen = 0
        self._last = self._due = self._latest = 0.0

    @property
    def unseen(self) -> bool:
        return self._count() != self._seen

    def due(self) -> bool:
        """Whether there was DDL since the last look, and then none for a while; with DDL all the time now and then."""
        met, now = self._count(), self._clock()
        if met == self._seen:
            return False
        if met != self._met:
            if self._met == self._seen:
                self._latest = now + LOOK_SECONDS
            self._met, self._last, self._due = met, now, min(now + QUIET_SECONDS, self._latest)
        return now >= self._due

    def looks(self) -> int:
        """A look begins. Gives what ``looked`` takes: a table of the newest DDL may not be visible yet."""
        now = self._clock()
        self._due = self._latest = now + LOOK_SECONDS
        return self._met if now - self._last >= QUIET_SECONDS else self._seen

    def looked(self, seen: int) -> None:
        self._seen = seen


class NewTables:
    """Of one start of a run. ``ddl`` counts the statements of the stream that may have made a table."""

    def __init__(self, context: RunContext, reporter: StatusReporter, ddl: Callable[[], int]) -> None:
        self._context = context
        self._reporter = reporter
        self._ddl = Ddl(ddl)
        self._listing: Background[list[TableName]] | None = None
        self._listed = 0
        self._spec = context.ferry.spec
        self._due = 0.0

    @property
    def _known(self) -> set[str]:
        """Ids of the tables that are moved: some may have joined."""
        return {table.id for table in self._context.tables}

    @property
    def _matters(self) -> bool:
        return self._spec.schema_.on_new_table is not OnNewTable.IGNORE

    @property
    def _collects(self) -> bool:
        copies = self._spec.schema_.on_new_table is OnNewTable.COPY
        return copies and self._reporter.stage is Stage.COPYING

    def look(self, *, cut_over: bool = False) -> None:
        """List and report the new tables. Raises NewTable, unless ``cut_over``: nothing can be done about them then."""
        self._due = time.monotonic() + LOOK_SECONDS
        try:
            found = self._list()
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
            found = self._list()
        except RetriableError as error:
            log.warning(NOT_LISTED, error)
            return False
        refuse_new(self._context.ferry, found, self._known)
        return True

    def refuse_after_ddl(self) -> None:
        """The same, if the stream has met DDL since. The source is asked in the background."""
        if self._listing is None:
            if self._matters and not self._collects and self._ddl.due():
                self._listed = self._ddl.looks()
                self._listing = Background("new-tables", self._list)
            return
        if not self._listing.ended(0):
            return
        listing, self._listing = self._listing, None
        try:
            found = listing.result()
        except RetriableError as error:
            log.warning(NOT_LISTED, error)
            return
        self._ddl.looked(self._listed)
        refuse_new(self._context.ferry, found, self._known)

    def refuse_under_lock(self, source: Session) -> None:
        """The stream has read all that came before the lock."""
        if self._matters and self._ddl.unseen:
            refuse_new(self._context.ferry, new_tables(source, self._spec.tables, self._known), self._known)

    def _list(self) -> list[TableName]:
        with self._context.connections.source_control(PATIENCE_SECONDS) as source:
            return new_tables(source, self._spec.tables, self._known)
