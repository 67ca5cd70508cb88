"""What the coordinator works with between one start of a run and the next, and what it asks of who makes that."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from ferry_core.api.report import Stage
from ferry_core.checkpoint.state import RunState
from ferry_core.errors import DataError
from ferry_core.moves.move import TableMove
from ferry_core.run.attempts import AttemptSeries, CaughtUp
from ferry_core.run.operations import Operations


class Checkpointing(Protocol):
    """What is stored of a run; ``Checkpoints`` is the one outside of tests."""

    state: RunState

    def save(self, started: Iterable[TableMove] = ()) -> None: ...

    def save_if_due(self) -> None: ...

    def save_now_if_possible(self) -> bool: ...


@dataclass
class Started:
    """What one start of a run works with; another start has others."""

    operations: Operations
    checkpoints: Checkpointing
    reached: Stage
    """Copying or Streaming: where it goes on."""
    creates_tables: bool
    caught_up: CaughtUp
    streams: bool = False
    """Whether tracking has begun, or is about to."""
    follows: bool = False
    """Whether Streaming was entered."""
    under_way: bool = False
    """Whether chunks may be read: what fails earlier begins again."""
    handed_over: int = 0
    """Row changes that had been streamed at the cutover."""


class Startup(Protocol):
    """Makes a ``Started``; ``startup.RunStartup`` is the one outside of tests."""

    @property
    def has_run(self) -> bool:
        """Whether this process was further than validation once: its stage is still reported while it validates."""

    @property
    def let_in(self) -> bool:
        """Whether both servers have ever let this run in."""

    @property
    def start_undone(self) -> bool:
        """Whether nothing is kept of the last start, since definitions were changed before its first chunk."""

    def undo_start(self, error: DataError) -> None:
        """After an error before the first chunk, where that is possible."""

    def start(self, series: AttemptSeries) -> Started | None:
        """Validate, take the fence, make what is missing. None: it was cut over already."""
