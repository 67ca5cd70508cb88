"""Checks and their findings. Used by every module of this package; displayed by ``ferry check``."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from ferry_core.preflight.context import PreflightContext
from ferry_core.reasons import Reason
from ferry_core.tables.table import Table, TableName

Server = Literal["source", "target", "both"]


class Status(StrEnum):
    """Result of a check. Only FAILED stops a run."""

    PASSED = "passed"
    FAILED = "failed"
    WARNING = "warning"
    ACKNOWLEDGED = "acknowledged"  # would have failed, but the spec acknowledges it
    SKIPPED = "skipped"  # not checked; the message says why


@dataclass(frozen=True)
class Finding:
    """One thing that a check reports. A check without findings has passed."""

    status: Status
    reason: Reason
    message: str
    tables: tuple[TableName, ...] = ()
    """Of a failure: without these tables, views, routines, triggers and events it does not occur."""
    statement: str = ""
    """The SQL that fixes it, as far as statements do; several are separated by semicolons."""
    keys: tuple[tuple[TableName, str], ...] = ()
    """Tables without a key, and a column that may be one (``tables.rules[].key``)."""


@dataclass(frozen=True)
class CheckResult:
    """One line of the table that ``ferry check`` prints.

    The message of a failure says what is wrong, where, and how to fix it.
    """

    name: str
    server: Server
    status: Status
    reason: Reason
    message: str
    tables: tuple[TableName, ...] = ()
    statement: str = ""
    keys: tuple[tuple[TableName, str], ...] = ()


@dataclass(frozen=True)
class Check:
    """A named question to one server or to both."""

    name: str
    server: Server
    find: Callable[[PreflightContext], Iterable[Finding]]
    writes: bool = False
    """Whether it creates something on the target.

    It runs only after checks of the right server and of write access have passed.
    """


def passed(message: str) -> Finding:
    """For checks with a result worth showing although nothing is wrong."""
    return Finding(Status.PASSED, Reason.PASSED, message)


def skipped(why: str) -> Finding:
    """For checks that could not be made, or not completely."""
    return Finding(Status.SKIPPED, Reason.NOT_ASKED, why)


def failed(reason: Reason, message: str, tables: Iterable[Table] = (), others: Iterable[TableName] = ()) -> Finding:
    """``tables`` and ``others`` (views, routines, triggers, events) are those without which it does not occur."""
    return Finding(Status.FAILED, reason, message, (*(table.source for table in tables), *others))


def warning(reason: Reason, message: str, statement: str = "") -> Finding:
    return Finding(Status.WARNING, reason, message, statement=statement)


def refused(context: PreflightContext, reason: Reason, message: str, tables: Iterable[Table] = ()) -> Finding:
    """A failure that ``spec.acknowledge`` can allow by naming its reason."""
    if reason.value in {str(word) for word in context.spec.acknowledge}:
        return Finding(Status.ACKNOWLEDGED, reason, message)
    return failed(reason, f"{message}; to accept this, add acknowledge: [{reason}]", tables)
