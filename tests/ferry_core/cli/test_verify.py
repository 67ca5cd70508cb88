"""``ferry verify`` of a running Ferry: which exit code follows from the reports of its ControlServer."""

from collections.abc import Sequence
from typing import cast

import pytest

from ferry_core.api.control import PassAsked
from ferry_core.api.report import CopierReport, Failure, Report, Verification
from ferry_core.cli import verify as command
from ferry_core.errors import ExitCode, FerryError
from ferry_core.reasons import Reason


def report(answered: int = 0, differing: int = 0, epoch: int | None = 3, failure: Reason | None = None) -> Report:
    return Report(
        stage="Streaming",
        phase="Streaming",
        verification=Verification(requests_answered=answered, rows_differing=differing),
        copier=CopierReport(epoch=epoch),
        failure=None if failure is None else Failure(reason=failure, message="why", retriable=False),
    )


class Control:
    """Gives these reports one after the other."""

    def __init__(self, reports: Sequence[Report]) -> None:
        self.left = [*reports]

    def status(self) -> Report:
        return self.left.pop(0)

    def ask_for_pass(self, tables: Sequence[str]) -> PassAsked:
        assert not tables
        return PassAsked(message="asked", request=1, epoch=3)


def ended(monkeypatch: pytest.MonkeyPatch, *reports: Report) -> ExitCode:
    monkeypatch.setattr(command, "client", lambda *_: Control(reports))
    monkeypatch.setattr(command, "LOOK_SECONDS", 0)
    return cast("ExitCode", command.verify.main([], standalone_mode=False))


def test_rows_that_were_copied_again_are_equal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(monkeypatch, report(differing=4), report(differing=4), report(1, 6)) is ExitCode.DONE
    assert "copied 2 rows again that differed" in capsys.readouterr().out


@pytest.mark.parametrize("epoch", [None, 4])
def test_a_run_that_was_started_again_does_not_answer(monkeypatch: pytest.MonkeyPatch, epoch: int | None) -> None:
    with pytest.raises(FerryError, match="VerificationUnfinished: the run was started again"):
        ended(monkeypatch, report(differing=3), report(), report(answered=5, epoch=epoch))


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.ROWS_DIFFER, ExitCode.DATA),
        (Reason.TARGET_WRITTEN_BY_OTHERS, ExitCode.DATA),
        (Reason.SOURCE_BINLOG_PURGED, ExitCode.TEMPORARY),
    ],
)
def test_only_rows_that_differ_are_a_difference(
    monkeypatch: pytest.MonkeyPatch, reason: Reason, code: ExitCode
) -> None:
    assert ended(monkeypatch, report(), report(failure=reason)) is code
