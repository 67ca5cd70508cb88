"""The streamer's status, for progress, metrics and throttles. Made by ``streamer``, read by any thread."""

from collections.abc import Mapping
from dataclasses import dataclass

from ferry_core.binlog.sink import StreamMark


@dataclass(frozen=True)
class StreamStatus:
    """A snapshot. Every number only grows, except ``lag_seconds``."""

    processed: StreamMark
    connected: bool
    last_event_monotonic: float | None  # when the last packet arrived, heartbeats included; time.monotonic()
    caught_up: bool
    """Whether the last packet was a heartbeat at the end of the binlog."""
    lag_seconds: float | None
    """Lag behind the source's newest commit.

    None if neither a heartbeat nor an event arrived recently: silence proves nothing.
    """
    bytes: int
    events: Mapping[str, int]
    transactions: int
    row_changes: int  # keys passed to the sink
    reconnects: Mapping[str, int]  # by reason
    file: str  # the source's binlog file, for messages only
