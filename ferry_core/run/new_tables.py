"""Tables that appear on the source after the selection was made. Called by ``operations``, in the main thread."""

import logging
import time

from ferry_core.errors import FerryError
from ferry_core.report.status_reporter import StatusReporter
from ferry_core.run.setup import RunContext
from ferry_core.tables.discovery import new_tables

log = logging.getLogger(__name__)

LOOK_SECONDS = 15.0
"""How often the source is asked for names while a person decides whether to cut over."""
PATIENCE_SECONDS = 10.0
"""Meanwhile nothing else is decided, an abort neither: a source that hangs must not hold that up for long."""


class NewTables:
    """Who approves a cutover must know what it does not hold."""

    def __init__(self, context: RunContext, reporter: StatusReporter) -> None:
        self._context = context
        self._reporter = reporter
        self._known = {table.id for table in context.tables}
        self._due = 0.0

    def look(self) -> None:
        """Ask, and tell."""
        self._due = time.monotonic() + LOOK_SECONDS
        try:
            with self._context.connections.source_control(PATIENCE_SECONDS) as source:
                self._reporter.set_new_tables(new_tables(source, self._context.ferry.spec.tables, self._known))
        except FerryError as error:
            log.warning("the source could not be asked for tables that appeared since the start: %s", error)

    def look_if_due(self) -> None:
        """The same, unless it was done lately."""
        if time.monotonic() >= self._due:
            self.look()
