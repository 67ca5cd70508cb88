"""The live view of a run on a terminal: a line for each active table and a total. Called by ``progress``, which imports
it only for a terminal.
"""

import threading
import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ferry_core.api.report import TableReport, TableState
from ferry_core.cli.progress import Line, Rate, Watched, elapsed, remaining
from ferry_core.cli.units import count

LIVE_SECONDS = 0.5


class LiveView:
    """Remembers the rate of each table."""

    def __init__(self, watched: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched = watched
        self._clock = clock
        self._total = Line(clock)
        self._tables: dict[str, Rate] = {}

    def picture(self, height: int) -> Group:
        """For a terminal with that many lines: the active tables and the total."""
        report = self._watched.snapshot()
        active = [table for table in self._watched.tables() if table.state == TableState.COPYING]
        self._tables = {table.name: self._tables.get(table.name) or Rate(self._clock) for table in active}
        grid = Table.grid(padding=(0, 2))
        room = max(1, height - 6)
        for table in active[:room]:
            grid.add_row(*self._row(table))
        rest = [Text(f"and {len(active) - room} more tables", style="dim")] if len(active) > room else []
        total = ", ".join(part for part in (self._total.of(report), elapsed(report)) if part)
        message = [Text(report.message, overflow="ellipsis", no_wrap=True)] if report.message else []
        return Group(grid, *rest, Text(total, style="bold"), *message)

    def _row(self, table: TableReport) -> Iterator[Text]:
        rate = self._tables[table.name].look(table.rows_copied)
        full = round(table.percent / 5)
        yield Text(table.name, overflow="ellipsis", no_wrap=True)
        yield Text("━" * full, style="green").append("━" * (20 - full), style="bright_black")
        yield Text(f"{table.percent:3.0f}%")
        yield Text(f"{count(table.rows_copied)} rows", justify="right")
        yield Text(f"{count(rate)} rows/s" if rate is not None else "")
        yield Text(remaining(table.rows_copied, table.rows_estimated, rate))


def draw(view: LiveView, done: threading.Event) -> None:
    """Until ``done``."""
    console = Console()
    with Live(console=console, auto_refresh=False, transient=True, redirect_stderr=True) as screen:
        while not done.wait(LIVE_SECONDS):
            screen.update(view.picture(console.height), refresh=True)
