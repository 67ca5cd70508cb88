"""What a server says of a statement beside its rows: warnings, and the counts of a LOAD DATA. Made by ``session``."""

from dataclasses import dataclass
from typing import NamedTuple

from ferry_core.mysql.quoted_values import without_values

UNLISTED = 0
"""Code of warnings that the server counted but did not list."""


class Warned(NamedTuple):
    """One line of SHOW WARNINGS."""

    level: str
    code: int
    message: str


def warned(level: str, code: int, message: str) -> Warned:
    """Without the values of rows that the server quotes in its message."""
    return Warned(level, code, without_values(code, message))


@dataclass(frozen=True)
class LoadResult:
    """Counts that the server reported for one LOAD DATA: ``Records: n Deleted: n Skipped: n Warnings: n``."""

    records: int
    deleted: int
    skipped: int
    warnings: int

    def __add__(self, other: "LoadResult") -> "LoadResult":
        return LoadResult(
            self.records + other.records,
            self.deleted + other.deleted,
            self.skipped + other.skipped,
            self.warnings + other.warnings,
        )
