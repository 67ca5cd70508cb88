"""Flow: a direction, from the server that is read to the server that is written. The engine knows no other servers.

Each end opens its own sessions and has its own rules: the reader for the visibility of its rows, the writer for fencing
its transactions. A session knows its family (``Session.flavor``); nothing depends on the pair. So the same engine works
in the other direction, and between families. Made by the run, for each engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility
from ferry_core.mysql.session import Session
from ferry_core.workers.connections import Connections
from ferry_core.workers.source_sessions import SourceSessions


@dataclass(frozen=True)
class Reader:
    """The end that rows and events come from."""

    rows: SourceSessions
    """Those that render rows."""
    control: Callable[[], Session]
    hurried_control: Callable[[], Session]
    visibility: Visibility


@dataclass(frozen=True)
class Writer:
    """The end that rows go to."""

    rows: Callable[[], Session]
    hurried_control: Callable[[], Session]
    fence: Fence


class Flow(NamedTuple):
    """``abort`` breaks every connection to both servers."""

    reader: Reader
    writer: Writer
    abort: Callable[[], None]

    @classmethod
    def of(cls, connections: Connections, visibility: Visibility, fence: Fence, rows: SourceSessions) -> "Flow":
        """From the source to the target."""
        return cls(
            Reader(
                rows,
                connections.source_control,
                lambda: connections.source_control(HURRIED_SECONDS),
                visibility,
            ),
            Writer(connections.target, lambda: connections.target_control(HURRIED_SECONDS), fence),
            connections.abort_all,
        )


HURRIED_SECONDS = 5.0
"""Timeout of an answer for sessions that only kill statements."""
