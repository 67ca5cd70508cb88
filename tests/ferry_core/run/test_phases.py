"""The table of phases is complete: every phase is reached, every exit is used, and docs/architecture.md shows the
same.
"""

from pathlib import Path

import pytest

from ferry_core.api.report import Stage
from ferry_core.errors import (
    AmbiguousError,
    ConfigError,
    ConnectionLost,
    DataError,
    ExitCode,
    Fenced,
    FerryError,
    OtherServer,
    ServerRestarted,
    Terminated,
)
from ferry_core.reasons import Reason
from ferry_core.run.phases import ERROR_EXITS, PHASES, Exit, exit_by


def test_every_phase_is_reached_and_every_exit_leads_somewhere() -> None:
    targets = {to for phase in PHASES.values() for to in phase.exits.values()}
    assert {to for to in targets if isinstance(to, Stage)} | {Stage.VALIDATING} == set(PHASES)
    assert {to for to in targets if isinstance(to, ExitCode)} == {ExitCode.DONE, ExitCode.DATA}
    assert {exit_ for phase in PHASES.values() for exit_ in phase.exits} == set(Exit)
    assert set(PHASES) == set(Stage) - {Stage.PENDING}


def test_the_docs_show_the_same_table() -> None:
    text = Path(__file__).parents[3].joinpath("docs", "architecture.md").read_text("utf-8")
    for stage, phase in PHASES.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {stage.value} |"))
        for exit_, to in phase.exits.items():
            where = to.value if isinstance(to, Stage) else f"out ({to.value})"
            assert f"{exit_.name.lower().replace('_', ' ')} → {where}" in row, row


@pytest.mark.parametrize(
    ("error", "begins_again", "stores", "unlocks"),
    [
        (ServerRestarted(Reason.SERVER_RESTARTED, "source"), True, False, True),
        (ConnectionLost(Reason.CONNECTION_LOST, "source"), True, True, True),
        (OtherServer(Reason.SOURCE_REPLACED, "source"), True, True, True),
        (Terminated(Reason.STOPPED, "stopped"), False, True, True),
        (AmbiguousError(Reason.OWNERSHIP_AMBIGUOUS, "unknown"), False, False, False),
        (DataError(Reason.ROWS_DIFFER, "one row"), True, False, True),
        (ConfigError(Reason.NEEDS_RESTART, "a field"), False, False, True),
        (Fenced(Reason.NEWER_RUN, "newer"), False, False, True),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, FerryError) else "",
)
def test_what_an_error_of_each_class_does(error: FerryError, begins_again: bool, stores: bool, unlocks: bool) -> None:
    row = exit_by(error)
    assert (row.begins_again, row.stores_checkpoint, row.unlocks) == (begins_again, stores, unlocks)


def test_every_other_error_undoes_an_attempt_and_stores_nothing() -> None:
    assert exit_by(AssertionError()) is ERROR_EXITS[-1]
    assert (ERROR_EXITS[-1].stores_checkpoint, ERROR_EXITS[-1].unlocks) == (False, True)
