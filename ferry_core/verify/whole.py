"""Are the rows of a table that is copied whole the same on both ends, each as often? Called by ``narrow``.

Nothing names a row, so the two ends are compared as collections. Each end adds up the hashes of its rows, which counts
equal rows as often as they are there (an XOR, as chunks have it, would lose every second one). Only where the sums
differ rows are grouped by their hashes and counted, in parts of like hashes, to tell how many rows it is.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ferry_core.errors import ServerRole
from ferry_core.mysql.idle import may_idle
from ferry_core.mysql.session import Row, Session
from ferry_core.tables.table import ALL_ROWS, Column, Table
from ferry_core.verify.checksum import refuse_warnings, row_hash
from ferry_core.verify.difference import Difference, DifferenceKind

MOST_PARTS = 16
"""Of 256, whose rows are counted: where nearly all rows differ, some tell enough."""


@dataclass(frozen=True)
class WholeDifference(Difference):
    """A table that differs; ``missing`` and ``extra`` rows, seen from the target, each as often as it is so."""

    missing: int = 0
    extra: int = 0
    at_least: bool = False

    @property
    def replaces(self) -> bool:
        """Also where rows changed between the counts, so that none was counted."""
        return self.extra > 0 or not self.missing

    def __str__(self) -> str:
        return f"{self.table.source} (copied whole): {self.how}"

    @property
    def how(self) -> str:
        if self.only_generated:
            return super().how
        least = "at least " if self.at_least else ""
        return (
            f"{least}{self.missing} rows are missing on the target or there too few times, {least}{self.extra} "
            "are on the target only or there too many times"
        )


def compare_whole(table: Table, source: Session, target: Session) -> tuple[int, list[Difference]]:
    """How many rows the source has, and what differs: nothing, or the table. The source is read first."""
    with may_idle(source, target):
        return _compared(table, source, target)


def _compared(table: Table, source: Session, target: Session) -> tuple[int, list[Difference]]:
    columns = [*table.copied_columns, *table.stored_columns]
    on_source, on_target = (_sum(one, table, role, columns) for one, role in _ends(source, target))
    rows = int(on_source[0] or 0)
    if on_source == on_target:
        return rows, []
    hashes = _digest(on_source), _digest(on_target)
    if table.stored_columns:  # what was copied, and what each server has computed, as of a single row
        here, there = (_digest(_sum(one, table, role, table.copied_columns)) for one, role in _ends(source, target))
        hashes = here + hashes[0], there + hashes[1]
    return rows, [_counted(table, source, target, columns, hashes)]


def _ends(source: Session, target: Session) -> Sequence[tuple[Session, ServerRole]]:
    return (source, ServerRole.SOURCE), (target, ServerRole.TARGET)


def _digest(found: Row) -> bytes:
    return hashlib.sha256(repr(found).encode()).hexdigest().encode()


def _sum(session: Session, table: Table, role: ServerRole, columns: Sequence[Column]) -> Row:
    return _select(session, table, role, f"COUNT(*), {_added(row_hash(columns, session.flavor))}")[0]


def _added(digest: str) -> str:
    return f"SUM(CAST(CONV(LEFT({digest}, 16), 16, 10) AS UNSIGNED))"


def _counted(
    table: Table, source: Session, target: Session, columns: Sequence[Column], hashes: tuple[bytes, bytes]
) -> WholeDifference:
    """By the counts of distinct rows, in parts that differ. Of rows that change meanwhile it may count none."""
    on_source, on_target = (_parts(one, table, role, columns) for one, role in _ends(source, target))
    differing = sorted(
        part for part in on_source.keys() | on_target.keys() if on_source.get(part) != on_target.get(part)
    )
    looked_at = differing[:MOST_PARTS]
    here, there = (_counts(one, table, role, columns, looked_at) for one, role in _ends(source, target))
    return WholeDifference(
        table,
        ALL_ROWS,
        DifferenceKind.CHANGED,
        source_hash=hashes[0],
        target_hash=hashes[1],
        missing=(here - there).total(),
        extra=(there - here).total(),
        at_least=len(differing) > MOST_PARTS,
    )


def _parts(session: Session, table: Table, role: ServerRole, columns: Sequence[Column]) -> dict[bytes, Row]:
    digest = row_hash(columns, session.flavor)
    found = _select(session, table, role, f"LEFT({digest}, 2) AS part, COUNT(*), {_added(digest)}", "GROUP BY part")
    return {part or b"": (count, total) for part, count, total in found}


def _counts(
    session: Session, table: Table, role: ServerRole, columns: Sequence[Column], parts: Collection[bytes]
) -> Counter[bytes]:
    """How often each row is there, by its hash."""
    digest = row_hash(columns, session.flavor)
    counts: Counter[bytes] = Counter()
    for part in parts:
        only = f"HAVING LEFT(row_hash, 2) = '{part.decode()}'"
        found = _select(session, table, role, f"{digest} AS row_hash, COUNT(*)", f"GROUP BY row_hash {only}")
        counts.update({hashed or b"": int(count or 0) for hashed, count in found})
    return counts


def _select(session: Session, table: Table, role: ServerRole, wanted: str, then: str = "") -> list[Row]:
    """Only the source evaluates the row filter: on the target every row counts."""
    name = table.source if role is ServerRole.SOURCE else table.target
    condition = f" WHERE (\n{table.row_filter}\n)" if role is ServerRole.SOURCE and table.row_filter else ""
    rows = list(session.stream(f"SELECT {wanted} FROM {name.sql}{condition} {then}"))
    refuse_warnings(session, table, role)
    return rows
