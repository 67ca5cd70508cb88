"""What the streamer knows of itself, for progress, metrics and throttles. Made by ``streamer``, read by any thread."""

from collections.abc import Mapping
from dataclasses import dataclass

from ferry_core.binlog.sink import StreamMark


@dataclass(frozen=True)
class StreamStatus:
    """A moment's picture; every number only grows, but for ``lag_seconds``."""

    processed: StreamMark
    connected: bool
    last_event_monotonic: float | None  # when anything, a heartbeat too, last came; time.monotonic()
    caught_up: bool
    """The last word of the source was a heartbeat at the end of its binlog."""
    lag_seconds: float | None
    """Behind the source's newest commit; None if neither a heartbeat nor an event lately told: silence is no news."""
    bytes: int
    events: Mapping[str, int]
    transactions: int
    row_changes: int  # keys given to the sink
    reconnects: Mapping[str, int]  # by reason
    file: str  # the source's binlog file, for messages only
