"""Flow: a direction, from the end that is read to the end that is written. The engine knows no other ends.

Each end opens its own sessions and has its own rules: the reader how its rows are made visible, the writer how its
transactions are fenced. Which family an end is its sessions know (``Session.flavor``); nothing is asked of the pair. So
the same engine runs the other way round, and between families. Made by the run, for each engine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ferry_core.consistency.fence import Fence
from ferry_core.consistency.visibility import Visibility
from ferry_core.mysql.session import Session
from ferry_core.workers.connections import Connections


class OpenRows(Protocol):
    """A session that renders rows; ``text`` for tables with a row filter."""

    def __call__(self, *, text: bool = False) -> Session: ...


@dataclass(frozen=True)
class Reader:
    """The end that rows and events come from."""

    rows: OpenRows
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
    """``abort`` breaks every connection of both ends."""

    reader: Reader
    writer: Writer
    abort: Callable[[], None]

    @classmethod
    def of(cls, connections: Connections, visibility: Visibility, fence: Fence) -> "Flow":
        """From the source to the target."""
        return cls(
            Reader(
                connections.source,
                connections.source_control,
                lambda: connections.source_control(HURRIED_SECONDS),
                visibility,
            ),
            Writer(connections.target, lambda: connections.target_control(HURRIED_SECONDS), fence),
            connections.abort_all,
        )


HURRIED_SECONDS = 5.0
"""How long an answer is waited for by who only kills statements."""
