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

from ferry_core.api.report import Replication, Report, TableReport
from ferry_core.cli.output import Output
from ferry_core.cli.units import count, lag, size, span

log = logging.getLogger(__name__)

PLAIN_SECONDS = 10.0
UNCHANGED_SECONDS = 60.0
"""A line that says nothing new is printed again after this time only."""
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


def summary(report: Report, rate: float | None, bytes_rate: float | None = None) -> str:
    """One line with the whole status but the message; parts that do not apply are left out."""
    progress = report.progress
    copying = progress.tables_copied < progress.tables_total
    parts = [report.phase or report.stage]
    if progress.tables_total:
        parts.append(f"{progress.percent:.0f}%")
        parts.append(f"{progress.tables_copied}/{progress.tables_total} tables")
    of = f" of about {count(progress.rows_estimated)}" if progress.rows_estimated > progress.rows_copied else ""
    parts.append(f"{count(progress.rows_copied)}{of} rows")
    parts.append(size(progress.bytes_copied))
    if copying and rate is not None:
        parts.append(f"{count(rate)} rows/s")
        parts.append(f"{size(bytes_rate)}/s" if bytes_rate else "")
        parts.append(remaining(progress.rows_copied, progress.rows_estimated, rate))
    elif report.verification.rows_verified:
        parts.append(f"{count(report.verification.rows_verified)} rows verified")
    parts.append(lag(report.replication.lag_seconds))
    if pending := report.replication.pending_keys:
        parts.append(f"{count(pending)} {'key' if pending == 1 else 'keys'} pending")
    if report.throttle.active and report.throttle.reason and report.throttle.reason not in (report.message or ""):
        parts.append(f"throttled: {report.throttle.reason}")
    return ", ".join(part for part in parts if part)


def elapsed(report: Report, now: Callable[[], float] = time.time) -> str:
    """``running for 3m 07s``; empty before the start."""
    began, ended = report.start_time, report.completion_time
    if began is None:
        return ""
    return f"{'took' if ended else 'running for'} {span((ended.timestamp() if ended else now()) - began.timestamp())}"


class Line:
    """Renders reports of one run as lines; remembers the rates between them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._rows, self._bytes = Rate(clock), Rate(clock)

    def of(self, report: Report) -> str:
        """Without the message, which may be long."""
        progress = report.progress
        return summary(report, self._rows.look(progress.rows_copied), self._bytes.look(progress.bytes_copied))


class News:
    """Lines for a pipe: those that say something new, and one a minute if there is nothing new."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._line = Line(clock)
        self._told: Report | None = None
        self._told_at = 0.0

    def of(self, report: Report) -> str:
        """Empty if the last line said the same."""
        line, now = self._line.of(report), self._clock()
        # Lag, position and pending keys change all the time.
        steady = report.model_copy(update={"replication": Replication(), "conditions": [], "revision": 0})
        if steady == self._told and now - self._told_at < UNCHANGED_SECONDS:
            return ""
        self._told, self._told_at = steady, now
        return ", ".join(part for part in (line, report.message) if part)


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
        work = partial(_plain, watched, out, done)
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


def _plain(watched: Watched, out: Output, done: threading.Event) -> None:
    news = News()
    while not done.wait(PLAIN_SECONDS):
        if line := news.of(watched.snapshot()):
            out.say(line, event="progress")
