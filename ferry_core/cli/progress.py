"""Progress for a person while a Ferry runs: a live view on a terminal, a plain line every 10 s in a pipe, or nothing.

It reads the engine's snapshot from a thread of its own and never blocks the engine. Used by ``run``.
"""

import logging
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

from ferry_core.api.report import Report, TableReport
from ferry_core.cli.output import Output
from ferry_core.cli.units import count, lag, size, span

log = logging.getLogger(__name__)

PLAIN_SECONDS = 10.0
RATE_WINDOW_SECONDS = 10.0


class Watched(Protocol):
    """The part of the engine that is displayed."""

    def snapshot(self) -> Report: ...

    def tables(self) -> list[TableReport]: ...


class Rate:
    """Rows per second over the last seconds; None until there are two samples."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._looks: deque[tuple[float, int]] = deque()

    def look(self, rows: int) -> float | None:
        """Record a sample and return the rate since the oldest sample in the window."""
        now = self._clock()
        if self._looks and rows < self._looks[-1][1]:
            self._looks.clear()  # the copy started over
        self._looks.append((now, rows))
        while len(self._looks) > 2 and now - self._looks[1][0] >= RATE_WINDOW_SECONDS:
            self._looks.popleft()
        since, before = self._looks[0]
        return (rows - before) / (now - since) if now - since > 0 else None


def remaining(copied: int, estimated: int, rate: float | None) -> str:
    """``ETA 3m 07s``; empty while unknown."""
    if not rate or estimated <= copied:
        return ""
    return f"ETA {span((estimated - copied) / rate)}"


def summary(report: Report, rate: float | None) -> str:
    """One line with the whole status; parts that do not apply are left out."""
    progress = report.progress
    copying = progress.tables_copied < progress.tables_total
    parts = [report.phase or report.stage]
    if progress.tables_total:
        parts.append(f"{progress.percent:.0f}%")
        parts.append(f"{progress.tables_copied}/{progress.tables_total} tables")
    parts.append(f"{count(progress.rows_copied)} rows")
    parts.append(size(progress.bytes_copied))
    if copying and rate is not None:
        parts.append(f"{count(rate)} rows/s")
        parts.append(remaining(progress.rows_copied, progress.rows_estimated, rate))
    parts.append(lag(report.replication.lag_seconds))
    if report.replication.pending_keys:
        parts.append(f"{count(report.replication.pending_keys)} keys pending")
    if report.throttle.active and report.throttle.reason and report.throttle.reason not in (report.message or ""):
        parts.append(f"throttled: {report.throttle.reason}")
    if report.message:
        parts.append(report.message)
    return ", ".join(part for part in parts if part)


class View:
    """Renders one snapshot of the engine as a line; remembers the rate between snapshots."""

    def __init__(self, watched: Watched, clock: Callable[[], float] = time.monotonic) -> None:
        self._watched = watched
        self._clock = clock
        self._total = Rate(clock)

    def line(self) -> str:
        """For a pipe."""
        report = self._watched.snapshot()
        return summary(report, self._total.look(report.progress.rows_copied))


@contextmanager
def shown(watched: Watched, mode: str, out: Output) -> Iterator[None]:
    """A context manager that shows progress while it is entered; ``mode`` is auto, plain or none."""
    if mode == "none":
        yield
        return
    done = threading.Event()
    if mode == "auto" and sys.stdout.isatty() and not out.as_json:
        from ferry_core.cli.live import LiveView, draw  # rich takes 0.1 s to import

        work = partial(draw, LiveView(watched), done)
    else:
        work = partial(_plain, View(watched), out, done)
    thread = threading.Thread(target=_surviving, args=(work,), name="ferry-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(timeout=5)


def _surviving(work: Callable[[], None]) -> None:
    try:
        work()
    except Exception:  # an error in the view must not stop the run
        log.exception("the progress view stopped; the run continues")


def _plain(view: View, out: Output, done: threading.Event) -> None:
    while not done.wait(PLAIN_SECONDS):
        out.say(view.line())
