"""What the command needs of the engine, as a Protocol: tests stand in for it, and ``ferry --help`` starts fast.

The engine's modules are imported when a command needs them: they are most of the start-up time.
"""

from typing import Protocol

from ferry_core.api.report import Report, TableReport
from ferry_core.control.verbs import Verbs
from ferry_core.errors import ExitCode
from ferry_core.manifest import LoadedFerry
from ferry_core.run.options import RunOptions


class Engine(Protocol):
    """One run of one Ferry."""

    def run(self) -> ExitCode:
        """Blocks until it is over; raises FerryError."""

    def stop(self) -> None:
        """Ask for a checkpoint and the way out; from any thread, at once."""

    def snapshot(self) -> Report:
        """How far it is; from any thread."""

    def tables(self) -> list[TableReport]:
        """How far each table is; from any thread."""

    def result_line(self) -> str:
        """Rows, duration, verification and write-block time of a run that is done."""


class SteeredEngine(Engine, Verbs, Protocol):
    """A run that its caller controls."""


def make_engine(loaded: LoadedFerry, options: RunOptions) -> Engine:
    """The real one."""
    from ferry_core.run.ferry import Ferry

    return Ferry(loaded, options)


def make_steered(loaded: LoadedFerry, options: RunOptions) -> SteeredEngine:
    """The same, controlled by the caller."""
    from ferry_core.run.ferry import Ferry

    return Ferry(loaded, options)
