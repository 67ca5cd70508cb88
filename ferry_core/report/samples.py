"""A bounded history of a run's figures, for charts: at first of 5 s each, of longer periods the longer the run is.

Filled by the ControlServer, which asks ``Progress`` at regular intervals: nobody else needs it.
"""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from ferry_core.api.control import Sample
from ferry_core.moves.move import TableMove
from ferry_core.report.counters import Counters
from ferry_core.report.progress import Progress

SAMPLE_SECONDS = 5.0
MOST_SAMPLES = 720
"""An hour of single ones. Then pairs are merged, and so on: a day has at least 360."""


class Samples:
    """``take`` adds one; used by one thread at a time. ``all`` may be called by any thread."""

    def __init__(self, progress: Progress, now: Callable[[], float] = time.time) -> None:
        self._progress = progress
        self._now = now
        self._kept: list[Sample] = []
        self._waiting: list[Sample] = []
        self._merged = 1
        self._previous = now(), *self._totals()

    def _totals(self) -> tuple[int, int, float]:
        """Rows written, writes, and their seconds."""
        found: list[tuple[int, int, float]] = []

        def read(moves: Sequence[TableMove], counters: Counters) -> None:
            rows = sum(move.chunks.copied.rows for move in moves) + counters.keys_flushed.total()
            found.append((rows, counters.writes, counters.write_seconds))

        self._progress.read_numbers(read)
        return found[0]

    def take(self) -> None:
        """Add the figures since the last call."""
        now, totals = self._now(), self._totals()
        before, rows, writes, seconds = self._previous
        self._previous = now, *totals
        count = totals[1] - writes
        replication = self._progress.report().replication
        sample = Sample(
            time=datetime.fromtimestamp(round(now), UTC),
            # A table that starts again counts from 0.
            rows_per_second=round(max(0, totals[0] - rows) / max(now - before, 0.001), 1),
            lag_seconds=replication.lag_seconds,
            pending_keys=replication.pending_keys,
            write_seconds=round(max(0.0, totals[2] - seconds) / count, 4) if count > 0 else None,
        )
        self._waiting.append(sample)
        if len(self._waiting) >= self._merged:
            self._kept = [*self._kept, merged(self._waiting)]
            self._waiting = []
        if len(self._kept) >= MOST_SAMPLES:
            self._kept = [merged(self._kept[at : at + 2]) for at in range(0, len(self._kept), 2)]
            self._merged *= 2

    def all(self) -> list[Sample]:
        return self._kept


def merged(samples: Sequence[Sample]) -> Sample:
    """One sample for the whole period. Peaks of lag and pending keys stay visible."""
    lags = [each.lag_seconds for each in samples if each.lag_seconds is not None]
    writes = [each.write_seconds for each in samples if each.write_seconds is not None]
    return Sample(
        time=samples[-1].time,
        rows_per_second=round(sum(each.rows_per_second for each in samples) / len(samples), 1),
        lag_seconds=max(lags, default=None),
        pending_keys=max(each.pending_keys for each in samples),
        write_seconds=round(sum(writes) / len(writes), 4) if writes else None,
    )
