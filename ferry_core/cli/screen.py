"""What ``ferry status`` and ``ferry tables`` draw. ``verbs`` imports it only to draw: rich takes 0.1 s to import."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ferry_core.api.report import Report, Stage, TableReport
from ferry_core.api.sentences import sentence
from ferry_core.cli.progress import PLAIN_SECONDS, Line, News, elapsed, summary
from ferry_core.cli.units import count, size
from ferry_core.errors import FerryError

WATCH_SECONDS = 1.0


def show(report: Report, console: Console | None = None) -> None:
    """Once."""
    (console or Console()).print(_picture(report, summary(report, None)))


def watch(ask: Callable[[], Report]) -> None:
    """Until the run ends or Ctrl-C: on a terminal in place, in a pipe a line for each change."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the terminal gets its cursor back
    try:
        if sys.stdout.isatty():
            _redraw(ask)
        else:
            _follow(ask)
    except KeyboardInterrupt:
        return


def _redraw(ask: Callable[[], Report]) -> None:
    line = Line()
    with Live(auto_refresh=False) as screen:
        for report in _reports(ask, WATCH_SECONDS):
            screen.update(_picture(report, line.of(report)), refresh=True)


def _follow(ask: Callable[[], Report]) -> None:
    news = News()
    for report in _reports(ask, PLAIN_SECONDS):
        if line := news.of(report):
            print(line, flush=True)  # noqa: T201 - a command's result


def _reports(ask: Callable[[], Report], every: float) -> Iterator[Report]:
    """A completed run takes its ControlServer with it."""
    last: Report | None = None
    while last is None or last.stage != Stage.COMPLETED:
        try:
            last = ask()
        except FerryError:
            if last is None or last.stage != Stage.CUTTING_OVER:
                raise
            return
        yield last
        time.sleep(every)


def _picture(report: Report, line: str) -> Group:
    """The status, one condition per line."""
    parts: list[Text | Table] = [Text(", ".join(part for part in (line, elapsed(report)) if part), style="bold")]
    if report.message:
        parts.append(Text(report.message))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("CONDITION", "STATUS", "REASON"):
        table.add_column(title, no_wrap=True)
    table.add_column("MESSAGE", overflow="fold")
    for one in report.conditions:
        said = sentence(one.type, one.status, one.reason, one.message)
        table.add_row(Text(one.type), Text(one.status), Text(one.reason), Text(said))
    if report.conditions:
        parts.append(table)
    if report.failure is not None:
        parts.append(Text(f"{report.failure.reason}: {report.failure.message}", style="bold red"))
    return Group(*parts)


def show_tables(found: Sequence[TableReport]) -> None:
    """The tables, one per line."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("TABLE", "TARGET", "STATE"):
        table.add_column(title)
    for title in ("%", "ROWS", "OF ABOUT", "BYTES", "PENDING KEYS", "DIFFERED", "REPAIRED"):
        table.add_column(title, justify="right")
    for one in found:
        target = one.target if one.target != one.name else "same"
        table.add_row(
            *(Text(text) for text in (one.name, target, one.state, f"{one.percent:.0f}", count(one.rows_copied))),
            *(Text(text) for text in (count(one.rows_estimated), size(one.bytes_copied), count(one.pending_keys))),
            *(Text(count(rows)) for rows in (one.rows_differing, one.rows_repaired)),
        )
    Console().print(table)
