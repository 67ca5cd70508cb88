"""R5: every change before the checkpointed position has been committed on the target.

A resume reads the stream again from there. Every step is idempotent, so a position that is too early costs time and one
that is too late costs rows.
"""

from collections.abc import Iterable

from ferry_core.binlog.sink import StreamMark


def safe_mark(processed: StreamMark, holding_back: Iterable[StreamMark | None]) -> StreamMark:
    """The latest mark that may be stored: what is processed, limited by pending keys and undecided XA transactions."""
    safe = processed
    for mark in holding_back:
        if mark is not None and mark < safe:
            safe = mark
    return safe
