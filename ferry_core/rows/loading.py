"""Load-file text into a target table, every value exactly or not at all. Called by ``copier`` and ``whole``.

LOCAL turns errors into warnings, so a warning is an error too. Some of them come from values that are stored exactly
all the same: who can prove that by the rows' hashes may load once more, ``leniently``. A target that refuses LOCAL gets
the same text as REPLACE ... VALUES.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ferry_core.errors import DataError
from ferry_core.mysql.session import Session
from ferry_core.mysql.warned import UNLISTED, LoadResult, Warned
from ferry_core.reasons import Reason
from ferry_core.rows.inserting import insert
from ferry_core.rows.statements import Statements
from ferry_core.tables.table import Table
from ferry_core.text import shortlist

EXCUSABLE = {1048, 1264, 1265, 1292, 1365, 1366, 1406, 1411, 1441, 3156, 3751, 3752, 3903, 3904, UNLISTED}
"""ENUM 0 is stored with 1265; generated columns and functional indexes over legal old data give the others.

Under a strict sql_mode they are errors even with LOCAL, since REPLACE is asked for: hence the lenient second try.
"""
STRICT_MODES = {"STRICT_ALL_TABLES", "ERROR_FOR_DIVISION_BY_ZERO"}


class LoadWarned(Exception):
    """Inside the transaction: roll back, then decide."""

    def __init__(self, warnings: Sequence[Warned]) -> None:
        super().__init__()
        self.warnings = warnings

    @property
    def excusable(self) -> bool:
        """Whether the rows may be stored exactly all the same."""
        return all(warned.code in EXCUSABLE for warned in self.warnings)


@contextmanager
def leniently(target: Session, lenient: bool) -> Iterator[None]:
    """What a strict server refuses is stored with a warning meanwhile, and proven by the rows' hashes."""
    if not lenient:
        yield
        return
    modes = ",".join(mode for mode in target.sql_mode.split(",") if mode not in STRICT_MODES)
    target.execute(f"SET SESSION sql_mode = '{modes}'")
    try:
        yield
    finally:
        target.execute(f"SET SESSION sql_mode = '{target.sql_mode}'")


def load(target: Session, statements: Statements, payload: bytes, rows: int, *, lenient: bool) -> Sequence[Warned]:
    """Load lines; gives the warnings that the rows' hashes must excuse, if ``lenient``; LoadWarned for others."""
    table, warnings = statements.table, list[Warned]()
    result = LoadResult(0, 0, 0, 0)
    try:
        for part in _parts(target, statements, payload):
            warnings += target.warnings()
            result += part
    except DataError as error:
        raise _excused(error) or error from None
    if warnings and not (lenient and LoadWarned(warnings).excusable):
        raise LoadWarned(warnings)
    if result.records != rows or result.skipped:
        raise DataError(
            Reason.ROWS_SKIPPED,
            f"{table.target} took {result.records} rows and skipped {result.skipped} of {rows} sent",
        )
    if table.whole and result.deleted:
        raise DataError(
            Reason.ROWS_SKIPPED,
            f"{table.target} replaced {result.deleted} of the rows sent: one of its UNIQUE indexes takes different "
            "rows of the source for equal; give its columns the collations that they have on the source",
        )
    return warnings


def _parts(target: Session, statements: Statements, payload: bytes) -> Iterator[LoadResult]:
    """One result a statement."""
    if statements.literals:
        yield from insert(target, statements, payload)
    else:
        yield target.load(statements.load(), payload + b"\n")


def refused(table: Table, warnings: Sequence[Warned]) -> DataError:
    """The target's warnings as the error that they are."""
    return DataError(
        Reason.TARGET_WARNING,
        f"{table.target} would not hold the source's values exactly: {shown(warnings)}",
    )


def shown(warnings: Sequence[Warned]) -> str:
    """The first of them, for a message."""
    return shortlist([f"{warned.code} {warned.message}" for warned in warnings], 3, "; ")


def _excused(error: DataError) -> LoadWarned | None:
    """The error as the warning that a lenient server would have given, if that is one to look at."""
    said = re.search(r"\(error (\d+)\)", error.message)
    code = int(said[1]) if said else 0
    return LoadWarned([Warned("Error", code, error.message)]) if code in EXCUSABLE else None
