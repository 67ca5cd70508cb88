"""The termination message that a copier writes when it ends."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from ferry_core.api.report import ConditionReport, Outcome, Progress, Replication, Report
from ferry_core.cli.termination_message import BYTES, fitting, fitting_outcome, written_at_exit
from ferry_core.errors import ConfigError, ConnectionLost, DataError
from ferry_core.reasons import Reason


def crowded(message: str) -> Report:
    at = datetime(2026, 11, 23, tzinfo=UTC)
    conditions = [
        ConditionReport(type=f"Condition{n}", status="True", reason="R" * 60, message=message, last_transition_time=at)
        for n in range(11)
    ]
    return Report(
        stage="Completed",
        message=message,
        conditions=conditions,
        progress=Progress(rows_copied=10**15),
        replication=Replication(gtid_set="g" * 4096),
    )


@pytest.mark.parametrize("message", ["", "short", "é" * 2000, "\u2028" * 1300, '"\\' * 2000])
def test_the_message_fits_and_can_be_parsed(message: str) -> None:
    text = fitting(crowded(message))
    assert len(text.encode()) <= BYTES
    back = Report.model_validate_json(text)
    assert back.stage == "Completed"
    assert back.progress.rows_copied == 10**15
    assert len(back.conditions) == 11


@pytest.mark.parametrize("message", ["", "short", "é" * 4000, '"\\' * 4000])
def test_an_outcome_fits_and_keeps_what_a_person_needs(message: str) -> None:
    needs_person = "the statement " * 80
    text = fitting_outcome(Outcome(message=message, needs_person=needs_person))
    assert len(text.encode()) <= BYTES
    back = Outcome.model_validate_json(text)
    assert back.needs_person == needs_person
    assert back.message == message or len(back.message) >= 500


@pytest.mark.parametrize(
    ("error", "retriable"),
    [
        (ConfigError(Reason.SECRET_NOT_FOUND, "no Secret old"), False),
        (ConnectionLost(Reason.CONNECTION_LOST, "gone"), True),
    ],
)
def test_an_error_before_there_is_a_report(tmp_path: Path, error: Exception, *, retriable: bool) -> None:
    path = tmp_path / "log"
    with pytest.raises(type(error)), written_at_exit(path, lambda: None):
        raise error
    report = Report.model_validate_json(path.read_text())
    assert report.failure is not None
    assert (report.failure.message, report.failure.retriable) == (str(error).partition(": ")[2], retriable)
    assert report.phase == "Failed"


def test_an_unwritable_file_does_not_hide_the_error(tmp_path: Path) -> None:
    with pytest.raises(DataError), written_at_exit(tmp_path / "no" / "folder", Report):
        raise DataError(Reason.ROWS_DIFFER, "y")
