"""Writes the termination message of a container: a copier's last report, or what an abort or a cleanup did.

Kubernetes keeps 4096 bytes of it. An operator that was down meanwhile learns only from it how the process ended. An
abort or a cleanup that fails writes none; the kubelet then uses the end of its log. Called by ``copier`` and ``verbs``.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from ferry_core.api.report import Failure, Outcome, Phase, Report
from ferry_core.errors import FerryError, RetriableError

log = logging.getLogger(__name__)

BYTES = 4096
_MESSAGE_BYTES = (1000, 300, 100, 0)


@contextlib.contextmanager
def written_at_exit(path: Path | None, report: Callable[[], Report | None]) -> Iterator[None]:
    """Write the report when the body ends, whatever the cause, with the error that ended the run."""
    error: FerryError | None = None
    try:
        yield
    except FerryError as caught:
        error = caught
        raise
    finally:
        if path is not None:
            _write(path, report() or Report(), error)


def write_outcome(path: Path | None, outcome: Outcome) -> None:
    """How an abort or a cleanup ended that did not fail."""
    if path is not None:
        _write_text(path, fitting_outcome(outcome))


def _write(path: Path, report: Report, error: FerryError | None) -> None:
    if error is not None and report.failure is None:
        failure = Failure(
            reason=error.reason, message=error.message[:BYTES], retriable=isinstance(error, RetriableError)
        )
        report = report.model_copy(update={"failure": failure, "phase": Phase.FAILED.value})
    _write_text(path, fitting(report))


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as problem:
        log.warning("the termination message could not be written to %s: %s", path, problem)


def fitting(report: Report) -> str:
    """The report as JSON of at most 4096 bytes; messages are shortened until it fits."""
    text = _json(report)
    for most in _MESSAGE_BYTES:
        if len(text.encode()) <= BYTES:
            break
        text = _json(_shortened(report, most))
    return text


def fitting_outcome(outcome: Outcome) -> str:
    """The same for an outcome: first what was done is shortened, which may name many tables."""
    text = _json(outcome)
    for most in _MESSAGE_BYTES:
        if len(text.encode()) <= BYTES:
            break
        text = _json(Outcome(message=_cut(outcome.message, most), needs_person=_cut(outcome.needs_person, most + 600)))
    return text


def _json(report: Report | Outcome) -> str:
    return report.model_dump_json(by_alias=True, exclude_none=True, exclude_defaults=True)


def _shortened(report: Report, most: int) -> Report:
    conditions = [each.model_copy(update={"message": _cut(each.message, most)}) for each in report.conditions]
    failure = report.failure and report.failure.model_copy(
        update={"message": _cut(report.failure.message, max(most, 300))}
    )
    replication = report.replication.model_copy(update={"gtid_set": None, "position": None})
    parts = {"conditions": conditions, "failure": failure, "replication": replication}
    return report.model_copy(update=parts | {"message": _cut(report.message, max(most, 300))})


def _cut(text: str, most: int) -> str:
    return text.encode()[:most].decode(errors="ignore")
