"""The objects that the coordinator uses between one start of a run and the next, and the interface that makes them."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Protocol

from ferry_core.api.report import Stage
from ferry_core.checkpoint.state import RunState
from ferry_core.errors import DataError
from ferry_core.moves.move import TableMove
from ferry_core.run.attempts import AttemptSeries, CaughtUp
from ferry_core.run.operations import Operations


class Checkpointing(Protocol):
    """Saves the state of a run. ``Checkpoints`` implements it outside of tests."""

    state: RunState

    def save(self, started: Iterable[TableMove] = ()) -> None: ...

    def save_if_due(self) -> None: ...

    def save_now_if_possible(self) -> bool: ...

    def learns(self, error: BaseException) -> bool:
        """What the error that ends a run changes in its state. Returns whether it does."""

    def copy_again(self, tables: Collection[str]) -> None: ...


@dataclass
class Started:
    """Objects of one start of a run. Each start has new ones."""

    operations: Operations
    checkpoints: Checkpointing
    reached: Stage
    """Copying or Streaming: where to resume."""
    creates_tables: bool
    caught_up: CaughtUp
    streams: bool = False
    """Whether tracking has begun, or is about to."""
    follows: bool = False
    """Whether the verification has begun, in Streaming."""
    under_way: bool = False
    """Whether chunks may be read. An error before that starts the run again."""
    recorded: bool = False
    """Whether the cutover is recorded: nothing is undone any more."""
    handed_over: int = 0
    """Number of row changes that had been streamed at the cutover."""


class Startup(Protocol):
    """Makes a ``Started``. ``startup.RunStartup`` implements it outside of tests."""

    @property
    def has_run(self) -> bool:
        """Whether this process got past validation before: then its earlier stage stays visible while it validates."""

    @property
    def let_in(self) -> bool:
        """Whether both servers have ever accepted a login of this run."""

    @property
    def copies_again(self) -> bool:
        """Whether tables whose definition changes are copied again (``schema.onChange``)."""

    @property
    def joining(self) -> Collection[str]:
        """Ids of new tables that are not copied yet: they are copied again too, because a migration that creates a
        table often alters it next.
        """

    @property
    def start_undone(self) -> bool:
        """Whether nothing is left of the last start, because definitions changed before its first chunk."""

    def undo_start(self, error: DataError) -> None:
        """After an error before the first chunk, if that is possible."""

    def start(self, series: AttemptSeries) -> Started | None:
        """Validate, take the fence, create what is missing. None: it was cut over already."""
