"""What the status says of verification passes."""

from unittest.mock import Mock

from ferry_core.report.verification_reporter import VerificationReporter


def test_rows_that_a_restart_keeps_from_being_compared_count_anew() -> None:
    """Else the alert FerryRowsDiffer would fire until the process ends."""
    progress = Mock()
    progress.report.return_value.verification.rows_differing = 7
    VerificationReporter(progress).begins_again()
    assert progress.set_verification.call_args.kwargs["rows_repaired"] == 7
