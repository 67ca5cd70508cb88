"""What a check is and what it finds. Called by every module of this package; shown by ``ferry check``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ferry_core.preflight.context import PreflightContext
from ferry_core.reasons import Reason

Server = Literal["source", "target", "both"]


class Status(StrEnum):
    """How a check ended. Only FAILED stops a run."""

    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    ACKNOWLEDGED = "acknowledged"  # would have failed, but the spec says that it is known
    SKIPPED = "skipped"  # not asked; the message says why


@dataclass(frozen=True)
class Finding:
    """One thing that a check has to say; a check that finds nothing passed."""

    status: Status
    reason: Reason
    message: str


@dataclass(frozen=True)
class CheckResult:
    """One line of the table that ``ferry check`` prints. The message of a failure holds what, where and the fix."""

    name: str
    server: Server
    status: Status
    reason: Reason
    message: str


@dataclass(frozen=True)
class Check:
    """A named question to one server or both."""

    name: str
    server: Server
    find: Callable[[PreflightContext], Iterable[Finding]]
    writes: bool = False
    """It creates something on the target: only once that is known to be the right server, and writable."""


def passed(message: str) -> Finding:
    """For checks with a result worth reading although nothing is wrong."""
    return Finding(Status.PASSED, Reason.PASSED, message)


def skipped(why: str) -> Finding:
    """For checks that were not made, or not completely."""
    return Finding(Status.SKIPPED, Reason.NOT_ASKED, why)


def failed(reason: Reason, message: str) -> Finding:
    return Finding(Status.FAILED, reason, message)


def warning(reason: Reason, message: str) -> Finding:
    return Finding(Status.WARNING, reason, message)


def refused(context: PreflightContext, reason: Reason, message: str) -> Finding:
    """A failure that ``spec.acknowledge`` can allow by the reason's own name."""
    if reason.value in {str(word) for word in context.spec.acknowledge}:
        return Finding(Status.ACKNOWLEDGED, reason, message)
    return failed(reason, f"{message}; to accept this, add acknowledge: [{reason}]")
