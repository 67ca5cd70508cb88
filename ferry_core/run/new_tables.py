"""Finds tables that appear on the source after the selection was made. Called by ``operations``, in the main thread."""

import logging
import time

from ferry_core.errors import FerryError
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.setup import RunContext
from ferry_core.tables.discovery import new_tables

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""How often to list the source's tables while a person decides whether to cut over."""
PATIENCE_SECONDS = 10.0
"""Timeout.

Meanwhile nothing else is decided, not even an abort, so a source that hangs must not delay that for long.
"""


class NewTables:
    """Whoever approves a cutover must know which tables it leaves out."""

    def __init__(self, context: RunContext, reporter: StatusReporter) -> None:
        self._context = context
        self._reporter = reporter
        self._known = {table.id for table in context.tables}
        self._due = 0.0

    def look(self) -> None:
        """List and report the new tables."""
        self._due = time.monotonic() + LOOK_SECONDS
        try:
            with self._context.connections.source_control(PATIENCE_SECONDS) as source:
                self._reporter.set_new_tables(new_tables(source, self._context.ferry.spec.tables, self._known))
        except FerryError as error:
            log.warning("the source did not list tables, so new ones are not reported: %s", error)

    def look_if_due(self) -> None:
        """The same, unless it was done recently."""
        if time.monotonic() >= self._due:
            self.look()
