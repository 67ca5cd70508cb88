"""The phases of a run, each with its body and its exits. These two tables define all transitions.

A phase is a ``Stage``, and report, checkpoint and lease use the same names. ``Coordinator`` implements the bodies, and
``follow`` calls one after another. A body ends with an ``Exit``; any phase can end by an error.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from ferry_core.api.report import Stage
from ferry_core.errors import (
    AmbiguousError,
    DataError,
    ExitCode,
    Fenced,
    FerryError,
    RetriableError,
    ServerRestarted,
    TerminalError,
    Terminated,
)


class Exit(Enum):
    """How a phase's body ends without an error."""

    ROWS_MISSING = auto()
    ALL_COPIED = auto()
    ALREADY_CUT_OVER = auto()
    GATES_PASSED = auto()
    GATE_MISSING = auto()
    ATTEMPT_DUE = auto()
    TABLE_STARTS = auto()
    ATTEMPT_FAILED = auto()
    CUT_OVER = auto()
    SOURCE_QUIET = auto()
    SOURCE_WRITTEN = auto()


class Bodies(Protocol):
    """The body of each phase. Every body may raise what ends the run."""

    def enter(self, stage: Stage) -> None:
        """The only place where the phase changes."""

    def validate(self) -> Exit: ...

    def copy(self) -> Exit: ...

    def stream(self) -> Exit: ...

    def wait_for_approval(self) -> Exit: ...

    def cut_over(self) -> Exit: ...

    def watch(self) -> Exit: ...

    def start_alone(self, error: DataError) -> bool:
        """Have the tables that the error names start over or join while all others go on. False: the run cannot."""


@dataclass(frozen=True)
class Phase:
    """``exits`` lead to another phase, or out of the run with an exit code."""

    body: Callable[[Bodies], Exit]
    exits: Mapping[Exit, Stage | ExitCode]


PHASES: Mapping[Stage, Phase] = {
    Stage.VALIDATING: Phase(
        lambda run: run.validate(),
        {
            Exit.ROWS_MISSING: Stage.COPYING,
            Exit.ALL_COPIED: Stage.STREAMING,
            Exit.ALREADY_CUT_OVER: ExitCode.DONE,
        },
    ),
    Stage.COPYING: Phase(lambda run: run.copy(), {Exit.ALL_COPIED: Stage.STREAMING, Exit.TABLE_STARTS: Stage.COPYING}),
    Stage.STREAMING: Phase(
        lambda run: run.stream(),
        {Exit.GATES_PASSED: Stage.READY_FOR_CUTOVER, Exit.TABLE_STARTS: Stage.COPYING},
    ),
    Stage.READY_FOR_CUTOVER: Phase(
        lambda run: run.wait_for_approval(),
        {
            Exit.GATE_MISSING: Stage.STREAMING,
            Exit.ATTEMPT_DUE: Stage.CUTTING_OVER,
            Exit.TABLE_STARTS: Stage.COPYING,
        },
    ),
    Stage.CUTTING_OVER: Phase(
        lambda run: run.cut_over(), {Exit.ATTEMPT_FAILED: Stage.STREAMING, Exit.CUT_OVER: Stage.COMPLETED}
    ),
    Stage.COMPLETED: Phase(
        lambda run: run.watch(), {Exit.SOURCE_QUIET: ExitCode.DONE, Exit.SOURCE_WRITTEN: ExitCode.DATA}
    ),
}


@dataclass(frozen=True)
class ErrorExit:
    """What an error does in any phase."""

    error: type[FerryError]
    begins_again: bool = False
    """Return to Validating, from the stored checkpoint, as long as ``restart_policy`` allows it."""
    stores_checkpoint: bool = False
    """Whether to save the state in memory before leaving."""
    unlocks: bool = True
    """Whether a run that leaves CuttingOver is Streaming again, because the attempt was undone."""


ERROR_EXITS = (  # the first match applies; the run ends with the error's exit code, unless it begins again
    ErrorExit(ServerRestarted, begins_again=True),  # the state in memory may be wrong
    ErrorExit(RetriableError, begins_again=True, stores_checkpoint=True),
    ErrorExit(Terminated, stores_checkpoint=True),  # a stop or an abort; an abort is also recorded in the lease
    ErrorExit(AmbiguousError, unlocks=False),  # the source may stay locked, and the report must show that
    ErrorExit(DataError, begins_again=True),  # only if it came before the first chunk and the start was undone
    ErrorExit(TerminalError),
    ErrorExit(Fenced),
    ErrorExit(FerryError),
)


def exit_by(error: BaseException) -> ErrorExit:
    """The effect of ``error`` on a run that it ends."""
    return next((row for row in ERROR_EXITS if isinstance(error, row.error)), ERROR_EXITS[-1])


def follow(run: Bodies, stage: Stage = Stage.VALIDATING) -> ExitCode:
    """Run phase after phase until an exit leads out."""
    while True:
        run.enter(stage)
        phase = PHASES[stage]
        to = phase.exits[_exit_of(run, phase)]
        if isinstance(to, ExitCode):
            return to
        stage = to


def _exit_of(run: Bodies, phase: Phase) -> Exit:
    try:
        return phase.body(run)
    except DataError as error:
        if Exit.TABLE_STARTS in phase.exits and run.start_alone(error):
            return Exit.TABLE_STARTS
        raise
