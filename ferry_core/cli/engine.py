"""The interface of the engine that the CLI uses, as a Protocol: tests replace it, and ``ferry --help`` starts fast.

The engine's modules are imported only when a command needs them, because they take most of the start-up time.
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
        """Block until the run is over; raises FerryError."""

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end. Any thread may call it; it returns at once."""

    def snapshot(self) -> Report:
        """Progress of the run; any thread may call it."""

    def tables(self) -> list[TableReport]:
        """Progress of each table; any thread may call it."""

    def result_line(self) -> str:
        """Rows, duration, verification and write-block time of a completed run."""


class SteeredEngine(Engine, Verbs, Protocol):
    """A run that its caller controls through directives."""


def make_engine(loaded: LoadedFerry, options: RunOptions) -> SteeredEngine:
    """Make the real engine."""
    from ferry_core.run.ferry import Ferry

    return Ferry(loaded, options)
