"""R5: the checkpointed position is one before which every changed key has been committed on the target.

Resume reads the stream from there again; every step is idempotent, so too early costs time and too late costs rows.
"""

from collections.abc import Iterable

from ferry_core.binlog.sink import StreamMark


def safe_mark(processed: StreamMark, holding_back: Iterable[StreamMark | None]) -> StreamMark:
    """The latest mark that may be stored: what is processed, held back by keys and undecided XA transactions."""
    safe = processed
    for mark in holding_back:
        if mark is not None and mark < safe:
            safe = mark
    return safe
