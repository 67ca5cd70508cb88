"""Distributions of durations and sizes: Prometheus histograms. Written by ``progress``.

Made without a registry. ``metrics.registry_of`` adds them to the registry of their run, so that two runs (and two
tests) share nothing.
"""

from prometheus_client import Histogram, disable_created_metrics

# Disables the _created series of each counter and histogram, which nothing uses.
disable_created_metrics()  # type: ignore[no-untyped-call]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000)


class Timings:
    """Updated once a transaction or generation, never once a row."""

    def __init__(self) -> None:
        chunk = Histogram(
            "ferry_copy_chunk_duration_seconds",
            "Time of one chunk, reading from the source and writing to the target.",
            ["op"],
            registry=None,
            buckets=_SECONDS,
        )
        self.read = chunk.labels("read")
        self.write = chunk.labels("write")
        self.chunk_rows = Histogram("ferry_copy_chunk_rows", "Rows of one chunk.", registry=None, buckets=_ROWS)
        self.flush = Histogram(
            "ferry_flush_duration_seconds", "Time of one generation of changed keys.", registry=None, buckets=_SECONDS
        )
        query = Histogram(
            "ferry_mysql_query_duration_seconds",
            "Time of one commit on the target, and of one wait on the source until changes are visible.",
            ["server", "kind"],
            registry=None,
            buckets=_SECONDS,
        )
        self.commit = query.labels("target", "commit")
        self.visibility = query.labels("source", "visibility")
        self.write_block = Histogram(
            "ferry_cutover_write_block_duration_seconds",
            "How long each cutover attempt blocked writes on the source.",
            registry=None,
            buckets=_SECONDS,
        )
        self.all = (chunk, self.chunk_rows, self.flush, query, self.write_block)
